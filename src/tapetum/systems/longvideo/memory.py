"""What a stream of segments leaves behind: memories by layer, which of them go when there are too many, and random choices.

The rows of all layers come from the same segments, so one list of `origins` says for all which segment a row is from. A state
is never changed: `step` of an encoder gives a new one, and an old one can be gone on from again.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Projected = tuple[Tensor, Tensor]
"""Keys and values, each (b, heads, m, head width)."""


@dataclass(frozen=True)
class LayerMemory:
    """What one layer remembers."""

    rows: Float[Tensor, "b m d"]
    """Memories, the oldest first; not normalised, or normalised where the config says so."""
    weights: Float[Tensor, "b m"]
    """For how many tokens each stands."""
    projected: Projected | None = None
    """Keys and values of the rows, where they are kept."""

    def keep(self, kept: list[int]) -> "LayerMemory":
        """Keep some rows, by number."""
        at = torch.tensor(kept, device=self.rows.device)
        projected = None if self.projected is None else (self.projected[0][:, :, at], self.projected[1][:, :, at])
        return LayerMemory(self.rows[:, at], self.weights[:, at], projected)

    def with_projected(self, projected: Projected | None) -> "LayerMemory":
        """Keep keys and values, too."""
        return replace(self, projected=projected)


@dataclass(frozen=True)
class StreamState:
    """Where a stream is: given by `VideoEncoder.start`, and anew by each step."""

    samples: tuple[int, ...]
    """Numbers of the samples of the batch, of which random choices are functions."""
    frames: int | None
    """Frames of the whole video, where they are known."""
    segment: int = 0
    """Segments seen."""
    slots: int = 0
    """Moments seen."""
    layers: tuple[LayerMemory, ...] = ()
    """What each layer remembers; empty before the first segment."""
    origins: tuple[int, ...] = ()
    """Segment of every row."""
    total: Tensor | None = None
    """float (b, d): sum of all tokens seen."""
    count: Tensor | None = None
    """float (b,): their number."""
    moments: tuple[Tensor, ...] = ()
    """(b, slots, d) a segment: means of moments, where the pooling wants them."""

    @property
    def memories(self) -> int:
        """Rows that each layer holds."""
        return len(self.origins)

    @property
    def bytes(self) -> int:
        """Bytes of all memories."""
        held = 0
        for layer in self.layers:
            parts = [layer.rows, layer.weights, *(layer.projected or ())]
            held += sum(part.numel() * part.element_size() for part in parts)
        return held


def draw_order(seed: int, samples: tuple[int, ...], layer: int, segment: int, count: int) -> Int[Tensor, "b n"]:
    """Draw a permutation of `count` for each sample; a function of (seed, sample, layer, segment)."""
    rows = [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, sample, layer, segment]))).permutation(count)
        for sample in samples
    ]
    return torch.from_numpy(np.stack(rows))


def spread_rows(origins: list[int], cap: int) -> list[int]:
    """Choose rows to keep so that they are spread over the past; `origins` ascend.

    While there are too many, the segment with most rows loses its last (of equal ones the oldest segment); once each has one,
    the one goes whose neighbours are nearest to each other (never the newest).

    >>> spread_rows([0, 0, 0, 1, 1, 1], 4)
    [0, 1, 3, 4]
    >>> spread_rows([0, 1, 2, 3], 3)
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
