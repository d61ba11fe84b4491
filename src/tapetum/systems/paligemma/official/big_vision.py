"""big_vision's .npz files (https://github.com/google-research/big_vision): names of their arrays, and reading layer by layer.

Arrays that stack all layers are never in memory as a whole. Names may begin with `params/`. Layers are stacked on the first
axis; kernels are (inputs, outputs), heads have their own axes:

    img/Transformer/encoderblock/...                       layers of the vision encoder
    img/head                                               the projector
    llm/layers/attn/q_einsum/w       (layers, heads, width, head)
    llm/layers/attn/kv_einsum/w      (layers, 2, groups, width, head)            key, then value
    llm/layers/attn/attn_vec_einsum/w  (layers, heads, head, width)
    llm/layers/mlp/gating_einsum     (layers, 2, width, hidden)                  gate, then up
    llm/layers/mlp/linear            (layers, hidden, width)
"""

import math
import zipfile
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.config import DecoderConfig, ViTConfig
from tapetum.encoders.tables.rows import NameRow, part_row
from tapetum.hub.state_dicts import read_into
from tapetum.systems.paligemma.config import PaliGemmaConfig


def plain_name(name: str) -> str:
    """Strip an optional prefix from a name.

    >>> plain_name("params/img/head/bias")
    'img/head/bias'
    """
    return name.removeprefix("params/")


def table(config: PaliGemmaConfig) -> list[NameRow]:
    """List the names, without optional prefixes."""
    rows = [
        part_row("img/embedding/kernel", "vision_encoder.patches.weight", order=(3, 2, 0, 1)),
        part_row("img/embedding/bias", "vision_encoder.patches.bias"),
        part_row("img/pos_embedding", "vision_encoder.positions", index=(0,)),
        part_row("img/Transformer/encoder_norm/scale", "vision_encoder.norm.weight"),
        part_row("img/Transformer/encoder_norm/bias", "vision_encoder.norm.bias"),
        part_row("img/head/kernel", "projector.weight", order=(1, 0)),
        part_row("img/head/bias", "projector.bias"),
        part_row("llm/embedder/input_embedding", "language.token_embedding.weight"),
        part_row("llm/final_norm/scale", "language.norm.weight"),
    ]
    rows += [row for i in range(config.vision_encoder.depth) for row in _vision_layer(config.vision_encoder, i)]
    return rows + [row for i in range(config.language.depth) for row in _language_layer(config.language, i)]


