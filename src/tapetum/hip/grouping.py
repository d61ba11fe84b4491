"""How modalities share the groups of the first block: which groups each gets, and what is padded.

Source: the public code of HiP (arXiv 2202.10890). A group holds elements of one modality. Groups are given out one by one, each
to the modality that has most elements a group by then; all groups are as wide as the widest must be.

    image (1024 x E) ──► 15 groups of 69 (the last padded by 11) ──┐
    label   (32 x E) ──►  1 group of 32, padded by 37 to 69 ───────┴──► (16 groups, 69, E)

Planning needs no torch; `group` and `ungroup` take tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from tapetum.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The groups of one modality."""

    name: str
    length: int
    """Elements."""
    first: int
    """Number of its first group."""
    groups: int
    own: int
    """Elements of each of its groups, before padding to the common width."""

    @property
    def tail(self) -> int:
        """Padding after the last element, so that groups are equal."""
        return self.groups * self.own - self.length


@dataclass(frozen=True)
class Grouping:
    """Where every element goes; `shares` in the order of packing."""

    shares: tuple[Share, ...]
    width: int
    """Elements of a group, padding included."""
    flat: bool = False
    """All modalities end to end in one group."""

    @property
    def groups(self) -> int:
        """All groups together."""
        return 1 if self.flat else sum(share.groups for share in self.shares)

    @property
    def padding(self) -> int:
        """Elements that are padding."""
        return self.groups * self.width - sum(share.length for share in self.shares)

    def group(self, parts: "Mapping[str, Tensor]") -> "Tensor":
        """Tensors (b, n, c) by modality to one (b, groups, width, c); padding is zeros."""
        import torch
        import torch.nn.functional as F

        if self.flat:
            return torch.cat([parts[share.name] for share in self.shares], 1)[:, None]
        grouped = []
        for share in self.shares:
            x = F.pad(parts[share.name], (0, 0, 0, share.tail)) if share.tail else parts[share.name]
            x = x.unflatten(1, (share.groups, share.own))
            grouped.append(F.pad(x, (0, 0, 0, self.width - share.own)) if self.width > share.own else x)
        return grouped[0] if len(grouped) == 1 else torch.cat(grouped, 1)

    def ungroup(self, x: "Tensor", names: Sequence[str] | None = None) -> "dict[str, Tensor]":
        """The inverse: (b, groups, width, c) to tensors (b, n, c), of all modalities or of `names`."""
        out, at = {}, 0
        for share in self.shares:
            if names is None or share.name in names:
                if self.flat:
                    out[share.name] = x[:, 0, at : at + share.length]
                else:
                    own = x[:, share.first : share.first + share.groups, : share.own]
                    out[share.name] = own.flatten(1, 2)[:, : share.length]
            at += share.length
        return out

    def real(self) -> "Tensor":
        """(groups, width) bool: what is no padding."""
        import torch

        places = {share.name: torch.ones(1, share.length, 1) for share in self.shares}
        return self.group(places)[0, ..., 0] > 0


def grouping(lengths: Mapping[str, int], groups: int, flat: bool = False) -> Grouping:
    """Groups for modalities of these lengths.

    >>> plan = grouping({"image": 1024, "label": 32}, 16)
    >>> [(share.groups, share.own, share.tail) for share in plan.shares], plan.width
    ([(15, 69, 11), (1, 32, 0)], 69)

    Raises BadInput for no modality, an empty one, or more modalities than groups.
    """
    if not lengths:
        raise BadInput("there is no modality; give one or more")
    for name, length in lengths.items():
        if length < 1:
            raise BadInput(f"modality {name!r} has {length} elements; it needs 1 or more")
    if flat:
        starts = [sum(list(lengths.values())[:i]) for i in range(len(lengths))]
        shares = [Share(name, n, at, 0, n) for (name, n), at in zip(lengths.items(), starts, strict=True)]
        return Grouping(tuple(shares), sum(lengths.values()), flat=True)
    if len(lengths) > groups:
        raise BadInput(
            f"{len(lengths)} modalities for {groups} groups; a group holds one modality: use a variant with more groups"
        )
    counts = assign(list(lengths.values()), groups)
    shares, first = [], 0
    for (name, length), count in zip(lengths.items(), counts, strict=True):
        shares.append(Share(name, length, first, count, ceil(length / count)))
        first += count
    return Grouping(tuple(shares), max(share.own for share in shares))


def assign(lengths: Sequence[int], groups: int) -> list[int]:
    """Groups of each modality: one, and one more for the fullest until none is left.

    >>> assign([401408, 122880], 256)
    [196, 60]
    """
    counts = [1] * len(lengths)
    for _ in range(groups - len(lengths)):
        fullest = max(range(len(lengths)), key=lambda i: lengths[i] / counts[i])
        counts[fullest] += 1
    return counts
