"""Re-detection: live points that were hidden for long are searched for in the whole frame, and shown once confirmed.

Not part of TAPIR, whose causal mixer has only hidden frames in its state after a long absence, and sometimes calls something
else visible. Here a point that was hidden for `LOST_AFTER` frames is *lost*, and stays hidden until it is accepted again:

    query features --- matched with the whole frame, refined ------> place, confidence of the network
    query patch ------ aligned with the frame from that place on --> correlation of the images

A position is accepted if the network is confident of it and the patch correlates, which is independent evidence: what looks
alike to a small network rarely matches pixel for pixel. A lower correlation, as at an edge against a new background, suffices
in `LIKELY_FRAMES` frames in a row. Two positions are tried: that of the network's usual step, and that of the network without a
past, as in a query's frame, for at most `POINTS_PER_FRAME` lost points in turn, which bounds the time.

The thresholds were chosen on five scenes; `python evidence/live/redetection.py` compares with and without on others. Matching
back to the query's frame (cycle consistency) did not separate correct from wrong matches: wrong ones match back too.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.layers.sampling import scale_xy
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.polish import REACH, Patches, reduced
from tapetum.systems.tap.types import FeatureGrids, PointRows, QueryFeatures, Size, State, Trajectories, map_tensors

LOST_AFTER = 12
"""Frames in a row in which a point must be hidden to count as lost: half a second of most cameras."""
POINTS_PER_FRAME = 8
"""Lost points that are sought in one frame, at most."""
CONFIDENCE = 0.5
"""Of the network with its past: the least that is accepted, which is what calls a point visible."""
CONFIDENCE_ALONE = 0.4
"""Of the network without a past: the least that is accepted."""
CORRELATION = 0.8
"""Of the patch: the least that is accepted at once."""
LIKELY, LIKELY_FRAMES = 0.5, 4
"""Correlation that is accepted in so many frames in a row, of the network with its past."""
TURNS, SCALES = (-0.5, 0.0, 0.5), (0.75, 1.0, 1.35)
"""Radians and factors of the warps that alignment starts from, all pairs of them: a point may come back turned or nearer."""


@dataclass(frozen=True)
class Redetection(PointRows):
    """What is needed to detect n points again; never changed in place."""

    patches: Patches
    """Around the points in the frames in which they were asked for."""
    hidden: Int[Tensor, " n"]
    """Frames in a row in which each point was hidden."""
    likely: Int[Tensor, " n"]
    """Frames in a row in which a place of each lost point was likely: confident, with a patch that correlates a little."""
    turn: int = 0
    """Place among the lost points of the one that comes first in the next frame."""

    @classmethod
    def start(cls, patches: Patches) -> "Redetection":
        """Begin with points that are visible."""
        none = torch.zeros(len(patches.plain), dtype=torch.long, device=patches.plain.device)
        return cls(patches, none, none)

    @property
    def lost(self) -> Bool[Tensor, " n"]:
        """Check which points are lost."""
        return self.hidden >= LOST_AFTER

    def seek(
        self, model: Tapir, features: FeatureGrids, points: QueryFeatures, image: Float[Tensor, "y x"], now: "PointEstimates"
    ) -> tuple["Redetection", "Detections"]:
        """Search a frame, given as features and an image of `polish.grey`, for lost points; `now` is the network's estimate.

        Returns this, with detected points no longer lost, and the detections.
        """
        size = features.video_size
        index = torch.nonzero(self.lost & (now.confidence > CONFIDENCE))[:, 0]
        usual = self._correlated(index, now.select(index), image, size)
        likely = torch.zeros_like(self.likely)
        likely[index] = torch.where(usual.correlation > LIKELY, self.likely[index] + 1, 0)
        detections = usual.select((usual.correlation > CORRELATION) | (likely[index] >= LIKELY_FRAMES))
        after = replace(self, likely=likely, hidden=self.hidden.index_fill(0, detections.index, 0))
        after, index = after._take_turns()
        if len(index):
            out = model.trajectories(features, points.select(index), keep_state=True, query_chunk=None)
            alone = PointEstimates.of(out)
            confident = alone.confidence > CONFIDENCE_ALONE
            anew = self._correlated(index[confident], alone.select(confident), image, size)
            anew = anew.select(anew.correlation > CORRELATION)
            after = replace(after, hidden=after.hidden.index_fill(0, anew.index, 0))
            detections = detections.beside(anew)
        return after, detections

    def _take_turns(self) -> tuple["Redetection", Int[Tensor, " k"]]:
        """Choose the lost points to search for without a past in this frame; the next frame starts with those after them."""
        lost = torch.nonzero(self.lost)[:, 0]
        if len(lost) <= POINTS_PER_FRAME:
            return replace(self, turn=0), lost
        first = self.turn % len(lost)
        return replace(self, turn=first + POINTS_PER_FRAME), lost.roll(-first)[:POINTS_PER_FRAME]

    def _correlated(
        self, index: Int[Tensor, " k"], these: "PointEstimates", image: Float[Tensor, "y x"], size: Size
    ) -> "Detections":
        warp, correlation = correlate(self.patches.select(index), image, scale_xy(these.xy, size, reduced(*size)))
        confidence = torch.maximum(these.confidence, correlation.clamp(max=1).to(these.confidence.dtype))
        return Detections(index, replace(these, confidence=confidence), warp, correlation)

    def count(self, visible: Bool[Tensor, " n"]) -> "Redetection":
        """Update the counts after a frame in which these points were visible."""
        return replace(self, hidden=torch.where(visible, 0, self.hidden + 1))


@dataclass(frozen=True)
class PointEstimates(PointRows):
    """What the network knows of n points after one frame."""

    xy: Float[Tensor, "n 2"]
    """Raster pixels."""
    confidence: Float[Tensor, " n"]
    expected_dist: Float[Tensor, " n"]
    state: State

    @classmethod
    def of(cls, out: Trajectories) -> "PointEstimates":
        """Build them from the network's output for one frame, with its state."""
        assert out.state is not None
        return cls(out.tracks[0, :, 0].float(), out.confidence[0, :, 0], out.expected_dist[0, :, 0], out.state)

    def put(self, index: Int[Tensor, " k"], other: "PointEstimates") -> "PointEstimates":
        """Replace the entries of the points `index` with those of k points."""
        return map_tensors(lambda these, those: these.index_copy(0, index, those.to(these.dtype)), self, other)


