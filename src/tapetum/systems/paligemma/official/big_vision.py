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

import ast
import math
import zipfile
from pathlib import Path
from types import TracebackType
from typing import IO

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.tables.rows import NameRow, part_row
from tapetum.hub.state_dicts import read_into
from tapetum.systems.paligemma.config import PaliGemmaConfig

_LAYERS, _BLOCKS = "img/Transformer/encoderblock", "llm/layers"


def plain_name(name: str) -> str:
    """Strip an optional prefix from a name.

    >>> plain_name("params/img/head/bias")
    'img/head/bias'
    """
    return name.removeprefix("params/")


def table(config: PaliGemmaConfig) -> list[NameRow]:
    """List the names, without optional prefixes."""
    return _vision_encoder(config) + _language(config)


def _vision_encoder(config: PaliGemmaConfig) -> list[NameRow]:
    vision_encoder = config.vision_encoder
    width, patch, out = vision_encoder.width, vision_encoder.patch, config.language.width
    pieces = [
        part_row("img/embedding/kernel", "vision_encoder.patches.weight", (patch, patch, 3, width), order=(3, 2, 0, 1)),
        part_row("img/embedding/bias", "vision_encoder.patches.bias", (width,)),
        part_row("img/pos_embedding", "vision_encoder.positions", (config.image_tokens, width), index=(0,)),
        part_row("img/Transformer/encoder_norm/scale", "vision_encoder.norm.weight", (width,)),
        part_row("img/Transformer/encoder_norm/bias", "vision_encoder.norm.bias", (width,)),
        part_row("img/head/kernel", "projector.weight", (width, out), order=(1, 0)),
        part_row("img/head/bias", "projector.bias", (out,)),
    ]
    return pieces + [piece for i in range(vision_encoder.depth) for piece in _vision_layer(config, i)]


def _vision_layer(config: PaliGemmaConfig, i: int) -> list[NameRow]:
    vision_encoder, ours = config.vision_encoder, f"vision_encoder.blocks.{i}"
    width, mlp, heads = vision_encoder.width, vision_encoder.mlp_width, vision_encoder.heads
    head = width // heads

    def piece(theirs: str, own: str, shape: tuple[int, ...], order: tuple[int, ...] = ()) -> NameRow:
        return part_row(f"{_LAYERS}/{theirs}", f"{ours}.{own}", shape, index=(i,), order=order)

    pieces = []
    for theirs, own in (("LayerNorm_0", "attention_norm"), ("LayerNorm_1", "mlp_norm")):
        pieces += [piece(f"{theirs}/scale", f"{own}.weight", (width,)), piece(f"{theirs}/bias", f"{own}.bias", (width,))]
    for k, own, inward, outward in ((0, "mlp.hidden", width, mlp), (1, "mlp.out", mlp, width)):
        pieces.append(piece(f"MlpBlock_0/Dense_{k}/kernel", f"{own}.weight", (inward, outward), (1, 0)))
        pieces.append(piece(f"MlpBlock_0/Dense_{k}/bias", f"{own}.bias", (outward,)))
    attention = "MultiHeadDotProductAttention_0"
    for name in ("query", "key", "value"):
        pieces.append(piece(f"{attention}/{name}/kernel", f"attention.{name}.weight", (width, heads, head), (1, 2, 0)))
        pieces.append(piece(f"{attention}/{name}/bias", f"attention.{name}.bias", (heads, head)))
    pieces.append(piece(f"{attention}/out/kernel", "attention.out.weight", (heads, head, width), (2, 0, 1)))
    pieces.append(piece(f"{attention}/out/bias", "attention.out.bias", (width,)))
    return pieces


def _language(config: PaliGemmaConfig) -> list[NameRow]:
    c = config.language
    pieces = [
        part_row("llm/embedder/input_embedding", "language.token_embedding.weight", (c.vocabulary, c.width)),
        part_row("llm/final_norm/scale", "language.norm.weight", (c.width,)),
    ]
    return pieces + [piece for i in range(c.depth) for piece in _language_layer(config, i)]


def _language_layer(config: PaliGemmaConfig, i: int) -> list[NameRow]:
    c, ours = config.language, f"language.blocks.{i}"
    queries, keys = c.heads * c.head_width, c.key_value_heads * c.head_width
    rows = queries + 2 * keys
    joined, gated = f"{ours}.attention.query_key_value.weight", f"{ours}.mlp.gate_up.weight"
    one, several = (c.width, c.mlp_width), (c.key_value_heads, c.width, c.head_width)
    query = c.heads, c.width, c.head_width
    pieces = [
        part_row(f"{_BLOCKS}/attn/q_einsum/w", joined, query, (i,), (0, 2, 1), part=(0, queries, rows)),
        part_row(f"{_BLOCKS}/attn/kv_einsum/w", joined, several, (i, 0), (0, 2, 1), part=(queries, queries + keys, rows)),
        part_row(f"{_BLOCKS}/attn/kv_einsum/w", joined, several, (i, 1), (0, 2, 1), part=(queries + keys, rows, rows)),
        part_row(f"{_BLOCKS}/mlp/gating_einsum", gated, one, (i, 0), (1, 0), part=(0, 1, 2)),
        part_row(f"{_BLOCKS}/mlp/gating_einsum", gated, one, (i, 1), (1, 0), part=(1, 2, 2)),
    ]
    out = c.heads, c.head_width, c.width
    pieces.append(part_row(f"{_BLOCKS}/attn/attn_vec_einsum/w", f"{ours}.attention.out.weight", out, (i,), (2, 0, 1)))
    pieces.append(part_row(f"{_BLOCKS}/mlp/linear", f"{ours}.mlp.out.weight", (c.mlp_width, c.width), (i,), (1, 0)))
    norms = {"pre_attention_norm": "attention_norm", "pre_ffw_norm": "mlp_norm"}
    if c.post_norms:
        norms |= {"post_attention_norm": "attention_after", "post_ffw_norm": "mlp_after"}
    return pieces + [
        part_row(f"{_BLOCKS}/{their}/scale", f"{ours}.{our}.weight", (c.width,), (i,)) for their, our in norms.items()
    ]


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
        """Type and shape of an array, from the header of a .npy file, which is a Python dict of plain values."""
        start = file.read(8)
        wide = start[6:7] in (b"\x02", b"\x03")
        length = int.from_bytes(file.read(4 if wide else 2), "little")
        try:
            if start[:6] != b"\x93NUMPY" or length > _LONGEST_HEADER:
                raise ValueError("no header of an array")
            header = ast.literal_eval(file.read(length).decode("latin1"))
            kind, shape = _KINDS.get(header["descr"]), header["shape"]
            if header["fortran_order"] or not all(type(side) is int and side >= 0 for side in shape):
                raise ValueError("columns come first, or a side is no number")
        except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
            raise BadInput(f"the array {name} in {self.path} cannot be read ({str(error)[:60]}); get it again") from error
        if kind is None:
            raise BadInput(f"the array {name} in {self.path} is of kind {str(header['descr'])[:20]}; weights are float")
        return kind, tuple(shape)

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
