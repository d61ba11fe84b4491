"""A table of names as a list of pieces: which part of which of their tensors is which rows of which of ours.

    theirs[index]  (a layer of a stack, or the whole)  --order-->  axes permuted  --reshape-->  ours[first : first + rows]

What is one tensor of ours can be several of theirs (query, key and value), and one of theirs several of ours (stacked layers).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class Piece:
    """Rows of one of our tensors, and where they are among theirs."""

    theirs: str
    ours: str
    shape: tuple[int, ...]
    """Of theirs[index]."""
    index: tuple[int, ...] = ()
    """Of the piece in the first axes of theirs."""
    order: tuple[int, ...] = ()
    """Axes of theirs[index], in our order; empty: as they are."""
    first: int = 0
    """First of our rows."""
    rows: int | None = None
    """Number of our rows; None: all."""

    def target(self, own: Mapping[str, Tensor]) -> Tensor:
        """Give the rows of ours that this piece is."""
        tensor = own[self.ours]
        return tensor if self.rows is None else tensor[self.first : self.first + self.rows]

    def arranged(self, tensor: Tensor) -> Tensor:
        """Bring theirs[index] into our order of axes, not yet our shape."""
        return tensor.permute(self.order) if self.order else tensor

    def returned(self, ours: Tensor) -> Tensor:
        """Bring our rows into the shape of theirs[index]."""
        if not self.order:
            return ours.reshape(self.shape)
        back = [self.order.index(axis) for axis in range(len(self.order))]
        return ours.reshape([self.shape[axis] for axis in self.order]).permute(back)


def their_shapes(pieces: Iterable[Piece]) -> dict[str, tuple[int, ...]]:
    """Give the whole shape of each of their tensors."""
    shapes: dict[str, tuple[int, ...]] = {}
    for piece in pieces:
        stack = tuple(i + 1 for i in piece.index)
        before = shapes.get(piece.theirs, ())[: len(stack)]
        shapes[piece.theirs] = tuple(map(max, stack, before)) + piece.shape if before else stack + piece.shape
    return shapes


def from_official(own: Mapping[str, Tensor], state: Mapping[str, Tensor], pieces: list[Piece]) -> None:
    """Write a state dict of theirs into tensors of ours. Raises BadInput, naming the tensor, where it does not fit."""
    check_names(state.keys(), pieces)
    shapes = their_shapes(pieces)
    for piece in pieces:
        tensor = state[piece.theirs]
        check_shape(piece.theirs, tuple(tensor.shape), shapes[piece.theirs])
        target = piece.target(own)
        target.copy_(piece.arranged(tensor[piece.index]).reshape(target.shape))


def to_official(model: nn.Module, pieces: list[Piece]) -> dict[str, Tensor]:
    """Give the weights of a model under their names, as copies."""
    own = model.state_dict()
    some = next(iter(own.values()))
    out = {name: some.new_empty(shape) for name, shape in their_shapes(pieces).items()}
    for piece in pieces:
        out[piece.theirs][piece.index] = piece.returned(piece.target(own))
    return out


def check_names(stored: Iterable[str], pieces: list[Piece]) -> None:
    """Raise BadInput unless the names are those of the pieces."""
    stored, expected = set(stored), {piece.theirs for piece in pieces}
    if missing := expected - stored:
        raise BadInput(f"the weights lack {min(missing)} and {len(missing) - 1} more; are they whole, and of this model?")
    if unknown := stored - expected:
        raise BadInput(f"this PaliGemma has no {min(unknown)}; are the weights of another model?")


def check_shape(name: str, stored: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise BadInput unless the shapes are the same."""
    if stored != expected:
        raise BadInput(f"{name} is {stored} where the config wants {expected}; are the weights of another model?")


def check_whole(own: Mapping[str, Tensor], pieces: list[Piece]) -> None:
    """Raise ValueError unless the pieces fill each of our tensors exactly once; a check of a table, not of a file."""
    filled = dict.fromkeys(own, 0)
    for piece in pieces:
        with torch.device("meta"):
            filled[piece.ours] += math.prod(piece.shape)
    for name, count in filled.items():
        if count != own[name].numel():
            raise ValueError(f"the table gives {count} numbers for {name}, which has {own[name].numel()}")
