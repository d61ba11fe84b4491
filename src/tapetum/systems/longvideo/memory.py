"""The memory bank of a video encoder: past memories by layer, how they come of a segment's tokens, eviction, a stream's state.

A segment reads keys and values of earlier ones, for the attention of MC-ViT (arXiv 2402.05861, equation 4), and writes its own
tokens, whole (memory-augmented), consolidated (section 3.3) or as MeMViT pools them. A state is never modified: an encoder's
`step` returns a new one, and an old one can be continued again.

`consolidate` turns a segment's n tokens into k memories, without parameters:

    random    k of the tokens, each as likely
    coreset   the first, then always the token that is farthest from all chosen so far
    kmeans    k of the tokens as centres, then rounds of k-means; the centres are the memories

`Compression` is the baseline of MC-ViT: past segments pooled by learned convolutions (MeMViT, arXiv 2201.08383). Projections to
keys and values come after the pooling, as in MeMViT's code; the odd layers have no memories.

Choices where MC-ViT's paper is silent: random is without replacement; coreset begins with the first token of the random order;
a centre without tokens stays; distances are between unnormalised tokens. Up to k tokens are stored unchanged.

Differs from the papers: MC-ViT's equation 4 and algorithm 1 disagree, so which tokens are stored, when they are normalised and
whether gradients pass are settings (`VideoConfig`); MeMViT's relative positions of memories are left out (ours are in the
tokens), and grids smaller than a step are pooled whole.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.devices import send_to_device
from tapetum.layers.clustering import move_centres, nearest
from tapetum.layers.transformer import Block
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.layers import Projected

_KERNEL, _STEP = (7, 3, 3), (4, 2, 2)
"""Of MeMViT's pooling: time, rows, columns."""


