"""Groups of HiP's first block, before anything runs. Imports no torch by itself.

Source: the public code of HiP (arXiv 2202.10890). A group holds elements of one modality. Groups are assigned one by one, each
to the modality that has most elements per group by then; all groups are as wide as the widest must be.

    image (1024 x E) ──► 15 groups of 69 (the last padded by 11) ──┐
    label   (32 x E) ──►  1 group of 32, padded by 37 to 69 ───────┴──► (16 groups, 69, E)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ModalitySpan:
    """The groups of one modality."""

    name: str
    length: int
    first: int
    """Number of its first group."""
    groups: int
    own: int
    """Elements of each of its groups, before padding to the common width."""

    @property
    def tail(self) -> int:
        """Count the padding after the last element, so that groups are equal."""
        return self.groups * self.own - self.length


@dataclass(frozen=True)
class Grouping:
    """Places of all elements in the groups; `shares` in the order of packing."""

    spans: tuple[ModalitySpan, ...]
    width: int
    """Elements of a group, padding included."""
    flat: bool = False
    """All modalities end to end in one group."""

    @property
    def groups(self) -> int:
        return 1 if self.flat else sum(span.groups for span in self.spans)

    @property
    def padding(self) -> int:
        return self.groups * self.width - sum(span.length for span in self.spans)

    def group(self, parts: "Mapping[str, Tensor]") -> "Tensor":
        """Group tensors (b, n, c) by modality to one (b, groups, width, c); padding is zeros."""
        import torch
        import torch.nn.functional as F

        if self.flat:
            return torch.cat([parts[span.name] for span in self.spans], 1)[:, None]
        grouped = []
        for span in self.spans:
            x = F.pad(parts[span.name], (0, 0, 0, span.tail)) if span.tail else parts[span.name]
            x = x.unflatten(1, (span.groups, span.own))
            grouped.append(F.pad(x, (0, 0, 0, self.width - span.own)) if self.width > span.own else x)
        return grouped[0] if len(grouped) == 1 else torch.cat(grouped, 1)

    def ungroup(self, x: "Tensor", names: Sequence[str] | None = None) -> "dict[str, Tensor]":
        """Undo `group`: (b, groups, width, c) to tensors (b, n, c), of all modalities or of `names`."""
        out, at = {}, 0
        for span in self.spans:
            if names is None or span.name in names:
                if self.flat:
                    out[span.name] = x[:, 0, at : at + span.length]
                else:
                    own = x[:, span.first : span.first + span.groups, : span.own]
                    out[span.name] = own.flatten(1, 2)[:, : span.length]
            at += span.length
        return out

    def real(self) -> "Tensor":
        """Compute (groups, width) bool: what is no padding."""
        import torch

        places = {span.name: torch.ones(1, span.length, 1) for span in self.spans}
        return self.group(places)[0, ..., 0] > 0


def grouping(lengths: Mapping[str, int], groups: int, flat: bool = False) -> Grouping:
    """Compute groups for modalities of these lengths.

    >>> plan = grouping({"image": 1024, "label": 32}, 16)
    >>> [(span.groups, span.own, span.tail) for span in plan.spans], plan.width
    ([(15, 69, 11), (1, 32, 0)], 69)

    Raises BadInput for no modality, or more modalities than groups.
    """
    if not lengths:
        raise BadInput("there is no modality; give one or more")
    if flat:
        starts = [sum(list(lengths.values())[:i]) for i in range(len(lengths))]
        spans = [ModalitySpan(name, n, at, 0, n) for (name, n), at in zip(lengths.items(), starts, strict=True)]
        return Grouping(tuple(spans), sum(lengths.values()), flat=True)
    if len(lengths) > groups:
        raise BadInput(f"{len(lengths)} modalities for {groups} groups; a group holds one modality: use a variant with more")
    counts = assign(list(lengths.values()), groups)
    spans, first = [], 0
    for (name, length), count in zip(lengths.items(), counts, strict=True):
        spans.append(ModalitySpan(name, length, first, count, ceil(length / count)))
        first += count
    return Grouping(tuple(spans), max(span.own for span in spans))


def assign(lengths: Sequence[int], groups: int) -> list[int]:
    """Compute groups of each modality: one, and one more for the fullest until none is left.

    >>> assign([401408, 122880], 256)
    [196, 60]
    """
    counts = [1] * len(lengths)
    for _ in range(groups - len(lengths)):
        fullest = max(range(len(lengths)), key=lambda i: lengths[i] / counts[i])
        counts[fullest] += 1
    return counts
