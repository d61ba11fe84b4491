"""Join SigLIP's vision encoder and Gemma's decoder by a projector of zeros: the start of stage 1 (arXiv 2407.07726, 3.1).

    SigLIP's images, without its pooling ---> vision encoder          SigLIP's texts, its head          not used
    Gemma's blocks, table of 256,000 rows ----> language     1,152 rows of places and masks    drawn, N(0, 0.02^2)

Either is a Hugging Face folder or file, or a big_vision .npz. SigLIP's layers may be stored one by one (`encoderblock_0`), and
Gemma's file may have 128 unused rows, or its gate the other way round: all of these are in circulation.
"""

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.encoders.tables.rows import NameRow
from tapetum.hub.state_dicts import TensorFile, shards
from tapetum.systems.paligemma.config import PaliGemmaConfig, named
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official import big_vision, huggingface
from tapetum.systems.paligemma.official.fill import Source, filled_model, npz_source, tensor_source
from tapetum.systems.paligemma.official.npz import NpzFile

_LAYERS = "img/Transformer/encoderblock"


def join(
    vision_encoder: str | os.PathLike[str],
    language: str | os.PathLike[str],
    config: PaliGemmaConfig | str,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> PaliGemma:
    """Make a PaliGemma from a SigLIP and a Gemma, in evaluation mode; it is not yet trained on images and text together.

    Raises BadInput if a file is missing, damaged, or does not match the config's sizes.
    """
    sizes = named(config) if isinstance(config, str) else config
    with ExitStack() as stack:
        sight, text = (
            _half(Path(place), sizes, part, stack)
            for place, part in ((vision_encoder, "vision_encoder."), (language, "language."))
        )

        def read(piece: NameRow, target: Tensor) -> None:
            (text if piece.ours[0].startswith("language.") else sight)[1].read(piece, target)

        both = Source({**sight[1].shapes, **text[1].shapes}, read)
        model = filled_model(sizes, lambda _: sight[0] + text[0], both, find_device(device), dtype or torch.float32)
    with torch.no_grad():
        model.projector.weight.zero_()
        model.projector.bias.zero_()
    return model


def _half(path: Path, config: PaliGemmaConfig, part: str, stack: ExitStack) -> tuple[list[NameRow], Source]:
    """Find the pieces of one part of the model, and its tensors in a file."""
    if not path.exists():
        raise BadInput(f"there is no {path}; give a folder of Hugging Face, or a .npz of big_vision")
    npz = path.suffix == ".npz"
    pieces = [piece for piece in (big_vision if npz else huggingface).table(config) if piece.ours[0].startswith(part)]
    if not npz:
        files = map(TensorFile, shards(path) if path.is_dir() else [path])
        return pieces, tensor_source(files, partial(_huggingface_name, part))
    source = npz_source(stack.enter_context(NpzFile(path)), partial(_npz_name, part))
    if any(name.startswith(f"{_LAYERS}_") for name in source.shapes):
        pieces = [_one_by_one(piece) for piece in pieces]
    return pieces, source


def _npz_name(part: str, name: str) -> str | None:
    """The name in a PaliGemma file, where SigLIP's names begin with img/ too, and Gemma's have no prefix."""
    plain = big_vision.plain_name(name)
    if part == "vision_encoder.":
        return plain if plain.startswith(("img/Tr", "img/em", "img/pos")) else None
    return None if plain.startswith("img/") else f"llm/{plain.removeprefix('llm/')}"


def _one_by_one(piece: NameRow) -> NameRow:
    """The piece, if each layer has its own names."""
    if not piece.theirs.startswith(f"{_LAYERS}/"):
        return piece
    number, *rest = piece.index
    return replace(piece, theirs=piece.theirs.replace(_LAYERS, f"{_LAYERS}_{number}", 1), index=tuple(rest))


def _huggingface_name(part: str, name: str) -> str | None:
    """The name in a PaliGemma of a tensor of SigLIP or Gemma; None for tensors it lacks."""
    if part == "language.":
        return None if name in huggingface.HEADS else f"language_model.{name}"
    inner = name.removeprefix("vision_model.")
    belongs = inner.startswith(("embeddings.", "encoder.", "post_layernorm.")) and not inner.endswith("position_ids")
    return f"vision_tower.{inner}" if belongs else None