def consolidate(
    tokens: Float[Tensor, "b n d"], count: int, method: str, order: Int[Tensor, "b n"], iterations: int = 5
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Consolidate tokens into `count` memories, and count how many tokens each represents.

    `method` is random, coreset or kmeans, of so many `iterations`; `order` a random permutation of each sample's tokens.
    """
    weights = torch.ones_like(tokens[..., 0])
    if count >= tokens.shape[1]:
        return tokens, weights
    if count == 0:
        return tokens[:, :0], weights[:, :0]
    with torch.no_grad():
        compared = tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens
        chosen = select_coreset(compared, count, order[:, 0]) if method == "coreset" else order[:, :count]
    if method != "kmeans" or iterations == 0:
        return _rows(tokens, chosen), weights.gather(1, chosen)
    with torch.no_grad():
        centres = _rows(compared, chosen)
        ids = nearest(compared, centres)
        for _ in range(iterations - 1):
            centres, _ = move_centres(compared, ids, centres)
            ids = nearest(compared, centres)
    return move_centres(tokens, ids, centres.to(tokens.dtype))  # with gradients to the members, whose mean a memory is


def select_coreset(x: Float[Tensor, "b n d"], count: int, first: Int[Tensor, " b"]) -> Int[Tensor, "b k"]:
    """Choose tokens greedily, each the farthest from those chosen before (k-centre; Gonzalez, 1985)."""
    batch = torch.arange(len(x), device=x.device)
    chosen = [first]
    square = x.square().sum(-1)
    apart = torch.full_like(square, torch.inf)
    for _ in range(count - 1):
        last = x[batch, chosen[-1]]
        new = square - 2 * torch.einsum("bnd,bd->bn", x, last) + last.square().sum(-1, keepdim=True)
        apart = torch.minimum(apart, new)
        apart[batch, chosen[-1]] = -torch.inf  # a token is not chosen twice
        chosen.append(apart.argmax(1))
    return torch.stack(chosen, 1)


def _rows(tokens: Tensor, chosen: Tensor) -> Tensor:
    return tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))


class Compression(nn.Module):
    """Learned pooling of past segments."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config

        def pool() -> nn.Conv3d:
            padding = (_KERNEL[0] // 2, _KERNEL[1] // 2, _KERNEL[2] // 2)
            layer = nn.Conv3d(config.width, config.width, _KERNEL, _STEP, padding, groups=config.width, bias=False)
            with torch.no_grad():  # begins as an average
                layer.weight.fill_(1 / (layer.weight.numel() // len(layer.weight)))
            return layer

        self.keys, self.values = (nn.ModuleList(pool() for _ in range(config.depth)) for _ in range(2))

    def read(self, number: int, block: Block, rows: Float[Tensor, "b n d"], earlier: Projected | None) -> Projected | None:
        """Compute keys and values of the last segment's tokens, and of earlier ones as pooled then."""
        if number % 2:
            return None
        pairs = [(self._pool(self.keys[number], rows), self._pool(self.values[number], rows))]
        if earlier is not None:
            pairs.insert(0, (earlier[0][:, 0], earlier[1][:, 0]))
        key_rows, value_rows = (torch.cat(parts, 1) for parts in zip(*pairs, strict=True))
        key, _ = block.attention.project(key_rows)  # pyright: ignore
        _, value = block.attention.project(value_rows)  # pyright: ignore
        return key, value

    def write(
        self, number: int, block: Block, rows: Float[Tensor, "b n d"], earlier: Float[Tensor, "b n2 d"] | None
    ) -> tuple[Tensor, Projected | None]:
        """Normalise this segment's tokens, and pool those of the segment before, (b, 1, m, d) each, without gradient."""
        with torch.no_grad():
            normed = block.attention_norm(rows)
            if earlier is None or number % 2:
                return normed, None
            key, value = self._pool(self.keys[number], earlier), self._pool(self.values[number], earlier)
        return normed, (key[:, None], value[:, None])

    def _pool(self, layer: nn.Module, rows: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        grid = self.config.grid
        x = rows.unflatten(1, (-1, *grid)).movedim(-1, 1)
        return layer(x).flatten(2).mT  # (b, m, d)


@dataclass(frozen=True)
class LayerMemory:
    rows: Float[Tensor, "b m d"]
    """Memories, the oldest first; not normalised, or normalised where the config says so."""
    weights: Float[Tensor, "b m"]
    """For how many tokens each stands."""
    projected: Projected | None = None
    """Keys and values of the rows, where they are cached."""

    def select(self, numbers: list[int]) -> "LayerMemory":
        at = torch.tensor(numbers, device=self.rows.device)
        projected = None if self.projected is None else (self.projected[0][:, :, at], self.projected[1][:, :, at])
        return LayerMemory(self.rows[:, at], self.weights[:, at], projected)


@dataclass(frozen=True)
class StreamState:
    """State of a stream: made by `VideoEncoder.start`; each step makes a new one."""

    samples: tuple[int, ...]
    """Numbers of the samples of the batch, of which random choices are functions."""
    frames: int | None
    """Frames of the whole video, where they are known."""
    segment: int = 0
    """Segments that were encoded."""
    slots: int = 0
    """Time steps that were encoded."""
    layers: tuple[LayerMemory, ...] = ()
    """Memories of each layer; empty before the first segment."""
    origins: tuple[int, ...] = ()
    """Segment of every row."""
    total: Tensor | None = None
    """float (b, d): sum of all tokens so far."""
    count: Tensor | None = None
    """float (b,): their number."""
    slot_means: tuple[Tensor, ...] = ()
    """(b, slots, d) a segment: means of time steps, where the pooling needs them."""

    @property
    def memories(self) -> int:
        return len(self.origins)

    @property
    def bytes(self) -> int:
        parts = [part for layer in self.layers for part in (layer.rows, layer.weights, *(layer.projected or ()))]
        return sum(part.numel() * part.element_size() for part in parts)


class MemoryBank(nn.Module):
    """The memory of a video encoder. Only the compressed form has weights."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config
        self.compression = Compression(config) if config.memory == "compressed" else None

    def segment(self, state: StreamState, tokens: int, last: bool) -> "SegmentMemory":
        """Start a segment of `tokens` tokens; the last one stores nothing."""
        return SegmentMemory(self, state, tokens, last)


class SegmentMemory:
    """The memories that one segment reads and writes."""

    def __init__(self, bank: MemoryBank, state: StreamState, tokens: int, last: bool):
        self.config, self.compression = bank.config, bank.compression
        self.state = state
        self.reads = self.config.memory in ("augmented", "consolidated", "compressed")
        self.writes = self.reads and not last
        self.layers: list[LayerMemory] = []
        added = min(self.config.memories, tokens) if self.config.memory == "consolidated" else tokens
        if self.config.memory == "compressed":
            added = 0
        self.origins = [*state.origins, *[state.segment] * added] if self.writes else []
        self.remaining: list[int] | None = None
        """Rows that remain after this segment; None: all."""
        cap = self.config.memory_cap
        if cap is not None and len(self.origins) > cap:
            newest = list(range(len(self.origins) - cap, len(self.origins)))
            self.remaining = newest if self.config.evict == "fifo" else evict_uniformly(self.origins, cap)

    def read(self, number: int, block: Block) -> Projected | None:
        """Compute keys and values of the memories of layer `number`; None if there are none."""
        if not self.reads or not self.state.layers:
            return None
        memory = self.state.layers[number]
        if self.compression is not None:
            return self.compression.read(number, block, memory.rows, memory.projected)
        if memory.projected is not None:
            return memory.projected
        return self._project(block, memory.rows)

    def _project(self, block: Block, rows: Tensor) -> Projected:
        normed = block.attention_norm(rows) if self.config.memory_norm == "read" else rows  # equation 4: LN(m) at reading
        return block.attention.project(normed)  # pyright: ignore[reportCallIssue, reportReturnType, reportAttributeAccessIssue]

    def write(self, number: int, block: Any, before: Tensor, after: Tensor, valid: Tensor) -> None:
        """Store tokens of layer `number`: its inputs (equation 4) or its outputs (algorithm 1)."""
        if not self.writes:
            return
        config = self.config
        rows = before if config.memory_source == "input" else after
        rows = rows.detach() if config.memory_grad == "stop" else rows
        if self.compression is not None:
            earlier = self._earlier(number)
            normed, projected = self.compression.write(number, block, rows.detach(), None if earlier is None else earlier.rows)
            self.layers.append(LayerMemory(normed, torch.ones_like(normed[..., 0]), projected))
            return
        if config.memory_norm == "write":
            rows = block.attention_norm(rows)
            rows = rows.detach() if config.memory_grad == "stop" else rows
        weights = torch.ones_like(rows[..., 0])
        if config.memory == "consolidated":
            order = draw_order(config.seed, self.state.samples, number, self.state.segment, rows.shape[1])
            order = send_to_device(order, rows.device)
            rows, weights = consolidate(rows, config.memories, config.consolidation, order, config.kmeans_iterations)
        new = LayerMemory(rows, weights)
        if config.cache_projected and not torch.is_grad_enabled():
            new = replace(new, projected=self._project(block, rows))
        self.layers.append(self._append(self._earlier(number), new))

    def _earlier(self, number: int) -> LayerMemory | None:
        return self.state.layers[number] if self.state.layers else None

    def _append(self, old: LayerMemory | None, new: LayerMemory) -> LayerMemory:
        if old is not None:  # m_tau = [m_(tau - 1); consolidated z_(tau - 1)]
            projected = None
            if old.projected is not None and new.projected is not None:
                key, value = (torch.cat(pair, 2) for pair in zip(old.projected, new.projected, strict=True))
                projected = (key, value)
            rows, weights = torch.cat([old.rows, new.rows], 1), torch.cat([old.weights, new.weights], 1)
            new = LayerMemory(rows, weights, projected)
        return new if self.remaining is None else new.select(self.remaining)

    def finish(self) -> StreamState:
        """Compute the state with the memories after this segment."""
        if not self.writes:
            return self.state
        origins = self.origins if self.remaining is None else [self.origins[row] for row in self.remaining]
        return replace(self.state, layers=tuple(self.layers), origins=tuple(origins))


def draw_order(seed: int, samples: tuple[int, ...], layer: int, segment: int, count: int) -> Int[Tensor, "b n"]:
    """Draw a permutation of `count` for each sample; a function of (seed, sample, layer, segment)."""
    rows = [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, sample, layer, segment]))).permutation(count)
        for sample in samples
    ]
    return torch.from_numpy(np.stack(rows))


def evict_uniformly(origins: list[int], cap: int) -> list[int]:
    """Choose the rows to retain, spread evenly over the past; `origins` ascend.

    While there are too many, the segment with the most rows (the oldest if tied) loses its last row; once each has one, the row
    whose neighbours are nearest to each other is evicted (never the newest).

    >>> evict_uniformly([0, 0, 0, 1, 1, 1], 4)
    [0, 1, 3, 4]
    >>> evict_uniformly([0, 1, 2, 3], 3)
    [0, 2, 3]
    """
    groups: dict[int, list[int]] = {}
    for row, origin in enumerate(origins):
        groups.setdefault(origin, []).append(row)
    surplus = len(origins) - cap
    while surplus > 0:
        fullest = max(groups, key=lambda origin: (len(groups[origin]), -origin))
        if len(groups[fullest]) > 1:
            groups[fullest].pop()
        elif len(groups) < 3:
            del groups[min(groups)]
        else:
            order = sorted(groups)
            tight = min(range(1, len(order) - 1), key=lambda i: (order[i + 1] - order[i - 1], i))
            del groups[order[tight]]
        surplus -= 1
    return sorted(row for rows in groups.values() for row in rows)