def _vision_layer(c: ViTConfig, i: int) -> list[NameRow]:
    heads, attention = (c.heads, c.width // c.heads), "MultiHeadDotProductAttention_0"
    rows: list[tuple[str, str, tuple[int, ...], tuple[int, ...]]] = [
        ("LayerNorm_0/scale", "attention_norm.weight", (), ()),
        ("LayerNorm_0/bias", "attention_norm.bias", (), ()),
        ("LayerNorm_1/scale", "mlp_norm.weight", (), ()),
        ("LayerNorm_1/bias", "mlp_norm.bias", (), ()),
        ("MlpBlock_0/Dense_0/kernel", "mlp.hidden.weight", (), (1, 0)),
        ("MlpBlock_0/Dense_0/bias", "mlp.hidden.bias", (), ()),
        ("MlpBlock_0/Dense_1/kernel", "mlp.out.weight", (), (1, 0)),
        ("MlpBlock_0/Dense_1/bias", "mlp.out.bias", (), ()),
        (f"{attention}/out/kernel", "attention.out.weight", (*heads, c.width), (2, 0, 1)),
        (f"{attention}/out/bias", "attention.out.bias", (), ()),
    ]
    for name in ("query", "key", "value"):
        rows.append((f"{attention}/{name}/kernel", f"attention.{name}.weight", (c.width, *heads), (1, 2, 0)))
        rows.append((f"{attention}/{name}/bias", f"attention.{name}.bias", heads, ()))
    ours = f"vision_encoder.blocks.{i}"
    return [
        part_row(f"img/Transformer/encoderblock/{their}", f"{ours}.{our}", shape, (i,), order)
        for their, our, shape, order in rows
    ]


def _language_layer(c: DecoderConfig, i: int) -> list[NameRow]:
    ours = f"language.blocks.{i}"
    queries, keys = c.heads * c.head_width, c.key_value_heads * c.head_width
    total, pair = queries + 2 * keys, (c.key_value_heads, c.width, c.head_width)
    joined, gated = f"{ours}.attention.query_key_value.weight", f"{ours}.mlp.gate_up.weight"
    parts = (0, queries), (queries, queries + keys), (queries + keys, total)
    query, key, value = ((*part, total) for part in parts)
    norms = {"pre_attention_norm": "attention_norm", "pre_ffw_norm": "mlp_norm"}
    if c.post_norms:
        norms |= {"post_attention_norm": "attention_after", "post_ffw_norm": "mlp_after"}
    rows = [
        part_row("attn/q_einsum/w", joined, (c.heads, c.width, c.head_width), (i,), (0, 2, 1), query),
        part_row("attn/kv_einsum/w", joined, pair, (i, 0), (0, 2, 1), key),
        part_row("attn/kv_einsum/w", joined, pair, (i, 1), (0, 2, 1), value),
        part_row("attn/attn_vec_einsum/w", f"{ours}.attention.out.weight", (c.heads, c.head_width, c.width), (i,), (2, 0, 1)),
        part_row("mlp/gating_einsum", gated, (), (i, 0), (1, 0), (0, 1, 2)),
        part_row("mlp/gating_einsum", gated, (), (i, 1), (1, 0), (1, 2, 2)),
        part_row("mlp/linear", f"{ours}.mlp.out.weight", (), (i,), (1, 0)),
        *(part_row(f"{their}/scale", f"{ours}.{our}.weight", (), (i,)) for their, our in norms.items()),
    ]
    return [replace(row, theirs=f"llm/layers/{row.theirs}") for row in rows]


_KINDS = {"<f4": torch.float32, "<f8": torch.float64, "<f2": torch.float16, "|V2": torch.bfloat16, "<V2": torch.bfloat16}
"""numpy has no bfloat16: it writes two bytes of no kind."""
_LONGEST_HEADER = 10_000


class NpzFile:
    """An archive of arrays of real numbers. Raises BadInput, naming the file, if it is not one."""

    def __init__(self, path: Path):
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._kinds: dict[str, torch.dtype] = {}
        self._open: tuple[str, IO[bytes], int] | None = None
        try:
            self._archive = zipfile.ZipFile(no_pipe(path))
            for member in self._archive.infolist():
                if member.filename.endswith(".npy"):
                    name = member.filename.removesuffix(".npy")
                    with self._archive.open(member) as file:
                        kind, shape = self._header(name, file)
                    self._kinds[name], self.shapes[name] = kind, shape
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise BadInput(f"{path} is not a .npz archive ({str(error)[:80]}); get it again") from error

    def __enter__(self) -> "NpzFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open is not None:
            self._open[1].close()
        self._archive.close()

    def _header(self, name: str, file: IO[bytes]) -> tuple[torch.dtype, tuple[int, ...]]:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, columns_first, kind = read(file, max_header_size=_LONGEST_HEADER)
            if columns_first or min(shape, default=0) < 0:
                raise ValueError("columns come first, or a side is below 0")
        except (ValueError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError, TokenError) as error:
            raise BadInput(f"the array {name} in {self.path} cannot be read ({str(error)[:60]}); get it again") from error
        if kind.str not in _KINDS:
            raise BadInput(f"the array {name} in {self.path} is of kind {kind.str[:20]}; weights are float")
        return _KINDS[kind.str], shape

    def read(self, name: str, piece: NameRow, target: Tensor) -> None:
        """Read a piece of an array into our rows, in our order. Consecutive pieces cost one pass.

        Raises BadInput if the archive is truncated or a number is not finite.
        """
        shape, kind = self.shapes[name], self._kinds[name]
        stack = shape[: len(piece.index)]
        place = 0
        for i, side in zip(piece.index, stack, strict=True):
            place = place * side + i
        begin = place * math.prod(piece.shape) * kind.itemsize
        try:
            file = self._at(name, begin)
            if piece.order:
                buffer = torch.empty(piece.shape, dtype=kind)
                read_into(file, kind, buffer, name, self.path)
                target.copy_(piece.arranged(buffer).reshape(target.shape))
            else:
                read_into(file, kind, target, name, self.path)
            self._open = name, file, begin + target.numel() * kind.itemsize
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise BadInput(f"{self.path} cannot be read ({str(error)[:80]}); get it again") from error

    def _at(self, name: str, begin: int) -> IO[bytes]:
        """Open the member `begin` bytes after its header; the open one is reused if it is not past that point."""
        if self._open is not None and self._open[0] == name and self._open[2] <= begin:
            file, at = self._open[1:]
        else:
            if self._open is not None:
                self._open[1].close()
            file, at = self._archive.open(f"{name}.npy"), 0
            self._header(name, file)
        while at < begin:
            skipped = len(file.read(min(begin - at, 1 << 20)))
            if not skipped:
                raise EOFError(f"{name} ends too early")
            at += skipped
        return file
