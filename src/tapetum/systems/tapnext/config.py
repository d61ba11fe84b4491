"""Sizes and options of a TAPNext network (arXiv 2504.05579), as a frozen config that imports no torch."""

from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields

Variant = Literal["torch", "jax"]


@dataclass(frozen=True, kw_only=True)
class TapNextConfig:
    """All sizes and options of a TAPNext network; the defaults are those of TAPNext-B and TAPNext++."""

    image_size: tuple[int, int] = (256, 256)
    """Height and width in pixels in which queries and positions are written; videos may have any size."""
    video_size: tuple[int, int] = (256, 256)
    """Height and width to which a tracker resizes frames; 512 x 512 for one that was trained so."""
    patch_size: tuple[int, int] = (8, 8)
    width: int = 768
    depth: int = 12
    """Blocks, each a recurrence over time and a transformer block over the tokens of a frame."""
    heads: int = 12
    mlp_width: int = 3072
    """Hidden channels of the MLPs after attention."""
    lru_width: int = 768
    gate_blocks: int = 12
    """Diagonal blocks of the gates of the recurrence."""
    gated_mlp_width: int = 3072
    """Hidden channels of the gated MLPs after the recurrence."""
    taps: int = 4
    """Frames that the temporal convolution before the recurrence covers."""
    head_width: int = 256
    bins: int = 256
    """Bins of a coordinate, each one pixel of `image_size` wide."""
    soft_argmax_radius: int = 20
    """Bins on each side of the most likely one that are averaged to a position."""
    variant: Variant = "torch"
    """Details in which the public implementations differ: torch (TAPNext++) has the exact GELU after attention and in the
    heads, eps 1e-5 in the last norms, and fades the embedding of a query in the outer half pixel of the image; jax (TAPNext,
    BootsTAPNext) has the tanh GELU, eps 1e-6, and repeats the edge."""

    def __post_init__(self) -> None:
        sizes = (
            "image_size video_size patch_size width depth heads mlp_width lru_width gate_blocks gated_mlp_width head_width bins"
        )
        check_fields(self, **dict.fromkeys(sizes.split(), "[1, inf)"), taps="[2, inf)", soft_argmax_radius="[0, inf)")
        for name in ("image_size", "video_size"):
            if any(side % patch for side, patch in zip(getattr(self, name), self.patch_size, strict=True)):
                raise BadInput(f"{name} is {getattr(self, name)}; it must be a multiple of patch_size, {self.patch_size}")
        if self.width % 4 or self.width < 8:
            raise BadInput(f"width is {self.width}; it must be a multiple of 4, 8 or more, for the embedding of positions")
        if self.width % self.heads:
            raise BadInput(f"width is {self.width}; it must be a multiple of heads, {self.heads}")
        if self.lru_width % self.gate_blocks:
            raise BadInput(f"lru_width is {self.lru_width}; it must be a multiple of gate_blocks, {self.gate_blocks}")

    @property
    def grid(self) -> tuple[int, int]:
        """Count the patches of an image of `image_size`, down and across."""
        (h, w), (patch_h, patch_w) = self.image_size, self.patch_size
        return h // patch_h, w // patch_w

    @property
    def causal(self) -> bool:
        """Check whether frames can arrive one by one: always."""
        return True


ARCHITECTURES = {
    "tapnext": TapNextConfig(variant="jax"),
    "tapnextpp-256": TapNextConfig(),
    "tapnextpp-512": TapNextConfig(video_size=(512, 512)),
}
