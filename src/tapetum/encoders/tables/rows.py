"""Rows of a table of names, and their use both ways.

    theirs[index]  --order-->  axes permuted  --reshape-->  ours, joined along the first axis, or some rows of it

A row says which of our tensors make up one of theirs (a fused query-key-value is three of ours), with leading axes of length 1
if theirs has them; or which rows of ours make up theirs (gate and up of our gated MLP are one); or which of theirs is a layer
of a stack, whose axes may be in another order. A tensor that a library stores but an encoder does not need (a mask token,
counters) is a row without tensors of ours: it is dropped.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.hub.state_dicts import check_numbers


@dataclass(frozen=True)
class NameRow:
    """One tensor of another library, or a part of one."""

    theirs: str
    ours: tuple[str, ...]
    """Joined along the first axis, in this order; none: not part of an encoder."""
    lead: int = 0
    """Axes of length 1 in front of theirs."""
    shape: tuple[int, ...] = ()
    """Shape of theirs[index], where it does not follow from ours."""
    optional: bool = False
    """It may be missing, if there are none of ours."""
    index: tuple[int, ...] = ()
    """Of the part in the first axes of theirs."""
    view: tuple[int, ...] = ()
    """Axes into which theirs[index] is cut first; empty: as they are."""
    order: tuple[int, ...] = ()
    """These axes, in our order; empty: as they are."""
    to_ours: Callable[[Tensor], Tensor] | None = None
    """Computes the numbers of ours from those of theirs, where they are others, of the same shape."""
    part: tuple[int, int, int] = (0, 1, 1)
    """From which to before which of how many equal parts of ours along the first axis theirs is; a table has rows of all."""

    def part_of(self, own: Mapping[str, Tensor]) -> Tensor:
        """Look up our tensor, or the rows of it that this row describes; several are joined."""
        tensors = [own[name] for name in self.ours]
        joined = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        first, last, number = self.part
        return joined[first * len(joined) // number : last * len(joined) // number] if number > 1 else joined

    def part_shape(self, own: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Compute the shape of theirs[index]."""
        if self.shape or not self.ours:
            return self.shape
        shapes = [tuple(own[name].shape) for name in self.ours]
        first, last, number = self.part
        joined = (sum(shape[0] for shape in shapes) * (last - first) // number, *shapes[0][1:]) if shapes[0] else ()
        if self.order:
            joined = tuple(joined[self.order.index(axis)] for axis in range(len(joined)))
        return (1,) * self.lead + joined

    def arranged(self, tensor: Tensor) -> Tensor:
        """Permute theirs[index] to our order of axes, not yet to our shape."""
        tensor = tensor.reshape(self.view) if self.view else tensor
        tensor = self.to_ours(tensor) if self.to_ours else tensor
        return tensor.permute(self.order) if self.order else tensor

    def returned(self, ours: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Reshape the result of `part_of` to the shape of theirs[index]."""
        if not self.order:
            return ours.reshape(shape)
        back = [self.order.index(axis) for axis in range(len(self.order))]
        axes = self.view or shape
        return ours.reshape([axes[axis] for axis in self.order]).permute(back).reshape(shape)


def same(pairs: Mapping[str, str]) -> list[NameRow]:
    """Make one row for each pair of ours and theirs."""
    return [NameRow(theirs, (ours,)) for ours, theirs in pairs.items()]


def layers(pairs: Mapping[str, str], bias: bool = True) -> list[NameRow]:
    """Make the rows of weight and bias for each pair of modules, ours and theirs."""
    leaves = ("weight", "bias") if bias else ("weight",)
    return same({f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in pairs.items() for leaf in leaves})


def gated(ours: str, gate: str, up: str, out: str) -> list[NameRow]:
    """Make the rows of a gated MLP, whose gate and up are one layer of ours and two of theirs."""
    halves = [
        NameRow(f"{theirs}.{leaf}", (f"{ours}.gate_up.{leaf}",), part=(i, i + 1, 2))
        for leaf in ("weight", "bias")
        for i, theirs in enumerate((gate, up))
    ]
    return halves + layers({f"{ours}.out": out})


def part_row(
    theirs: str,
    ours: str,
    shape: tuple[int, ...] = (),
    index: tuple[int, ...] = (),
    order: tuple[int, ...] = (),
    part: tuple[int, int, int] = (0, 1, 1),
) -> NameRow:
    """Make the row of a part of one of their tensors, of a fixed shape if one is given, that is (a part of) one of ours."""
    return NameRow(theirs, (ours,), shape=shape, index=index, order=order, part=part)


def under_our_names(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], rows: Iterable[NameRow], source: str
) -> dict[str, Tensor]:
    """Rename the weights of another library to the names of `expected`, whose tensors may have no values (meta device).

    Every tensor of theirs and of ours is used exactly once. Raises BadInput, naming the tensor, for one that is missing,
    unknown, of another shape, or not finite.
    """
    rows = [row for row in rows if row.ours or not row.optional or row.theirs in state]
    check_names(state, rows, source)
    check_whole(expected, rows)
    shapes, loaded = their_shapes(rows, expected), {}
    for row in rows:
        if not row.ours:
            continue
        tensor = torch.as_tensor(state[row.theirs])
        check_shape(row.theirs, tuple(tensor.shape), shapes[row.theirs])
        check_numbers(row.theirs, tensor, expected[row.ours[0]])
        tensor = row.arranged(tensor[row.index].detach().reshape(tensor[row.index].shape[row.lead :]))
        check_numbers(row.theirs, tensor, expected[row.ours[0]])
        targets = [expected[name] for name in row.ours]
        if row.part[2] > 1:
            loaded.setdefault(row.ours[0], torch.empty(targets[0].shape, dtype=targets[0].dtype))
            target = row.part_of(loaded)
            target.copy_(tensor.reshape(target.shape))
            continue
        parts = tensor.split([len(each) for each in targets]) if len(targets) > 1 else [tensor]
        loaded |= {name: values.reshape(each.shape) for name, each, values in zip(row.ours, targets, parts, strict=True)}
    return loaded


def to_official(model: nn.Module, rows: Iterable[NameRow]) -> dict[str, Tensor]:
    """Export the weights of `model` under the names of another library, as copies."""
    own, rows, out = model.state_dict(), list(rows), {}
    check_whole(own, rows)
    shapes = their_shapes(rows, own)
    for row in rows:
        tensor = row.part_of(own).detach()
        whole = out.setdefault(row.theirs, tensor.new_empty(shapes[row.theirs]))
        whole[row.index] = row.returned(tensor, row.part_shape(own))
    return out


def their_shapes(rows: Iterable[NameRow], own: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Compute the full shape of each of their tensors; `own` is consulted if a row does not state its shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    for row in rows:
        stack = tuple(i + 1 for i in row.index)
        before = shapes.get(row.theirs, ())[: len(stack)]
        shapes[row.theirs] = (tuple(map(max, stack, before)) if before else stack) + row.part_shape(own)
    return shapes


def check_names(stored: Iterable[str], rows: Iterable[NameRow], source: str) -> None:
    """Raise BadInput unless the names match those of the rows."""
    stored, expected = set(stored), dict.fromkeys(row.theirs for row in rows)
    if missing := [name for name in expected if name not in stored]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"the weights lack {missing[0]}{more}; are they whole, and not of another architecture of {source}?")
    if unknown := stored - expected.keys():
        raise BadInput(f"this network has no {min(unknown)}; are the weights of another architecture of {source}?")


def check_shape(name: str, stored: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if stored != expected:
        raise BadInput(f"{name} is {stored} where the config wants {expected}; are the weights of another architecture?")


def check_whole(own: Mapping[str, Tensor], rows: Iterable[NameRow]) -> None:
    """Raise ValueError unless the rows fill each of our tensors exactly once; this checks a table, not a file."""
    filled = dict.fromkeys(own, 0)
    for row in rows:
        for name in row.ours:
            filled[name] += math.prod(row.shape or row.part_shape(own)) if len(row.ours) == 1 else own[name].numel()
    for name, count in filled.items():
        if count != own[name].numel():
            raise ValueError(f"the table gives {count} numbers for {name}, which has {own[name].numel()}")
