"""Cost model of a video encoder: tokens, memories, bytes and multiply-adds of a video.

With s segments of N tokens, K memories per segment, width d, L layers and MLPs of m times the width, one video takes (MC-ViT,
arXiv 2402.05861, section 3; only multiply-adds of matrix products):

    joint          L ( (4 + 2 m) s N d^2 + 2 (s N)^2 d )
    streaming      L ( (4 + 2 m) s N d^2 + 2 s N^2 d )
    augmented      streaming + L ( 2 N d R + 2 d^2 R ),   R = rows looked at, over all segments
    consolidated   the same with its own R, + L times the consolidation of each segment:
                   k-means 2 rounds N K d (distances, and means by products), coreset K N d, random 0

R is N s (s - 1) / 2 or K s (s - 1) / 2 without a cap; keys and values of rows are recomputed for every segment, unless they are
cached (`cache_projected`). The last segment may be shorter. N excludes dropped tokens; patches are computed for all.

Training adds the same cost for gradients of weights and again for those of activations, except for frozen weights and before
the first trained one. The softmax of fused attention is recomputed in the backward pass.
"""

from dataclasses import dataclass

from tapetum.account.flops import attention, matmul
from tapetum.core.errors import BadInput
from tapetum.systems.longvideo.config import VideoConfig


@dataclass(frozen=True)
class VideoCost:
    """The cost of one video."""

    frames: int
    segments: int
    tokens: int
    """Of the whole video, those that are dropped left out."""
    memories: int
    """Rows that each layer holds at the end."""
    memory_bytes: int
    """Of all layers at the end, in float32."""
    linear: int
    """Multiply-adds of the blocks' linear layers."""
    attention: int
    """Those of attention (queries with keys and values), and of consolidation."""
    patches: int
    """Those of the tubelets."""

    @property
    def multiply_adds(self) -> int:
        """Count all multiply-adds."""
        return self.linear + self.attention + self.patches

    @property
    def flops(self) -> int:
        """Count the FLOPs, two per multiply-add."""
        return 2 * self.multiply_adds


def compute_cost(config: VideoConfig, frames: int, training: bool = False) -> VideoCost:
    """Count the cost of encoding one video of `frames` frames once, in evaluation, or as in training.

    Raises BadInput for no frames, and for tubelets of several shapes.
    """
    if frames < 1 or config.kernels:
        raise BadInput(f"a plan is of 1 frame or more, not {frames}, and of tubelets of one shape")
    cells = config.grid[0] * config.grid[1]
    size = frames if config.memory == "joint" else config.segment_frames
    lengths = [-(-min(size, frames - first) // config.tubelet[0]) * cells for first in range(0, frames, size)]
    whole, drops = sum(lengths), config.mask_ratio and (training or config.mask_always)
    if drops:
        lengths = [max(int((1 - config.mask_ratio) * tokens + 1e-6), 1) for tokens in lengths]
    width = config.width
    linear = attending = stored = 0
    for tokens in lengths:
        own, attended = _layer(config, tokens, stored)
        linear, attending = linear + own, attending + attended
        added = {"augmented": tokens, "consolidated": min(config.memories, tokens)}.get(config.memory, 0)
        if config.memory == "consolidated":
            attending += _consolidation(config, tokens)
        if config.cache_projected:
            linear += 2 * matmul(added, width, width)
        stored += added
        if config.memory_cap is not None:
            stored = min(stored, config.memory_cap)
    patches = whole * _tubelet(config)
    kept = 2 if config.cache_projected else 0
    return VideoCost(
        frames,
        len(lengths),
        sum(lengths),
        stored,
        4 * config.depth * stored * ((1 + kept) * width + 1),
        config.depth * linear,
        config.depth * attending,
        patches,
    )


def _tubelet(config: VideoConfig) -> int:
    """Count the multiply-adds that turn a tubelet into a token."""
    frames, rows, columns = config.tubelet
    if config.stem == "patch":
        return matmul(1, frames * rows * columns * 3, config.width)
    halvings, before, count = rows.bit_length() - 1, 3, 0
    for level in range(halvings):
        channels, cells = config.width >> (halvings - 1 - level), (rows >> (level + 1)) ** 2
        count += matmul(cells, 9 * before, channels)
        if 0 < level < halvings - 1:
            count += config.stem_blocks * 2 * matmul(cells, 9 * channels, channels)
        before = channels
    return frames * (count + config.width**2)


def _layer(config: VideoConfig, tokens: int, stored: int) -> tuple[int, int]:
    """Count one layer's multiply-adds for a segment that also looks at `stored` memories: linear ones, and those of looking."""
    width = config.width
    linear, keys = 2 * matmul(tokens, width, 2 * width + config.mlp_width), tokens + stored
    if config.attention != "joint":
        cells = config.grid[0] * config.grid[1]
        keys = cells + stored
        if config.attention == "factorised":
            linear += 4 * matmul(tokens, width, width)
            keys += tokens // cells
    if not config.cache_projected:
        linear += 2 * matmul(stored, width, width)
    return linear, attention(tokens, keys, width)


def _consolidation(config: VideoConfig, tokens: int) -> int:
    count = config.memories
    if count >= tokens or config.consolidation == "random":
        return 0
    if config.consolidation == "coreset":
        return matmul(count - 1, config.width, tokens)
    return config.kmeans_iterations * attention(tokens, count, config.width)  # distances, and means by products
