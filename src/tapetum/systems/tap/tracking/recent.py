"""Patches of recent frames, which follow live points where the patch of the query no longer fits.

Not part of TAPIR. A patch is cut around each visible point (`tapetum.tracks.patches`) and aligned with every later frame,
beginning at the place before, moved and unmoved, on a coarse image and then on a fine one:

    frame     0 ------- 1 ------- 2 ------- 3 ------- 4 -------
    network   place     place     place     place     place
    patch     cut ----> found --> found --> found --> found, cut again

It stays for `AGE` frames, so that errors add up slowly, or until it is not found where the network sees the point. What is
found but differs is aligned with the frame before; where that leads elsewhere, it is not found. For each point and frame
`prefer_recent` chooses between this place and that of the network and of the query's patch (`polish`).
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tapetum.layers.sampling import scale_xy
from tapetum.systems.tap.types import Size
from tapetum.tracks.patches import Patches, PointRows, map_tensors, patch_covariance, reduced

AGE = 4
"""Frames after which the patch of a visible point is cut again."""
COARSE = 4
"""Pixels of the fine image to one of the coarse one."""
REACH = 4.0
"""Pixels of each image by which alignment may move a place."""
MATCHED = 0.7
"""Correlation above which a patch is found."""
SURELY = 0.95
"""Correlation from which on a place is not checked backwards."""
BACK = 2.0
"""Pixels of the fine image by which a place may be missed on the way back to the frame before."""
AGREED = 2.0
"""Pixels of the fine image within which the network and a patch agree."""
EXACT, NEAR = 0.9, 8.0
"""Correlation above which a patch is more exact than a network that sees the point within so many pixels of the fine image."""


@dataclass(frozen=True)
class RecentPatches(PointRows):
    """The patches of n points; never changed in place. Places are raster pixels of `patches.grey` images."""

    fine: Patches
    coarse: Patches
    xy: Float[Tensor, "n 2"]
    """Of the patch in the last frame."""
    affine: Float[Tensor, "n 2 2"]
    motion: Float[Tensor, "n 2"]
    """Since the frame before, if the patch was found in both."""
    confidence: Float[Tensor, " n"]
    """Of the point in the frame that its patch was cut from; above 0.5 it was visible."""
    covariance: Float[Tensor, "n 2 2"]
    """Of the error of its place there, in square pixels of the frame."""
    score: Float[Tensor, " n"]
    """Correlation in the last frame."""
    matched: Bool[Tensor, " n"]
    age: Int64[Tensor, " n"]
    """Frames since the patch was cut."""

    @classmethod
    def cut(
        cls,
        image: Float[Tensor, "y x"],
        xy: Float[Tensor, "n 2"],
        confidence: Float[Tensor, " n"],
        covariance: Float[Tensor, "n 2 2"],
        motion: Float[Tensor, "n 2"],
    ) -> "RecentPatches":
        """Cut patches around places of an image; `motion` says where they are looked for in the next."""
        upright, none = torch.eye(2, device=xy.device).repeat(len(xy), 1, 1), torch.zeros_like(confidence)
        fine, coarse = Patches.cut(image, xy), Patches.cut(_coarse(image), xy / COARSE)
        return cls(fine, coarse, xy, upright, motion, confidence, covariance, none, confidence > 0.5, none.long())

    def __len__(self) -> int:
        return len(self.xy)

    def follow(self, image: Float[Tensor, "y x"], before: Float[Tensor, "y x"]) -> "RecentPatches":
        """Advance from the frame `before` to the next one."""
        guesses = torch.stack([self.xy + self.motion, self.xy], 1)
        rough, _, coarse = self.coarse.align(_coarse(image), guesses / COARSE, self.affine, (REACH, REACH))
        start = torch.where((coarse > MATCHED)[:, None], rough * COARSE, guesses[:, 0])
        xy, affine, score = self.fine.align(image, torch.stack([start, guesses[:, 0]], 1), self.affine, (REACH, REACH))
        matched = (self.confidence > 0.5) & (score > MATCHED)
        doubted = torch.nonzero(matched & (score < SURELY))[:, 0]
        if len(doubted):
            shown = self.fine.select(doubted).shown(image, xy[doubted], affine[doubted])
            back = shown.align(before, self.xy[doubted, None], self.affine[doubted], (BACK,))[2]
            matched = matched.index_copy(0, doubted, back > -1)
        here = matched[:, None]
        xy = torch.where(here, xy, torch.where(self.matched[:, None], self.xy + self.motion, self.xy))
        motion = torch.where(here & self.matched[:, None], xy - self.xy, 0.0)
        affine = torch.where(here[..., None], affine, self.affine)
        return replace(self, xy=xy, affine=affine, motion=motion, score=score, matched=matched, age=self.age + 1)

    def renewed(
        self,
        image: Float[Tensor, "y x"],
        xy: Float[Tensor, "n 2"],
        confidence: Float[Tensor, " n"],
        covariance: Float[Tensor, "n 2 2"],
    ) -> "RecentPatches":
        """Cut the patches of visible points again that are old or were not found."""
        rows = torch.nonzero((confidence > 0.5) & (~self.matched | (self.age >= AGE)))[:, 0]
        motion = torch.where(self.matched[:, None], self.motion, 0.0)
        new = RecentPatches.cut(image, xy[rows], confidence[rows], covariance[rows], motion[rows])
        return map_tensors(lambda all_, these: all_.index_copy(0, rows, these), self, new)


def prefer_recent(
    xy: Float[Tensor, "n 2"],
    confidence: Float[Tensor, " n"],
    covariance: Float[Tensor, "n 2 2"],
    aligned: Bool[Tensor, " n"],
    recent: RecentPatches,
    size: Size,
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"], Float[Tensor, "n 2 2"]]:
    """Choose between the places, confidences and covariances of a network and the query's patches, which are `aligned` or not,
    and those of recent patches, in a frame of (height, width) `size`.

    Where both agree, a point is as sure as the surer. A recent patch's place is taken where the query's patch is not aligned
    and the network does not see the point, or sees it near by, and the patch fits well.
    """
    small = reduced(*size)
    apart = (scale_xy(xy, size, small) - recent.xy).norm(dim=1)
    sure = torch.minimum(recent.confidence, recent.score.clamp(0, 1)).to(confidence)
    confidence = torch.where(recent.matched & (apart < AGREED), torch.maximum(confidence, sure), confidence)
    hidden, exact = confidence <= 0.5, (recent.score > EXACT) & (apart < NEAR)
    chosen = recent.matched & ~aligned & (hidden | exact)
    xy = torch.where(chosen[:, None], scale_xy(recent.xy, small, size), xy)
    spread = recent.covariance + patch_covariance(recent.fine, recent.affine, recent.score, size)
    covariance = torch.where(chosen[:, None, None], spread, covariance)
    return xy, torch.where(chosen, torch.maximum(confidence, sure), confidence), covariance


def _coarse(image: Float[Tensor, "y x"]) -> Float[Tensor, "y2 x2"]:
    return F.avg_pool2d(image[None, None], COARSE, ceil_mode=True)[0, 0]
