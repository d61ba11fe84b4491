"""Filling an uninitialised PaliGemma from files, piece by piece and in the requested precision.

Two tensors may differ in size from the config: positions are interpolated for other image sizes, and a token embedding may have
padding rows.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.encoders.tables.rows import NameRow, check_names, check_shape, part_row, their_shapes
from tapetum.hub.state_dicts import TensorFile
from tapetum.layers.cpu import quantise, renew_scales
from tapetum.layers.patches import interpolate
from tapetum.systems.paligemma.config import PaliGemmaConfig
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official.big_vision import NpzFile

_POSITIONS, _TABLE = "vision_encoder.positions", "language.token_embedding.weight"
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
    pieces = [replace(row, shape=row.part_shape(own)) for row in rows]
    expected = their_shapes(pieces, own)
    for piece in pieces:
        shape = shapes[piece.theirs]
        if _POSITIONS in piece.ours and _side(shape) is not None:
            continue
        if _TABLE in piece.ours and shape[1:] == piece.shape[1:] and shape[0] >= piece.shape[0]:
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
        else:
            read(piece, target)
    renew_scales(model)
