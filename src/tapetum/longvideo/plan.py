"""What a video costs before it is looked at: tokens, memories, bytes, multiply-adds. Imports no torch.

With s segments of N tokens, K memories a segment, width d, L layers and MLPs of m times the width, one video takes
(MC-ViT, arXiv 2402.05861, section 3; multiply-adds of matrix products alone):

    joint          L ( (4 + 2 m) s N d^2 + 2 (s N)^2 d )
    streaming      L ( (4 + 2 m) s N d^2 + 2 s N^2 d )
    augmented      streaming + L ( 2 N d R + 2 d^2 R ),   R = rows looked at, over all segments
    consolidated   the same with its own R, + L times the consolidation of each segment:
                   k-means 2 rounds N K d (distances, and means by products), coreset K N d, random 0

R is N s (s - 1) / 2 or K s (s - 1) / 2 without a cap; keys and values of rows are counted anew for every segment, unless they
are kept (`cache_projected`). The last segment may be shorter.
"""

from dataclasses import dataclass

from tapetum.longvideo.config import VideoConfig


@dataclass(frozen=True)
class Plan:
    """The cost of one video."""

    frames: int
    segments: int
    tokens: int
    """Of the whole video, in evaluation."""
    memories: int
    """Rows that each layer holds at the end."""
    memory_bytes: int
    """Of all layers at the end, in float32."""
    multiply_adds: int
    """Of the blocks and tubelets."""

    @property
    def flops(self) -> int:
        """Two for a multiply-add."""
        return 2 * self.multiply_adds


def plan(config: VideoConfig, frames: int) -> Plan:
    """Count what one video of `frames` frames costs; tubelets of one shape only."""
    cells = config.grid[0] * config.grid[1]
    size = frames if config.memory == "joint" else config.segment_frames
    lengths = [-(-min(size, frames - first) // config.tubelet[0]) * cells for first in range(0, frames, size)]
    width, ratio = config.width, config.mlp_width / config.width
    total = held = 0
    for tokens in lengths:
        total += _layer(config, tokens, held, ratio)
        added = {"augmented": tokens, "consolidated": min(config.memories, tokens)}.get(config.memory, 0)
        if config.memory == "consolidated":
            total += _consolidation(config, tokens)
        if config.cache_projected:
            total += 2 * added * width**2
        held += added
        if config.memory_cap is not None:
            held = min(held, config.memory_cap)
    patches = sum(lengths) * width * 3 * config.tubelet[0] * config.tubelet[1] * config.tubelet[2]
    kept = 2 if config.cache_projected else 0
    return Plan(
        frames,
        len(lengths),
        sum(lengths),
        held,
        4 * config.depth * held * ((1 + kept) * width + 1),
        config.depth * int(total) + patches,
    )


def _layer(config: VideoConfig, tokens: int, held: int, ratio: float) -> float:
    """Count one layer's multiply-adds for a segment that also looks at `held` memories."""
    width = config.width
    own = (4 + 2 * ratio) * tokens * width**2
    if config.attention == "joint":
        own += 2 * tokens**2 * width
    else:
        cells = config.grid[0] * config.grid[1]
        own += 2 * tokens * cells * width
        if config.attention == "factorised":
            own += 4 * tokens * width**2 + 2 * tokens * (tokens // cells) * width
    projected = 0 if config.cache_projected else 2 * held * width**2
    return own + 2 * tokens * held * width + projected


def _consolidation(config: VideoConfig, tokens: int) -> int:
    count = config.memories
    if count >= tokens or config.consolidation == "random":
        return 0
    if config.consolidation == "coreset":
        return (count - 1) * tokens * config.width
    return 2 * config.kmeans_iterations * tokens * count * config.width
