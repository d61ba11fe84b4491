"""Settings of video encoders, and named configs. Imports no torch.

Sizes are those of the papers (LongViViT, arXiv 2312.07395, section 4; MC-ViT, arXiv 2402.05861, section 5): tubelets of
2 x 16 x 16, images of 256 x 256, segments of 16 frames. The nano configs are this project's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.fields import check_fields

Memory = Literal["joint", "streaming", "augmented", "consolidated", "compressed"]
Consolidation = Literal["random", "coreset", "kmeans"]
Evict = Literal["fifo", "uniform"]
Attention = Literal["joint", "factorised", "frame"]
Tune = Literal["all", "last-4", "adapters", "lora"]
Pooling = Literal["mean", "attention", "late"]

Kernel = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Frames, rows and columns of a tubelet, and its steps."""


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """A video transformer: LongViViT, MC-ViT and their baselines, as one class."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    size: tuple[int, int] = (256, 256)
    tubelet: tuple[int, int, int] = (2, 16, 16)
    """Frames, rows and columns of a token; (4, 16, 16) and (2, 32, 32) are the coarse ones of LongViViT's study."""
    kernels: tuple[Kernel, ...] = ()
    """Tubelets of several shapes instead, with fixed sine positions, as TubeViT (arXiv 2212.03229); none: `tubelet` alone."""
    stem: Literal["patch", "convolutions"] = "patch"
    """What makes a tubelet a token: a linear layer, or convolutions (arXiv 2106.14881), whose batch norms stay as they are."""
    stem_blocks: int = 0
    """Residual blocks between its halvings, as in `encoders.ViTConfig`."""
    frames: int = 16
    """Frames that the table of positions is for. Longer videos have it stretched in time, shorter ones use its beginning."""
    segment_frames: int = 16
    """Frames of a segment, in every form of memory but joint."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"
    norm_eps: float = 1e-6
    norm_before: bool = False
    """A norm before the first block (CLIP)."""
    qkv_bias: bool = True
    layer_scale: float | None = None
    """First value of the numbers that multiply each part of a block (DINOv2); none by default."""

    memory: Memory = "joint"
    """joint: the video is one segment. streaming: segments know nothing of each other. augmented: a segment looks at all tokens
    of those before. consolidated: at a few of them. compressed: at what a learned convolution makes of the last two."""
    consolidation: Consolidation = "kmeans"
    """How a segment's tokens become memories."""
    memories: int = 128
    """Memories that a segment leaves in each layer."""
    memory_cap: int | None = None
    """Most memories of a layer; None: no limit."""
    evict: Evict = "uniform"
    """Which memories go where the cap is passed. fifo: the oldest. uniform: so that those left are spread over the past."""
    memory_source: Literal["input", "output"] = "input"
    """Which tokens a layer stores: those that enter it (equation 4) or those that leave it (algorithm 1)."""
    memory_norm: Literal["read", "write"] = "read"
    """When the layer's norm is applied to memories."""
    memory_grad: Literal["stop", "through"] = "stop"
    """Whether gradients reach earlier segments by way of memories."""
    cache_projected: bool = False
    """Keep keys and values of memories instead of computing them for each segment, where no gradient is wanted."""
    kmeans_iterations: int = 5
    """Rounds of k-means (section 4 of MC-ViT: 5)."""
    metric: Literal["l2"] = "l2"
    """Of coreset and k-means; a part of the network's identity."""
    seed: int = 0
    """Of all random choices, which are functions of (seed, sample, layer, segment)."""
    checkpoint_segments: bool = False
    """Compute each segment again when its gradient is due, so that training holds the activations of one segment only."""

    mask_ratio: float = 0.0
    """Part of a segment's tokens that is dropped before the first block, in training."""
    mask_always: bool = False
    """Drop them in evaluation too."""
    attention: Attention = "joint"
    """joint: over space and time. factorised: in space, then in time through a gate that starts at 0. frame: in space only."""
    pooling: Pooling = "mean"
    """mean: of all tokens. attention: of the means of time steps. late: two blocks over these means, then their mean."""
    tune: Tune = "all"
    """Which weights learn: all; the last four blocks; new adapters after the MLPs, or low-rank changes of every linear layer,
    both with the tubelets."""
    adapter_width: int = 0
    """Hidden channels of adapters; 0: a quarter of `width`."""
    lora_rank: int = 16

    def __post_init__(self) -> None:
        counts = "width", "depth", "heads", "mlp_width", "frames", "segment_frames", "tubelet", "memory_cap"
        check_fields(self, **dict.fromkeys(counts, "[1, inf)"), memories="[0, inf)", mask_ratio="[0, 1)")
        if self.width % self.heads:
            raise BadInput(f"{self.heads} heads do not divide the width {self.width}; give others")
        frames, rows, columns = self.tubelet
        if self.size[0] % rows or self.size[1] % columns or self.segment_frames % frames:
            raise BadInput(f"tubelets of {self.tubelet} do not divide frames of {self.size} or {self.segment_frames} of them")
        from tapetum.encoders.config import check_stem

        check_stem(self.stem, self.stem_blocks, rows, self.width)
        if self.stem == "convolutions" and (rows != columns or self.kernels):
            raise BadInput(f"a stem of convolutions wants square tubelets of one shape, not {self.tubelet}")
        if self.kernels and (self.attention != "joint" or self.memory == "compressed"):
            raise BadInput("tubelets of several shapes have no grid: attention must be joint, and memory not compressed")
        if self.memory not in ("joint", "streaming") and self.attention != "joint":
            raise BadInput(f"memory {self.memory} wants joint attention, not {self.attention}")
        if self.memory == "compressed" and self.mask_ratio:
            raise BadInput("compressed memory wants whole grids of tokens: mask_ratio must be 0")

    @property
    def grid(self) -> tuple[int, int]:
        """Count rows and columns of tokens of a time step."""
        return self.size[0] // self.tubelet[1], self.size[1] // self.tubelet[2]

    @property
    def slots(self) -> int:
        return -(-self.frames // self.tubelet[0])

    @property
    def segment_slots(self) -> int:
        return self.segment_frames // self.tubelet[0]


_LARGE = VideoConfig(width=1024, depth=24, heads=16, mlp_width=4096)
_NANO = VideoConfig(width=192, depth=6, heads=3, mlp_width=768, size=(96, 96))
_BUNDLED = VideoConfig(  # the vision encoder of paligemma-nano, over time
    width=256, depth=3, heads=4, mlp_width=512, size=(112, 112), stem="convolutions", stem_blocks=2, activation="gelu_tanh"
)

NAMED: Mapping[str, VideoConfig] = {
    "vivit-nano": _NANO,
    "mcvit-nano": replace(_BUNDLED, frames=32, memory="consolidated", memories=32),
    "mcvit-films": replace(_BUNDLED, frames=112, memory="consolidated", memories=32),
    "longvivit-b": VideoConfig(frames=128),
    "longvivit-l": replace(_LARGE, frames=256),
    "longvivit-1b": replace(_LARGE, frames=256),
    "mcvit-b": VideoConfig(frames=128, memory="consolidated"),
    "mcvit-l": replace(_LARGE, frames=128, memory="consolidated"),
}
"""Video encoders by name. longvivit-1b is the encoder of longvivit-l, to which the paper adds a language model."""


def named(name: str, **changes: Any) -> VideoConfig:
    """Make a config by name, with some fields changed. Raises BadInput for an unknown name or field."""
    if name not in NAMED:
        raise BadInput(f"there is no video encoder {name!r}; {did_you_mean(name, NAMED)}")
    known = [field.name for field in fields(VideoConfig)]
    for field in changes:
        if field not in known:
            raise BadInput(f"a video encoder has no setting {field!r}; {did_you_mean(field, known)}")
    return replace(NAMED[name], **changes)
