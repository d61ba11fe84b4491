"""Filling an uninitialised PaliGemma from files, piece by piece and in the requested precision; joining SigLIP and Gemma.

Two tensors may differ in size from the config: positions are interpolated for other image sizes, and a token embedding may have
padding rows, or come from a raw Gemma, which has no locations and masks.

`join` puts SigLIP's vision encoder and Gemma's decoder together by a projector of zeros: the start of stage 1 (arXiv
2407.07726, 3.1).

    SigLIP's images, without its pooling ---> vision encoder          SigLIP's texts, its head          not used
    Gemma's blocks, table of 256,000 rows ----> language     1,152 rows of places and masks    drawn, N(0, 0.02^2)

Either is a Hugging Face folder or file, or a big_vision .npz. SigLIP's layers may be stored one by one (`encoderblock_0`), and
Gemma's file may have 128 unused rows, or its gate the other way round: all of these are in circulation.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.encoders.tables.rows import NameRow, check_names, check_shape, part_row, their_shapes
from tapetum.hub.state_dicts import TensorFile, shards
from tapetum.layers.cpu import quantise, renew_scales
from tapetum.layers.patches import interpolate
from tapetum.systems.paligemma.config import LOCATIONS, SEGMENTS, PaliGemmaConfig, named
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official import big_vision, huggingface
from tapetum.systems.paligemma.official.big_vision import LAYERS, NpzFile

_POSITIONS, _TABLE = "vision_encoder.positions", "language.token_embedding.weight"
_DRAWN, _UNUSED = 0.02, 128
"""Standard deviation of the embeddings of new tokens, and rows that a raw vocabulary of Gemma may have too many."""


Rename = Callable[[str], str | None]
"""Converts the name of a tensor in a file to that of its table; None: it is not needed."""


@dataclass(frozen=True)
class Source:
    """Tensors of files under the names of a table."""

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[NameRow, Tensor], None]
    """Writes the numbers of a piece into a tensor."""


def source_of(files: Iterable[TensorFile | NpzFile], rename: Rename) -> Source:
    """Find the tensors of safetensors files, or of a big_vision .npz. Raises BadInput for a tensor that is in two files."""
    places: dict[str, tuple[TensorFile | NpzFile, str]] = {}
    for file in files:
        for name in file.shapes:
            if (plain := rename(name)) is None:
                continue
            if plain in places:
                raise BadInput(f"{plain} is in {places[plain][0].path.name} and in {file.path.name}; keep one of them")
            places[plain] = file, name

    def read(piece: NameRow, target: Tensor) -> None:
        file, name = places[piece.theirs]
        if isinstance(file, NpzFile):
            file.read(name, piece, target)
        else:
            file.read(name, target)

    return Source({plain: file.shapes[name] for plain, (file, name) in places.items()}, read)


def filled_model(
    config: PaliGemmaConfig,
    table: Callable[[PaliGemmaConfig], list[NameRow]] | None,
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    eight_bits: Collection[str] = (),
) -> PaliGemma:
    """Make a model of a config with the weights of files, in evaluation mode; without a table, under our own names.

    Weights of the parts in `eight_bits`, language or vision encoder, are stored as bytes. Raises BadInput if names or shapes
    differ from the table.
    """
    shapes = source.shapes
    check_sizes(config, " in the config", LARGEST_SIZE)
    if config.language.depth + config.vision_encoder.depth + config.vision_encoder.stem_blocks > len(shapes):
        raise BadInput(f"the config asks for {config.language.depth} blocks, and there are {len(shapes)} tensors in all")
    with torch.device("meta"), _NoDraws():
        model = PaliGemma(config).to(dtype)
        for part in eight_bits:
            quantise(getattr(model, part))
    own = model.state_dict()
    rows = table(config) if table else [part_row(name, name) for name, tensor in own.items() if is_weight(tensor)]
    check_names(shapes, rows, "PaliGemma")
    pieces = [_as_stored(replace(row, shape=row.part_shape(own)), shapes[row.theirs]) for row in rows]
    expected = their_shapes(pieces, own)
    for piece in pieces:
        shape = shapes[piece.theirs]
        if _POSITIONS in piece.ours and _side(shape) is not None:
            continue
        if _TABLE in piece.ours and shape[1:] == piece.shape[1:] and (shape[0] >= piece.shape[0] or _raw_rows(piece, shape)):
            continue
        check_shape(piece.theirs, shape, expected[piece.theirs])
    # `to_empty` would import torch's compiler, too. Counters of batch norms, which no file has, are zeros.
    own = {
        name: (torch.empty if is_weight(tensor) else torch.zeros)(tensor.shape, dtype=tensor.dtype, device=device)
        for name, tensor in own.items()
    }
    model.load_state_dict(own, assign=True)
    del own  # where a process keeps rows alone, they are others by now
    _fill(model.eval(), pieces, source)
    return model


def is_weight(tensor: Tensor) -> bool:
    """Check whether a tensor is a weight, unlike the batch counters of batch norms, which are not used here."""
    return tensor.is_floating_point() or tensor.dtype == torch.int8


class _NoDraws(TorchFunctionMode):
    """Skips weight initialisation: there is no memory for it, and torch would import its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func in (Tensor.normal_, Tensor.uniform_, Tensor.erfinv_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _side(shape: tuple[int, ...]) -> int | None:
    """Side length of the square grid of a position embedding."""
    count = shape[len(shape) - 2] if len(shape) > 1 else 0
    side = round(count**0.5)
    return side if side and side * side == count else None


@torch.no_grad()
def _fill(model: PaliGemma, pieces: list[NameRow], source: Source) -> None:
    own = model.state_dict()
    for piece in sorted(pieces, key=lambda piece: (piece.theirs, piece.index)):  # layers of a stack one after the other
        target = piece.part_of(own)
        shape, read = source.shapes[piece.theirs], source.read
        if _POSITIONS in piece.ours and shape[-2:] != tuple(target.shape):
            side = _side(shape) or 0
            if shape[-1] != target.shape[1]:
                raise BadInput(f"{piece.theirs} is {shape} where the config wants width {target.shape[1]}; another model?")
            stored = torch.empty(side * side, shape[-1])
            read(replace(piece, shape=tuple(stored.shape)), stored)
            vision_encoder = model.config.vision_encoder
            target.copy_(interpolate(stored, (side, side), vision_encoder.grid, vision_encoder.resample))
        elif _TABLE in piece.ours and (rows := _raw_rows(piece, shape)):
            read(replace(piece, shape=(rows, *piece.shape[1:])), target[:rows])
            drawn = torch.randn(*target[rows:].shape, generator=torch.Generator().manual_seed(0))
            target[rows:].copy_(_DRAWN * drawn)
        else:
            read(piece, target)
    renew_scales(model)


def _as_stored(piece: NameRow, shape: tuple[int, ...]) -> NameRow:
    """The piece, with a raw Gemma's gate the other way round if needed."""
    turned = piece.theirs.endswith("gating_einsum") and shape[-2:] == piece.shape[::-1] != piece.shape
    return replace(piece, shape=piece.shape[::-1], order=()) if turned else piece


def _raw_rows(piece: NameRow, shape: tuple[int, ...]) -> int:
    """Number of text rows in a token embedding without those of locations and masks, which would follow; else 0."""
    rows = piece.shape[0] - LOCATIONS - SEGMENTS
    return rows if rows > 0 and shape[0] in (rows, rows + _UNUSED) else 0


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
        return pieces, source_of(files, partial(_huggingface_name, part))
    source = source_of([stack.enter_context(NpzFile(path))], partial(_npz_name, part))
    if any(name.startswith(f"{LAYERS}_") for name in source.shapes):
        for k, piece in enumerate(pieces):
            if piece.theirs.startswith(f"{LAYERS}/"):
                number, *rest = piece.index
                pieces[k] = replace(piece, theirs=piece.theirs.replace(LAYERS, f"{LAYERS}_{number}", 1), index=tuple(rest))
    return pieces, source


def _npz_name(part: str, name: str) -> str | None:
    """The name in a PaliGemma file, where SigLIP's names begin with img/ too, and Gemma's have no prefix."""
    plain = big_vision.plain_name(name)
    if part == "vision_encoder.":
        return plain if plain.startswith(("img/Tr", "img/em", "img/pos")) else None
    return None if plain.startswith("img/") else f"llm/{plain.removeprefix('llm/')}"


def _huggingface_name(part: str, name: str) -> str | None:
    """The name in a PaliGemma of a tensor of SigLIP or Gemma; None for tensors it lacks."""
    if part == "language.":
        return None if name in huggingface.HEADS else f"language_model.{name}"
    inner = name.removeprefix("vision_model.")
    belongs = inner.startswith(("embeddings.", "encoder.", "post_layernorm.")) and not inner.endswith("position_ids")
    return f"vision_tower.{inner}" if belongs else None
