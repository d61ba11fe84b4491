"""The plan of a network before anything runs: groups, padding, parameters, multiplications, memory. Imports no torch.

Source: the formulas follow from the blocks of HiP (arXiv 2202.10890); the tests hold them to the networks themselves. One MAC
is one multiply-add of a matrix product, two FLOPs. Memory is that of float32: for use, weights and what is alive at once at the
worst place; for training, weights, gradients, two moments of AdamW, and what is kept for the backward pass. What the allocator
and torch itself take comes on top: a twentieth to a sixth where it was measured.
"""

from dataclasses import dataclass

from tapetum.account.products import attention, block, matmul, mlp
from tapetum.systems.hip.config import HipConfig, Modalities
from tapetum.systems.hip.grouping import Grouping, grouping

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
