"""Rows of a table of names, and their use both ways.

A row says which of our tensors make one of theirs: joined along the first axis (a fused query-key-value is three of ours), with
axes of length 1 in front where they have them; or of which of ours theirs is a part (gate and up of our gated MLP are one).
What a library stores and an encoder does not need (a mask token, counters) is a row without tensors of ours: it is left out on
the way here and written as `shape` of `fill` on the way back.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class NameRow:
    """One tensor of another library."""

    theirs: str
    ours: tuple[str, ...]
    """Joined along the first axis, in this order; none: not part of an encoder."""
    lead: int = 0
    """Axes of length 1 in front of theirs."""
    shape: tuple[int, ...] = ()
    """Shape of theirs, where there are none of ours."""
    fill: float | Tensor = 0.0
    """What theirs is made of then; a tensor is all of theirs."""
    optional: bool = False
    """It may be missing on the way here, if there are none of ours."""
    transpose: bool = False
    """Theirs is a matrix that is multiplied from the right: ours transposed."""
    part: tuple[int, int] = (0, 1)
    """Which, and of how many equal parts of ours along the first axis, theirs is; the rows of all parts are in a table."""
    to_ours: Callable[[Tensor], Tensor] | None = None
    """Computes ours from theirs, where they differ by more than their axes; it may raise RuntimeError for other shapes."""
    to_theirs: Callable[[Tensor], Tensor] | None = None
    """Computes theirs from ours."""


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
        NameRow(f"{theirs}.{leaf}", (f"{ours}.gate_up.{leaf}",), part=(i, 2))
        for leaf in ("weight", "bias")
        for i, theirs in enumerate((gate, up))
    ]
    return halves + layers({f"{ours}.out": out})


def from_official(model: nn.Module, state: Mapping[str, Tensor], rows: Iterable[NameRow], source: str) -> None:
    """Put the weights of another library into `model`; see `under_our_names`."""
    model.load_state_dict(under_our_names(model.state_dict(), state, rows, source))


def under_our_names(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], rows: Iterable[NameRow], source: str
) -> dict[str, Tensor]:
    """Write the weights of another library the names of `expected`, whose tensors may be without numbers (of the meta device).

    Every tensor of theirs and of ours is used exactly once. Raises BadInput, naming the tensor, for one that is missing,
    unknown, of another shape, or not finite.
    """
    left, loaded = dict(state), {}
    parts_of: dict[str, dict[int, Tensor]] = {}
    for row in rows:
        if row.theirs not in left:
            if row.optional and not row.ours:
                continue
            raise BadInput(f"the weights lack {row.theirs}; are they of another architecture of {source}?")
        tensor = torch.as_tensor(left.pop(row.theirs))
        if not row.ours:
            continue
        if row.transpose and tensor.ndim == 2:
            tensor = tensor.T
        if row.to_ours is not None:
            try:
                tensor = row.to_ours(tensor)
            except RuntimeError as error:
                raise BadInput(
                    f"{row.theirs} is {tuple(tensor.shape)}, from which no {row.ours[0]} of this architecture can be made; are"
                    " the weights of another architecture?"
                ) from error
        which, count = row.part
        shapes = [tuple(expected[name].shape) for name in row.ours]
        if count > 1:
            shapes = [(shape[0] // count, *shape[1:]) for shape in shapes]
        whole = joined_shape(shapes, row.lead)
        if tuple(tensor.shape) != whole:
            raise BadInput(
                f"{row.theirs} is {tuple(tensor.shape)} where {whole} is wanted; are the weights of another architecture?"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadInput(f"{row.theirs} holds something else than finite numbers; get the weights again")
        tensor = tensor.detach().reshape(whole[row.lead :])
        parts = tensor.split([shape[0] for shape in shapes]) if len(shapes) > 1 else [tensor]
        for name, part in zip(row.ours, parts, strict=True):
            if name in loaded or which in parts_of.get(name, ()):
                raise ValueError(f"two rows give {name}")
            parts_of.setdefault(name, {})[which] = part
            if len(parts_of[name]) == count:
                found = [parts_of[name][i] for i in range(count)]
                loaded[name] = (torch.cat(found) if count > 1 else part).to(expected[name].dtype)
    if left:
        raise BadInput(f"this network has no {min(left)}; are the weights of another architecture of {source}?")
    if missing := expected.keys() - loaded.keys():
        raise ValueError(f"no row gives {min(missing)}")
    return loaded


def joined_shape(shapes: list[tuple[int, ...]], lead: int) -> tuple[int, ...]:
    """Compute the shape of theirs for the shapes of ours."""
    if not shapes[0]:
        return (1,) * lead
    return (1,) * lead + (sum(shape[0] for shape in shapes), *shapes[0][1:])


def to_official(model: nn.Module, rows: Iterable[NameRow]) -> dict[str, Tensor]:
    """Write the weights of `model` under the names of another library, as copies."""
    own, out = model.state_dict(), {}
    for row in rows:
        if not row.ours:
            out[row.theirs] = row.fill.clone() if isinstance(row.fill, Tensor) else torch.full(row.shape, row.fill)
            continue
        which, count = row.part
        last = which == count - 1  # the rows of the parts of a tensor come in order
        parts = [(own.pop(name) if last else own[name]).detach() for name in row.ours]
        parts = [part.chunk(count)[which] for part in parts] if count > 1 else parts
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
        tensor = tensor.T.contiguous() if row.transpose else tensor
        tensor = tensor if row.to_theirs is None else row.to_theirs(tensor)
        out[row.theirs] = tensor.reshape((1,) * row.lead + tuple(tensor.shape))
    if own:
        raise ValueError(f"no row takes {min(own)}")
    return out
