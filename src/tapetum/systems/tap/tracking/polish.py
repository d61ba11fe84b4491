"""Sub-pixel polishing of tracks, by aligning the patch around each query with every other frame.

Not part of TAPIR. From frame to frame, away from the query, a patch of grey around the query (`tapetum.tracks.patches`) is
warped onto the frame from three positions: the network's, and the previous one plus the network's or the last motion. The best
correlation wins; if none is high, the point stays at the network's estimate. The patch is always the query's, so errors do not
accumulate.

    query frame            frame t-1                      frame t
    [patch] - - - - - - -> [warp, place] + motions  ->  3 places -> aligned -> correlates? patch's place : network's place
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from tapetum.core.stages import stage
from tapetum.layers.sampling import scale_xy
from tapetum.tracks.patches import REACH, Patches, PointRows, grey, grey_images, reduced

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.cues import TrackCues
    from tapetum.systems.tap.tracking.recent import RecentPatches

ACCEPTED = 0.9
"""Minimum correlation for the aligned position to be used."""
SURELY_SEEN = 0.95
"""Minimum correlation for a point to count as visible."""
RECENT_REACH = 2.0
"""Pixels that alignment may move a place by that a recent patch was followed to."""
AT_A_TIME = 256
IMAGES = 64
"""Grey images held at a time, since a video is read onwards only, and backwards in stretches."""
READ = 4


@dataclass(frozen=True)
class Anchors(PointRows):
    """The patches of n points, and how far they have been followed; never changed in place.

    Places are raster pixels of `grey` images.
    """

    patches: Patches
    xy: Float[Tensor, "n 2"]
    """Position where each point was last found."""
    affine: Float[Tensor, "n 2 2"]
    motion: Float[Tensor, "n 2"]
    """Since the frame before, if it was found in both."""
    aligned: Bool[Tensor, " n"]
    rough: Float[Tensor, "n 2"]
    """The network's position in the last frame; NaN before the first."""

    @classmethod
    def at(cls, image: Float[Tensor, "y x"], places: Float[Tensor, "n 2"]) -> "Anchors":
        """Start points at positions (x, y) of an image, which is also the first to pass to `follow`."""
        return cls(
            Patches.cut(image, places),
            places,
            torch.eye(2, device=places.device).repeat(len(places), 1, 1),
            torch.zeros_like(places),
            torch.ones(len(places), dtype=torch.bool, device=places.device),
            torch.full_like(places, torch.nan),
        )

    def __len__(self) -> int:
        return len(self.xy)

    def follow(
        self, image: Float[Tensor, "y x"], rough: Float[Tensor, "n 2"], recent: "RecentPatches | None" = None
    ) -> tuple["Anchors", Float[Tensor, "n 2"], Float[Tensor, " n"]]:
        """Advance by one frame, given the network's positions in it, and recent patches, whose places are tried as well: the
        updated points, their positions, and each patch's correlation (-1: not found)."""
        if len(self) > AT_A_TIME:
            parts = [slice(k, k + AT_A_TIME) for k in range(0, len(self), AT_A_TIME)]
            near = [None if recent is None else recent.select(part) for part in parts]
            done = [self.select(part).follow(image, rough[part], some) for part, some in zip(parts, near, strict=True)]
            anchors, places, scores = zip(*done, strict=True)
            return anchors[0].beside(*anchors[1:]), torch.cat(places), torch.cat(scores)
        first = self.rough.isnan().any(-1)
        was_aligned, moved = self.aligned[:, None], torch.where(first[:, None], 0.0, rough - self.rough)
        begun = [rough, *(torch.where(was_aligned, self.xy + motion, rough) for motion in (moved, self.motion))]
        if recent is not None:
            begun.append(torch.where(recent.matched[:, None], recent.xy, rough))
        reach = (*REACH, RECENT_REACH)[: len(begun)]
        xy, affine, score = self.patches.align(image, torch.stack(begun, 1), self.affine, reach)
        score = torch.where(first & ~self.patches.plain, 1.0, score)
        xy, affine = torch.where(first[:, None], self.xy, xy), torch.where(first[:, None, None], self.affine, affine)
        aligned = score > ACCEPTED
        kept = aligned[:, None]
        motion = torch.where(kept & was_aligned & ~first[:, None], xy - self.xy, 0.0)
        last, affine = torch.where(kept, xy, self.xy), torch.where(kept[..., None], affine, self.affine)
        after = replace(self, xy=last, affine=affine, motion=motion, aligned=aligned, rough=rough)
        return after, torch.where(kept, xy, rough), score


