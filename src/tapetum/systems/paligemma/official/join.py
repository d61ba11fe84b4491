"""Join SigLIP's vision encoder and Gemma's decoder by a projector of zeros: the start of stage 1 (arXiv 2407.07726, 3.1).

    SigLIP's images, without its pooling ---> vision encoder          SigLIP's texts, its head          not used
    Gemma's blocks, table of 256,000 rows ----> language     1,152 rows of places and masks    drawn, N(0, 0.02^2)

Either is a folder or file of Hugging Face, or a big_vision .npz; SigLIP's may have its layers one by one (`encoderblock_0`),
and Gemma's 128 rows that nobody uses, or its gate the other way round: all of these are in circulation.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.encoders.tables.rows import NameRow
from tapetum.hub.tensors import TensorFile
from tapetum.systems.paligemma.config import PaliGemmaConfig, named
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official import big_vision, huggingface
from tapetum.systems.paligemma.official.fill import empty, filled
from tapetum.systems.paligemma.official.npz import NpzFile
from tapetum.systems.paligemma.weights import shards

_LAYERS = "img/Transformer/encoderblock"


def join(
    vision_encoder: str | os.PathLike[str],
    language: str | os.PathLike[str],
    config: PaliGemmaConfig | str,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> PaliGemma:
    """Make a PaliGemma of a SigLIP and a Gemma, in evaluation mode; it has learned nothing of images and text together.

    Raises BadInput where a file is missing, damaged, or of other sizes than the config's.
    """
    sizes = named(config) if isinstance(config, str) else config
    with ExitStack() as stack:
        halves = (
            _half(Path(vision_encoder), sizes, "vision_encoder.", stack),
            _half(Path(language), sizes, "language.", stack),
        )
        pieces = [piece for own, _, _ in halves for piece in own]
        shapes = {name: shape for _, theirs, _ in halves for name, shape in theirs.items()}

        def read(piece: NameRow, target: Tensor) -> None:
            halves[piece.ours[0].startswith("language.")][2](piece, target)

        model, pieces = empty(sizes, lambda config: pieces, shapes, find_device(device), dtype or torch.float32)
        filled(model, pieces, shapes, read)
    with torch.no_grad():
        model.projector.weight.zero_()
        model.projector.bias.zero_()
    return model


_Half = tuple[list[NameRow], dict[str, tuple[int, ...]], Callable[[NameRow, Tensor], None]]


def _half(path: Path, config: PaliGemmaConfig, which: str, stack: ExitStack) -> _Half:
    """Pieces of one part of the model, the shapes that its file has for them, and what reads them."""
    if not path.exists():
        raise BadInput(f"there is no {path}; give a folder of Hugging Face, or a .npz of big_vision")
    if path.suffix == ".npz":
        file = stack.enter_context(NpzFile(path))
        names = _npz_names(file.shapes, which)
        pieces = [piece for piece in big_vision.table(config) if piece.ours[0].startswith(which)]
        if any(name.startswith(f"{_LAYERS}_") for name in names):
            pieces = [_one_by_one(piece) for piece in pieces]
        shapes = {plain: file.shapes[name] for plain, name in names.items()}
        return pieces, shapes, lambda piece, target: file.read(names[piece.theirs], piece, target)
    places = {}
    for shard in [TensorFile(each) for each in (shards(path) if path.is_dir() else [path])]:
        for name in shard.shapes:
            if (plain := _huggingface_name(name, which)) is not None:
                places[plain] = shard, name
    pieces = [piece for piece in huggingface.table(config) if piece.ours[0].startswith(which)]
    shapes = {plain: shard.shapes[name] for plain, (shard, name) in places.items()}

    def read(piece: NameRow, target: Tensor) -> None:
        shard, name = places[piece.theirs]
        shard.read(name, target)

    return pieces, shapes, read


def _npz_names(stored: Mapping[str, object], which: str) -> dict[str, str]:
    """Names as in files of PaliGemma, to those of the file: there SigLIP's begin with img/ too, and Gemma's with nothing."""
    names = {big_vision.plain_name(name): name for name in stored}
    if which == "vision_encoder.":
        return {plain: name for plain, name in names.items() if plain.startswith(("img/Tr", "img/em", "img/pos"))}
    return {f"llm/{plain.removeprefix('llm/')}": name for plain, name in names.items() if not plain.startswith("img/")}


def _one_by_one(piece: NameRow) -> NameRow:
    """The piece where each layer has names of its own."""
    if not piece.theirs.startswith(f"{_LAYERS}/"):
        return piece
    number, *rest = piece.index
    return replace(piece, theirs=piece.theirs.replace(_LAYERS, f"{_LAYERS}_{number}", 1), index=tuple(rest))


def _huggingface_name(name: str, which: str) -> str | None:
    """The name in a PaliGemma of a tensor of SigLIP or Gemma; None for what it has not."""
    if which == "language.":
        return None if name in huggingface.HEADS else f"language_model.{name}"
    inner = name.removeprefix("vision_model.")
    belongs = inner.startswith(("embeddings.", "encoder.", "post_layernorm.")) and not inner.endswith("position_ids")
    return f"vision_tower.{inner}" if belongs else None
