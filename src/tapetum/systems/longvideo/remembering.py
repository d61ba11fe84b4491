"""How a segment leaves memories behind, and how a later one finds them; see `tapetum.systems.longvideo.encoder`.

`Remembering.segment(state)` gives a `Keeper` for one segment: each block asks it for what to look at (`recall`), then gives it
the tokens (`store`); `finish` gives the state after the segment.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.layers.transformer import Block
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.consolidation import consolidate
from tapetum.systems.longvideo.layers import Places
from tapetum.systems.longvideo.memory import LayerMemory, Projected, StreamState, draw_order, spread_rows
from tapetum.systems.longvideo.memvit import Compression

_AGAIN = 1 << 21  # added to the "layer" of random choices for memories made of memories


class Remembering(nn.Module):
    """The memory of a video encoder. Only the compressed form has weights."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config
        self.compression = Compression(config) if config.memory == "compressed" else None

    def segment(self, state: StreamState, tokens: int, last: bool) -> "Keeper":
        """Begin a segment of so many tokens; the last one's need not be remembered."""
        return Keeper(self, state, tokens, last)


class Keeper:
    """What is remembered in and after one segment."""

    def __init__(self, remembering: Remembering, state: StreamState, tokens: int, last: bool):
        self.config, self.compression = remembering.config, remembering.compression
        self.state = state
        self.recalls = self.config.memory in ("augmented", "consolidated", "compressed")
        self.keeps = self.recalls and not last
        self.layers: list[LayerMemory] = []
        added = min(self.config.memories, tokens) if self.config.memory == "consolidated" else tokens
        if self.config.memory == "compressed":
            added = 0
        self.origins = [*state.origins, *[state.segment] * added] if self.keeps else []
        self.kept = self._kept()

    def _kept(self) -> list[int] | None:
        """Rows that stay after this segment; None: all, or there will be new ones."""
        cap = self.config.memory_cap
        if cap is None or len(self.origins) <= cap or self.config.evict == "reconsolidate":
            return None
        if self.config.evict == "fifo":
            return list(range(len(self.origins) - cap, len(self.origins)))
        return spread_rows(self.origins, cap)

    def recall(self, number: int, block: Block) -> Projected | None:
        """Give keys and values of what layer `number` remembers; None where that is nothing."""
        if not self.recalls or not self.state.layers:
            return None
        memory = self.state.layers[number]
        if self.compression is not None:
            return self.compression.recall(number, block, memory)
        if memory.projected is not None:
            return memory.projected
        return self._project(block, memory.rows)

    def _project(self, block: Block, rows: Tensor) -> Projected:
        normed = block.attention_norm(rows) if self.config.memory_norm == "read" else rows
        return block.attention.project(normed)  # pyright: ignore[reportCallIssue, reportReturnType, reportAttributeAccessIssue]

    def store(self, number: int, block: Any, before: Tensor, after: Tensor, where: Places) -> None:
        """Remember tokens of layer `number`: those that entered it, or those that left it."""
        if not self.keeps:
            return
        config = self.config
        rows = before if config.memory_source == "input" else after
        rows = rows.detach() if config.memory_grad == "stop" else rows
        if self.compression is not None:
            self.layers.append(self.compression.store(number, block, rows.detach(), self._earlier(number)))
            return
        if config.memory_norm == "write":
            rows = block.attention_norm(rows)
            rows = rows.detach() if config.memory_grad == "stop" else rows
        weights = torch.ones_like(rows[..., 0])
        if config.memory == "consolidated":
            rows, weights = self._consolidated(rows, config.memories, number, weights)
        new = LayerMemory(rows, weights)
        if config.cache_projected and not torch.is_grad_enabled():
            new = new.with_projected(self._project(block, rows))
        self.layers.append(self._joined(number, block, self._earlier(number), new))

    def _earlier(self, number: int) -> LayerMemory | None:
        return self.state.layers[number] if self.state.layers else None

    def _consolidated(self, rows: Tensor, count: int, number: int, weights: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        order = draw_order(config.seed, self.state.samples, number, self.state.segment, rows.shape[1]).to(rows.device)
        how = config.consolidation
        return consolidate(rows, count, how, order, config.kmeans_iterations, config.metric, weights)

    def _joined(self, number: int, block: Block, old: LayerMemory | None, new: LayerMemory) -> LayerMemory:
        """Put new memories behind the old ones, and let go what is too much."""
        if old is not None:
            projected = None
            if old.projected is not None and new.projected is not None:
                key, value = (torch.cat(pair, 2) for pair in zip(old.projected, new.projected, strict=True))
                projected = (key, value)
            rows, weights = torch.cat([old.rows, new.rows], 1), torch.cat([old.weights, new.weights], 1)
            new = LayerMemory(rows, weights, projected)
        cap = self.config.memory_cap
        if self.kept is not None:
            return new.keep(self.kept)
        if cap is None or len(self.origins) <= cap:
            return new
        rows, weights = self._consolidated(new.rows, cap, number + _AGAIN, new.weights)  # of memories, old and new
        projected = None if new.projected is None else self._project(block, rows)
        return LayerMemory(rows, weights, projected)

    def finish(self) -> StreamState:
        """Give the state with what is remembered now."""
        if not self.keeps:
            return self.state
        origins = self.origins if self.kept is None else [self.origins[row] for row in self.kept]
        cap = self.config.memory_cap
        if self.kept is None and cap is not None and len(origins) > cap:
            origins = [self.state.segment] * cap
        return replace(self.state, layers=tuple(self.layers), origins=tuple(origins))
