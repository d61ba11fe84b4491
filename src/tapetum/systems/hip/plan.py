"""The plan of a network before anything runs: groups, padding, parameters, multiplications, memory.

Source: the public code of HiP (arXiv 2202.10890) for the groups of the first block. A group holds elements of one modality.
Groups are given out one by one, each to the modality that has most elements a group by then; all groups are as wide as the
widest must be.

    image (1024 x E) ──► 15 groups of 69 (the last padded by 11) ──┐
    label   (32 x E) ──►  1 group of 32, padded by 37 to 69 ───────┴──► (16 groups, 69, E)

Planning needs no torch; `group` and `ungroup` take tensors.

Numbers follow from the blocks of HiP; the tests hold them to the networks themselves. One MAC
is one multiply-add of a matrix product, two FLOPs. Memory is that of float32: for use, weights and what is alive at once at the
worst place; for training, weights, gradients, two moments of AdamW, and what is kept for the backward pass. What the allocator
and torch itself take comes on top: a twentieth to a sixth where it was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from tapetum.account.products import attention, block, matmul, mlp
from tapetum.core.errors import BadInput
from tapetum.systems.hip.config import HipConfig, Modalities

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ModalitySpan:
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
        """Count all groups together."""
        return 1 if self.flat else sum(span.groups for span in self.spans)

    @property
    def padding(self) -> int:
        """Count the elements that are padding."""
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
        raise BadInput(
            f"{len(lengths)} modalities for {groups} groups; a group holds one modality: use a variant with more groups"
        )
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


BYTES = 4


@dataclass(frozen=True)
class PlanPart:
    """Some layers of the network; of one example, but for `once`."""

    name: str
    parameters: int
    macs: int
    """For each example."""
    once: int
    """MACs for a whole batch."""
    kept: int
    """Numbers kept for the backward pass."""
    alive: int
    """Numbers alive at its worst moment, its inputs among them, what others keep for later not."""
    out: int
    """Numbers that it hands on."""


@dataclass(frozen=True)
class HipPlan:
    """The whole network."""

    grouping: Grouping
    parts: tuple[PlanPart, ...]
    later: tuple[int, ...]
    """Numbers that are kept during each part because a later one needs them: codes, and latents of the encoder."""

    @property
    def parameters(self) -> int:
        """Count the weights, tables of learned codes and latents included."""
        return sum(part.parameters for part in self.parts)

    def macs(self, batch: int = 1) -> int:
        """Compute the multiplications of a forward pass."""
        return sum(batch * part.macs + part.once for part in self.parts)

    def bytes_in_use(self, batch: int = 1) -> int:
        """Compute weights and the worst moment of a forward pass without gradients."""
        worst = max(part.alive + later for part, later in zip(self.parts, self.later, strict=True))
        return BYTES * (self.parameters + batch * worst)

    def bytes_in_training(self, batch: int = 1) -> int:
        """Compute weights, gradients, two moments, and what a forward pass keeps."""
        return BYTES * (4 * self.parameters + batch * sum(part.kept for part in self.parts))


def plan(config: HipConfig, modalities: Modalities) -> HipPlan:
    """Plan `Hip(config, modalities)`; raises BadInput where that would."""
    inner = {name: m for name, m in modalities.items() if name not in config.labels}
    labels = {name: m for name, m in modalities.items() if name in config.labels}
    groups = grouping({name: m.length for name, m in inner.items()}, config.groups[0], config.flat)
    entering, width = groups.groups * groups.width, config.embedding
    parts = [_embedding("embedding", config, inner, width, config.position_projection, entering)]
    later = [0]
    codes = entering * width
    for i in range(config.blocks):
        inputs = groups.width if i == 0 else config.groups[i - 1] * _latents(config, i - 1) // config.groups[i]
        if i == config.processor and labels:
            parts.append(_embedding("labels", config, labels, config.width_in(i), False, 0))
            later.append(later[-1] + codes if i == 0 else later[-1])
            inputs += sum(m.length for m in labels.values())
        skips = sum(_total(config, j) for j in range(min(i, config.blocks - i)) if j < config.processor)
        parts.append(_block(config, i, inputs))
        later.append(codes + skips)
        if i == config.processor and labels:
            rows = sum(m.length for m in labels.values())
            wide = config.width_in(i)
            parts.append(_cross("label head", 1, rows, wide, _latents(config, i), config.channels[i], 1))
            later.append(codes + skips + _total(config, i))
            parts.append(_unembedding("labels out", labels, wide))
            later.append(codes + skips + _total(config, i))
    parts.append(_cross("head", groups.groups, groups.width, width, _latents(config, -1), config.channels[-1], 1))
    later.append(0)
    parts.append(_unembedding("unembedding", inner, width))
    later.append(0)
    return HipPlan(groups, tuple(parts), tuple(later))


def _latents(config: HipConfig, block: int) -> int:
    """Latents of a group in use."""
    return config.rows(block % config.blocks)


def _total(config: HipConfig, block: int) -> int:
    return config.groups[block] * _latents(config, block) * config.channels[block]


def _embedding(name: str, config: HipConfig, modalities: Modalities, width: int, projected: bool, entering: int) -> PlanPart:
    parameters = macs = once = 0
    for m in modalities.values():
        parameters += m.channels * width + width
        macs += matmul(m.length, m.channels, width)
        if config.positions == "learned":
            parameters += m.length * width
            source = width if projected else 0
        else:
            source = width if config.positions == "random" else len(m.shape) * (1 + 2 * config.fourier_bands)
        parameters += source * width
        once += matmul(m.length, source, width)
    rows = sum(m.length for m in modalities.values())
    given = sum(m.length * m.channels for m in modalities.values())
    return PlanPart(name, parameters, macs, once, given, given + 3 * max(rows, entering) * width, max(rows, entering) * width)


def _unembedding(name: str, modalities: Modalities, width: int) -> PlanPart:
    parameters = sum(width * m.channels + m.channels for m in modalities.values())
    macs = sum(matmul(m.length, width, m.channels) for m in modalities.values())
    rows = sum(m.length for m in modalities.values())
    out = sum(m.length * m.channels for m in modalities.values())
    return PlanPart(name, parameters, macs, 0, rows * width, 2 * rows * width + out, out)


def _cross(name: str, groups: int, queries: int, cq: int, inputs: int, ck: int, widening: int) -> PlanPart:
    """A cross-attention, its queries' table not included."""
    linear = (
        (cq * ck + ck) + 2 * (ck * ck + ck) + (ck * cq + cq) + (cq * widening * cq + widening * cq) + (widening * cq * cq + cq)
    )
    parameters = linear + 4 * cq + 2 * ck
    by_query = 2 * matmul(queries, cq, ck) + mlp(queries, cq, widening * cq)
    macs = groups * (by_query + 2 * matmul(inputs, ck, ck) + attention(queries, inputs, ck))
    all_queries, all_inputs = groups * queries, groups * inputs
    kept = all_inputs * 4 * ck + all_queries * (4 * cq + 2 * ck + 2 * widening * cq)
    attending = all_inputs * 4 * ck + all_queries * (2 * cq + 2 * ck)
    thinking = all_inputs * ck + all_queries * (3 * cq + 2 * widening * cq)
    return PlanPart(name, parameters, macs, 0, kept, max(attending, thinking), all_queries * cq)


def _block(config: HipConfig, number: int, inputs: int) -> PlanPart:
    groups, rows, c = config.groups[number], _latents(config, number), config.channels[number]
    cross = _cross("", groups, rows, c, inputs, config.width_in(number), config.cross_widening)
    parameters, macs = cross.parameters + groups * rows * c, cross.macs
    skip = config.skip(number)
    if skip is not None and config.channels[skip] != c:
        parameters += config.channels[skip] * c + c
        macs += matmul(groups * rows, config.channels[skip], c)
    layers, w = config.self_layers[number], config.self_widening
    parameters += layers * (4 * (c * c + c) + (2 * w * c * c + w * c + c) + 4 * c)
    macs += layers * groups * (block(rows, c, w * c) + attention(rows, rows, c))
    numbers = groups * rows * c
    kept = cross.kept + layers * numbers * (8 + 2 * w)
    alive = max(cross.alive, numbers * max(5, 2 + 2 * w) if layers else 0)
    return PlanPart(f"block {number}", parameters, macs, 0, kept, alive, numbers)