@dataclass(frozen=True)
class Detections(PointRows):
    """Points that are detected again in a frame, or may be."""

    index: Int[Tensor, " k"]
    """Which of all points they are."""
    estimates: PointEstimates
    """Confidence is that of the network, or the correlation of the patch where that is higher."""
    warp: Float[Tensor, "k 2 2"]
    """Of the patch."""
    correlation: Float[Tensor, " k"]


def correlate(
    patches: Patches, image: Float[Tensor, "y x"], xy: Float[Tensor, "k 2"]
) -> tuple[Float[Tensor, "k 2 2"], Float[Tensor, " k"]]:
    """Align each patch from its position and several warps: gives the best-correlating warp and its correlation."""
    angle, scale = torch.cartesian_prod(torch.tensor(TURNS), torch.tensor(SCALES)).to(xy).T
    cos, sin = scale * angle.cos(), scale * angle.sin()
    warps = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    count, each = len(xy), len(warps)
    rows = torch.arange(count, device=xy.device).repeat_interleave(each)
    _, warp, score = patches.select(rows).align(image, xy[rows, None], warps.repeat(count, 1, 1), REACH[:1])
    score, best = score.view(count, each).max(1)
    return warp.view(count, each, 2, 2)[torch.arange(count, device=xy.device), best], score