@stage("polish")
def polished(
    frames_of: Callable[[int, int], UInt8[np.ndarray, "t h w 3"]],
    queries: Float[Tensor, "n 3"],
    xy: Float[Tensor, "n t 2"],
    confidence: Float[Tensor, "n t"],
    device: torch.device | str = "cpu",
    cues: "TrackCues | None" = None,
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Align a network's tracks with the images: positions in raster pixels, and confidences, raised to the correlation where it
    is high.

    Points queried between two frames stay unchanged. `frames_of` reads frames begin..end-1, each twice in total; `queries` are
    (t, x, y) in raster pixels; how the patches fitted is noted in `cues`.
    """
    frames = xy.shape[1]
    xy, confidence = xy.clone(), confidence.clone()
    at = torch.where(queries[:, 0] == queries[:, 0].round(), queries[:, 0], -1).long()
    born: dict[int, Anchors] = {}
    for onward in (True, False):
        rows, active = torch.zeros(0, dtype=torch.long), None
        for begin in sorted(range(0, frames, IMAGES), reverse=not onward):
            end = min(begin + IMAGES, frames)
            if not ((at >= 0) & (at < end) if onward else at >= max(begin, 1)).any():
                continue
            images, size = [], (0, 0)
            for first in range(begin, end, READ):
                shown = frames_of(first, min(first + READ, end))
                size = (shown.shape[1], shown.shape[2])
                images.extend(grey(shown, device))
            small = reduced(*size)
            for t in sorted(range(begin, end), reverse=not onward):
                image = images[t - begin]
                new = torch.nonzero(at == t)[:, 0]
                if cues is not None:
                    cues.put_frame(t, image)
                if len(new):
                    if onward:
                        born[t] = Anchors.at(image, scale_xy(queries[new, 1:].to(device), size, small))
                        if cues is not None:
                            cues.put_queries(new, born[t])
                    rows = torch.cat([rows, new])
                    active = born[t] if active is None else active.beside(born[t])
                if active is not None:
                    rough = xy[rows, t].to(device)
                    active, places, score = active.follow(image, scale_xy(rough, size, small))
                    if cues is not None:
                        cues.put_patches(t, rows, active, score)
                    sure = confidence[rows, t].to(device)
                    exact, sure = prefer_polished(rough, sure, scale_xy(places, small, size), score)
                    xy[rows, t], confidence[rows, t] = exact.to(xy), sure.to(confidence)
    return xy, confidence


def polish_clip(
    frames: UInt8[Tensor, "t h w 3"],
    queries: Float[Tensor, "n 3"],
    xy: Float[Tensor, "n t 2"],
    confidence: Float[Tensor, "n t"],
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Compute the same as `polished` for a clip in memory, without making the host wait for an accelerator.

    All points are aligned in all frames, and masks select what counts; on a CPU this takes 1.5 to 1.8 times as long.
    """
    xy, confidence = xy.clone(), confidence.clone()
    images, size = grey_images(frames), (frames.shape[1], frames.shape[2])
    small, count = (images.shape[1], images.shape[2]), len(images)
    on_a_frame = (queries[:, 0] == queries[:, 0].round()) & (queries[:, 0] < count)
    at = torch.where(on_a_frame, queries[:, 0], -1).long()
    places = scale_xy(queries[:, 1:], size, small)
    start = Anchors.at(images[0], places)
    for t in range(1, count):
        start = replace(start, patches=Patches.cut(images[t], places).where(at == t, start.patches))
    for onward in (True, False):
        anchors = start
        for t in range(count) if onward else reversed(range(count)):
            passed = (at >= 0) & (at <= t) if onward else at >= t
            after, aligned, score = anchors.follow(images[t], scale_xy(xy[:, t], size, small))
            exact, sure = prefer_polished(xy[:, t], confidence[:, t], scale_xy(aligned, small, size), score)
            anchors = after.where(passed, anchors)
            xy[:, t] = torch.where(passed[:, None], exact, xy[:, t])
            confidence[:, t] = torch.where(passed, sure, confidence[:, t])
    return xy, confidence


def prefer_polished(
    xy: Float[Tensor, "n 2"], confidence: Float[Tensor, " n"], places: Float[Tensor, "n 2"], score: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Choose between the network's positions and confidences and, where correlation is high enough, the patches' positions and
    correlations."""
    sure = torch.maximum(confidence, score.clamp(max=1).to(confidence.dtype))
    return torch.where((score > ACCEPTED)[:, None], places, xy), torch.where(score > SURELY_SEEN, sure, confidence)
