"""Sizes of a TAPIR network (arXiv 2306.08637; BootsTAP, arXiv 2402.00847), as a frozen config that imports no torch."""

from dataclasses import dataclass, replace

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields


@dataclass(frozen=True, kw_only=True)
class TapirConfig:
    """All sizes and options of a TAPIR network; the defaults are the published TAPIR."""

    causal: bool = False
    """Temporal convolutions look only at the past, so that frames can arrive one by one."""
    pyramid_level: int = 0
    """Average-pooled feature maps added below the stride-8 one for the local correlations."""
    extra_convs: int = 0
    """Residual convolution blocks on the stride-8 features (5 in BootsTAPIR)."""
    softmax_temperature: float = 20.0
    """Factor on the matching logits before the softmax of stage 1."""
    initial_resolution: tuple[int, int] = (256, 256)
    """Height and width in pixels at which stage 1 matches; multiples of 8."""
    antialias: bool = False
    """Filter a video when it is shrunk to a working resolution; the published PyTorch models do not."""
    iterations: int = 4
    average_positions: bool = True
    """Answer with the mean of the positions found at all resolutions, as published; else with those of the finest one."""
    refine_at_least: tuple[int, int] | None = None
    """Height and width up to which tracks are refined even if the video is smaller; None stays within the video's size."""
    refine_at_most: tuple[int, int] | None = None
    """Height and width at which refinement of tracks ends however large the video is; None goes up to the video's size."""
    second_pass: bool = False
    """Trackers of this network seek each point once more, with what it looks like wherever it was seen
    (`tapetum.systems.tap.second_pass`), unless told otherwise; not for causal ones."""
    polish: bool = False
    """Trackers of this network align each point's first look with every frame (`tracking.polish`), unless told otherwise."""
    stem_channels: int = 64
    """Output channels of the 7x7 stride-2 stem."""
    channels: tuple[int, int, int, int] = (64, 128, 256, 256)
    """Output channels of the four block groups; group 1 gives the hires features, group 3 the lowres ones."""
    strides: tuple[int, int, int, int] = (1, 2, 2, 1)
    """Strides of the four block groups; with the stem's 2 they must give stride 4 at group 1 and 8 at group 3."""
    blocks_per_group: tuple[int, int, int, int] = (2, 2, 2, 2)
    extra_expansion: int = 4
    """Widening inside an extra convolution block."""
    matching_channels: tuple[int, int, int] = (16, 32, 16)
    """Channels of the matching heads: shared trunk, strided convolution, hidden layer of the occlusion head."""
    mixer_width: int = 512
    mixer_blocks: int = 12
    mixer_expansion: int = 4
    """Widening inside a mixer block, of the depthwise branch and of the MLP."""

    def __post_init__(self) -> None:
        check_fields(self, pyramid_level="[0, inf)", extra_convs="[0, inf)", iterations="[1, inf)", blocks_per_group="[1, inf)")
        h, w = self.initial_resolution
        if h <= 0 or w <= 0 or h % 8 or w % 8:
            raise BadInput(f"initial_resolution is {h}x{w}; it must be positive multiples of 8, such as 256x256")
        s0, s1, s2, s3 = self.strides
        if 2 * s0 * s1 != 4 or 2 * s0 * s1 * s2 * s3 != 8:
            raise BadInput(f"strides are {self.strides}; with the stem's 2 they must reach 4 at group 1 and 8 at group 3")
        if self.causal and self.second_pass:
            raise BadInput("second_pass needs the future, and a causal network has none; leave one of them out")

    @property
    def hires_dim(self) -> int:
        """Count the channels of the stride-4 features."""
        return self.channels[1]

    @property
    def lowres_dim(self) -> int:
        """Count the channels of the stride-8 features."""
        return self.channels[3]


OFFICIAL = {
    "tapir": TapirConfig(),
    "causal-tapir": TapirConfig(causal=True, pyramid_level=1),
    "bootstapir": TapirConfig(pyramid_level=1, extra_convs=5),
    "causal-bootstapir": TapirConfig(causal=True, pyramid_level=1, extra_convs=5),
}

NANO = TapirConfig(
    pyramid_level=1,
    antialias=True,
    iterations=2,
    average_positions=False,
    refine_at_least=(384, 384),
    second_pass=True,
    polish=True,
    stem_channels=24,
    channels=(48, 64, 96, 96),
    strides=(2, 1, 2, 1),
    blocks_per_group=(1, 1, 2, 1),
    matching_channels=(8, 16, 16),
    mixer_width=128,
    mixer_blocks=6,
)
"""`tapir-nano`, which comes with the package: 1.5 M parameters, about 1.7 GFLOP for a frame of 256x256 pixels and 2 MFLOP a
point, frame and iteration. A small video is enlarged to 384 pixels for a second refinement, since the finest features have only
a quarter of the resolution; aligning images then makes positions exact."""
CAUSAL_NANO = replace(NANO, causal=True, refine_at_most=(384, 384), second_pass=False)
"""`causal-tapir-nano`: the same for frames that arrive one by one, refined at 256 and 384 pixels however large they are. It
learned with four iterations; with two it is a quarter faster and as good to 0.002 (docs/evidence/tap-speed.md)."""

ARCHITECTURES: dict[str, TapirConfig] = {**OFFICIAL, "tapir-nano": NANO, "causal-tapir-nano": CAUSAL_NANO}
