"""Cues of how far a track may be off, which tracking leaves behind for nothing or nearly so; `error_model` learns from them.

    network    logits of both passes at matching and after refinement, how far iterations and scales moved a place, how peaked
               the map of matching is, how far the two passes disagree
    back       the feature at the place found in each frame, matched to the frame of the query: there and back by matching alone
    patch      of `polish`: correlation, size of the warp, how well the patch holds its place; the frame's sharpness, brightness
    track      from the query onwards the worst confidence and correlation so far, the last sure frame, jumps, the border
    group      triples of points around the query carry its place along with them: how far off these places are

Lengths are pixels of an image whose shorter side has 256, as log(1 + length).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.layers.sampling import sample_video, scale_xy
from tapetum.systems.tap.matching import peak_share
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.polish import Anchors
from tapetum.systems.tap.types import FeatureGrids, Size, Trajectories
from tapetum.tracks.patches import PointRows

PASS = 10
NETWORK = 2 * PASS + 5
"""Cues of the network, the last 4 of them those of the way back."""
FEW = 39
"""The last cues of all, which are of the finished tracks."""
LIVE = 51
"""Cues of a point of a live video: those of `LiveCues`."""
BACK_EVERY = 2
"""Frames of which only the first is matched back, to save time; its cues stand for all of them."""
MATCHED = 512
"""Places that are matched back at a time."""


@dataclass
class TrackCues:
    """What is collected of n queries while they are tracked through t frames of a video of (height, width) `size`."""

    count: int
    frames: int
    size: Size
    network: Float[Tensor, "n t c"] = field(init=False)
    """float16, as there are many; NaN where a query's frame was not at hand to match back to."""
    correlation: Float[Tensor, "n t"] = field(init=False)
    """Of the patch, -1 where it was not aligned; NaN where it was not followed."""
    stretch: Float[Tensor, "n t"] = field(init=False)
    hold: Float[Tensor, " n"] = field(init=False)
    """Logarithm of how far noise moves the patch at most; 1 for a patch without contrast."""
    sharpness: Float[Tensor, " t"] = field(init=False)
    """Logarithm of the mean slope of the grey image."""
    brightness: Float[Tensor, " t"] = field(init=False)

    def __post_init__(self) -> None:
        self.network = torch.full((self.count, self.frames, NETWORK), torch.nan, dtype=torch.float16)
        self.correlation, self.stretch = (torch.full((self.count, self.frames), torch.nan) for _ in range(2))
        self.hold = torch.ones(self.count)
        self.sharpness, self.brightness = torch.zeros(self.frames), torch.zeros(self.frames)

    @property
    def pixel(self) -> float:
        """Compute the pixels of the video in one of an image whose shorter side has 256."""
        return min(self.size) / 256

    def put_patches(self, t: int, rows: Int[Tensor, " k"], anchors: Anchors, score: Float[Tensor, " k"]) -> None:
        """Take over how the patches of some queries were aligned with frame `t`."""
        self.correlation[rows, t], self.stretch[rows, t] = score.float().cpu(), patch_cues(anchors)[0].cpu()

    def put_queries(self, rows: Int[Tensor, " k"], anchors: Anchors) -> None:
        """Take over how well the patches of some queries hold their place."""
        self.hold[rows] = patch_cues(anchors)[1].cpu()

    def put_frame(self, t: int, image: Float[Tensor, "y x"]) -> None:
        """Take over what the grey image of frame `t` is like."""
        self.sharpness[t] = (image[:, 1:] - image[:, :-1]).abs().mean().clamp(min=1e-3).log().cpu()
        self.brightness[t] = image.mean().cpu() / 255


def patch_cues(anchors: Anchors) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Compute the logarithms of the area of each patch's warp and of how far noise moves it; 1 if it has no contrast."""
    affine, solve = anchors.affine, anchors.patches.solve[..., :2]
    area = affine[..., 0, 0] * affine[..., 1, 1] - affine[..., 0, 1] * affine[..., 1, 0]
    farthest = (solve.mT @ solve).diagonal(dim1=-2, dim2=-1).sum(-1)
    return area.clamp(0.05, 20).log(), torch.where(anchors.patches.plain, 1.0, 0.5 * farthest.clamp(min=1e-8).log())


def network_cues(
    model: Tapir,
    features: FeatureGrids | None,
    passes: tuple[Trajectories, Trajectories],
    queries: Float[Tensor, "b n 3"],
    pixel: float,
) -> Float[Tensor, "n t c"]:
    """Compute the cues of both passes, matched back only if there are `features`; `queries` are (t, x, y), t counted in these
    frames."""
    first, last = passes
    apart = _length(first.tracks - last.tracks, pixel)
    cues = [*pass_cues(model, first, pixel), *pass_cues(model, last, pixel), apart]
    every = torch.stack(cues, -1)[0].float()
    nothing = every.new_full((*every.shape[:2], 4), torch.nan)
    back = nothing if features is None else _matched_back(model, features, last, queries[0], pixel)
    return torch.cat([every, back], -1)


def pass_cues(model: Tapir, run: Trajectories, pixel: float) -> list[Float[Tensor, "b n t"]]:
    """Compute the cues of one pass, which must have its peaks."""
    match, *refined = (*run.unrefined, run)
    coarse, before = refined[model.config.iterations - 1], refined[-2] if len(refined) > 1 else match
    assert run.peak is not None
    return [
        run.occlusion,
        run.expected_dist,
        match.occlusion,
        match.expected_dist,
        torch.stack([one.occlusion for one in refined]).std(0, correction=0),
        torch.stack([one.expected_dist for one in refined]).std(0, correction=0),
        _length(match.tracks - run.tracks, pixel),
        _length(coarse.tracks - run.tracks, pixel),
        _length(before.tracks - run.tracks, pixel),
        run.peak,
    ]


def _length(move: Float[Tensor, "*s 2"], pixel: float) -> Float[Tensor, "*s"]:
    return torch.log1p(move.float().norm(dim=-1) / pixel)


def _matched_back(
    model: Tapir, features: FeatureGrids, last: Trajectories, queries: Float[Tensor, "n 3"], pixel: float
) -> Float[Tensor, "n t 4"]:
    """Distance from the query, occlusion, expected distance and peak of the match of each place in the query's own frame."""
    maps = features.initial
    shape, (count, frames) = (maps.shape[2], maps.shape[3]), last.occlusion.shape[1:]
    cues = torch.full((count, frames, 4), torch.nan, device=queries.device)
    at = queries[:, 0].round().long()
    time = torch.arange(0, frames, BACK_EVERY, device=queries.device).expand(count, -1)
    for frame in at.unique().tolist():
        if not 0 <= frame < frames:
            continue
        rows = torch.nonzero(at == frame)[:, 0]
        located = scale_xy(last.tracks[0, rows, ::BACK_EVERY].float(), features.video_size, shape)
        places = torch.cat([time[rows, :, None].float(), located], -1)
        vectors = sample_video(maps, places.flatten(0, 1)[None]).to(maps.dtype)[0]
        own = maps[:, frame : frame + 1]
        parts = [model.matching(some[None], own) for some in vectors.split(MATCHED)]
        xy, occlusion, expected_dist = (torch.cat([part[k] for part in parts], 1)[0, :, 0] for k in range(3))
        peak = torch.cat([peak_share(part[3][0, :, 0]) for part in parts])
        away = scale_xy(xy, shape, features.video_size).unflatten(0, (len(rows), -1)) - queries[rows, None, 1:]
        others = [each.unflatten(0, (len(rows), -1)) for each in (occlusion, expected_dist, peak)]
        cues[rows] = torch.stack([_length(away, pixel), *others], -1).repeat_interleave(BACK_EVERY, 1)[:, :frames]
    return cues


SURE, ALIGNED = 0.9, 0.9
"""Confidence, and correlation, from which on a frame counts as sure."""
NEAR = 3
"""Frames on each side that are taken together."""
NEIGHBOURS, TRIPLES = 12, 24
"""Points around a query, and the triples of them that carry it along."""
AT_A_TIME = 64


def cue_array(
    cues: TrackCues,
    xy: Float[Tensor, "n t 2"],
    confidence: Float[Tensor, "n t"],
    queries: Float[Tensor, "n 3"],
    rows: slice = slice(None),
) -> Float[Tensor, "r t c"]:
    """Compute all cues of some of n finished tracks in raster pixels, NaN where there is none."""
    frames = xy.shape[1]
    every, shown = xy.float() / cues.pixel, confidence > 0.5
    start = queries[:, 0].round().long().clamp(0, frames - 1)
    group = group_cues(every, shown, start, rows)
    turns = torch.zeros(xy.shape[:2])
    if frames > 2:
        turns[:, 1:-1] = torch.log1p((every[:, 2:] - 2 * every[:, 1:-1] + every[:, :-2]).norm(dim=-1))
    xy, at, visible, bend, odds = every[rows], start[rows, None], shown[rows], turns[rows], confidence[rows].float()
    confidence, odds = odds, torch.logit(odds.clamp(1e-4, 1 - 1e-4))
    row, time = torch.arange(len(at)), torch.arange(frames)
    network, correlation, stretch = cues.network[rows].float(), cues.correlation[rows].nan_to_num(-1.0), cues.stretch[rows]
    step = torch.zeros(xy.shape[:2])
    step[:, 1:] = torch.log1p((xy[:, 1:] - xy[:, :-1]).norm(dim=-1))
    beyond = bend - turns.median(0).values
    way = torch.log1p((xy - xy[row[:, None], at]).norm(dim=-1))
    edge = torch.minimum(xy, torch.tensor([cues.size[1], cues.size[0]]) / cues.pixel - xy).amin(-1)
    apart, back, peak = (network[..., k].nan_to_num(0.0) for k in (NETWORK - 5, NETWORK - 4, NETWORK - 6))
    lag = group[..., 1] - group[..., 1].roll(NEAR, 1)
    lag = torch.minimum(lag.abs(), (group[..., 1] - group[..., 1].roll(-NEAR, 1)).abs())
    others = [
        odds,
        correlation,
        stretch.nan_to_num(0.0).abs(),
        cues.hold[rows, None].expand(-1, frames),
        cues.sharpness - cues.sharpness[at],
        (cues.brightness - cues.brightness[at]).abs(),
        torch.log1p((time - at).abs().float()),
        -worst_since(-odds, at),
        mean_since(odds, at),
        -worst_since(-correlation, at),
        mean_since(correlation, at),
        torch.log1p(since(confidence > SURE, at)),
        torch.log1p(since(correlation > ALIGNED, at)),
        bend,
        beyond,
        worst_since(beyond, at),
        step,
        worst_since(step, at),
        way,
        edge.clamp(-64, 64) / 16,
        odds.mean(1, keepdim=True).expand(-1, frames),
        visible.float().mean(1, keepdim=True).expand(-1, frames),
        correlation.mean(1, keepdim=True).expand(-1, frames),
        _around(odds, -1),
        _around(correlation, -1),
        _around(apart, 1),
        _around(back, 1),
        -_around(-back, 1),
        worst_since(apart, at),
        worst_since(back, at),
        mean_since(back, at),
        -worst_since(-peak, at),
        network[..., NETWORK - 4].isnan().float(),
        lag,
        worst_since(group[..., 1].nan_to_num(0.0), at),
    ]
    return torch.cat([network, group, torch.stack(others, -1)], -1)


_SIGN = torch.tensor([1.0] * 9 + [-1.0] * 3 + [1.0] * 3)
"""1 where a large value is a bad sign: the cues of one pass, the log-odds of being visible, the patch's correlation and warp,
the step and the bend of the track."""


@dataclass(frozen=True)
class LiveCues(PointRows):
    """What is known of n points of a live video up to a frame, and of no later one; never changed in place."""

    places: Float[Tensor, "n 3 2"]
    """Pixels of an image whose shorter side has 256: at the query, in the frame before the last, in the last."""
    worst: Float[Tensor, "n 15"]
    total: Float[Tensor, "n 15"]
    counts: Float[Tensor, "n 3"]
    """Frames so far, since the last sure one, and since the patch was last aligned."""

    @classmethod
    def start(cls, xy: Float[Tensor, "n 2"], pixel: float) -> "LiveCues":
        """Start points at their places (x, y) in raster pixels, in the frame that `after` is given next."""
        zeros = xy.new_zeros(len(xy), 18)
        worst = torch.full_like(zeros[:, :15], -torch.inf)
        return cls((xy / pixel)[:, None].repeat(1, 3, 1), worst, zeros[:, :15], zeros[:, 15:])

    def after(
        self,
        network: Float[Tensor, "n 10"],
        confidence: Float[Tensor, " n"],
        patch: tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]],
        xy: Float[Tensor, "n 2"],
        size: Size,
    ) -> tuple["LiveCues", Float[Tensor, "n c"]]:
        """Compute the cues of one more frame of (height, width) `size`, in which the points are at `xy`, given the `network`
        cues of its one pass, and the correlation, stretch and hold of the patches."""
        (correlation, stretch, hold), pixel = patch, min(size) / 256
        here, (query, before, last) = xy / pixel, self.places.unbind(1)
        step, bend = (torch.log1p(each.norm(dim=-1)) for each in (here - last, here - 2 * last + before))
        odds = torch.logit(confidence.float().clamp(1e-4, 1 - 1e-4))
        others = torch.stack([odds, correlation, stretch.abs(), step, bend], -1)
        values = torch.cat([network.float(), others], -1) * _SIGN.to(xy.device)
        counts = self.counts + 1
        counts[:, 1].masked_fill_(confidence > SURE, 0)
        counts[:, 2].masked_fill_(correlation > ALIGNED, 0)
        worst, total = torch.maximum(self.worst, values), self.total + values
        edge = torch.minimum(here, here.new_tensor([size[1], size[0]]) / pixel - here).amin(-1).clamp(-64, 64) / 16
        way = torch.log1p((here - query).norm(dim=-1))
        parts = values, worst, total / counts[:, :1], counts.log1p(), torch.stack([hold, edge, way], -1)
        return LiveCues(torch.stack([query, last, here], 1), worst, total, counts), torch.cat(parts, -1)


def live_cue_array(
    cues: TrackCues, xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"], queries: Float[Tensor, "n 3"]
) -> Float[Tensor, "n t c"]:
    """Compute the cues that each frame of tracks by a network of one pass has live; NaN before a point's query."""
    at = queries[:, 0].round().long()
    order = at.argsort(stable=True)
    whole = torch.full((*confidence.shape, LIVE), torch.nan)
    stream = LiveCues.start(queries[:0, 1:], cues.pixel)
    for t in range(confidence.shape[1]):
        stream = stream.beside(LiveCues.start(queries[order[at[order] == t], 1:], cues.pixel))
        rows = order[at[order] <= t]
        patch = cues.correlation[rows, t].nan_to_num(-1.0), cues.stretch[rows, t].nan_to_num(0.0), cues.hold[rows]
        network = cues.network[rows, t, :PASS]
        stream, whole[rows, t] = stream.after(network, confidence[rows, t], patch, xy[rows, t], cues.size)
    return whole


def worst_since(values: Float[Tensor, "n t"], at: Int[Tensor, "n 1"]) -> Float[Tensor, "n t"]:
    """Compute the largest value from the frame of the query to each other, in either direction.

    >>> worst_since(torch.tensor([[3.0, 1, 0, 2, 1]]), torch.tensor([[2]])).tolist()
    [[3.0, 1.0, 0.0, 2.0, 2.0]]
    """
    time = torch.arange(values.shape[1])
    onward = values.masked_fill(time < at, -torch.inf).cummax(1).values
    back = values.masked_fill(time > at, -torch.inf).flip(1).cummax(1).values.flip(1)
    return torch.where(time < at, back, onward)


def mean_since(values: Float[Tensor, "n t"], at: Int[Tensor, "n 1"]) -> Float[Tensor, "n t"]:
    """Compute the mean from the frame of the query to each other, in either direction.

    >>> mean_since(torch.tensor([[3.0, 1, 0, 2]]), torch.tensor([[1]])).tolist()
    [[2.0, 1.0, 0.5, 1.0]]
    """
    time = torch.arange(values.shape[1])
    onward = values.masked_fill(time < at, 0.0).cumsum(1)
    back = values.masked_fill(time > at, 0.0).flip(1).cumsum(1).flip(1)
    return torch.where(time < at, back, onward) / ((time - at).abs() + 1)


def since(sure: Tensor, at: Int[Tensor, "n 1"]) -> Float[Tensor, "n t"]:
    """Count the frames to the nearest one in which a point was sure, on the way to its query.

    >>> since(torch.tensor([[False, True, False, False, False]]), torch.tensor([[3]])).tolist()
    [[1.0, 0.0, 1.0, 0.0, 1.0]]
    """
    time = torch.arange(sure.shape[1]).float()
    sure = sure | (time == at)
    late = torch.where(sure & (time >= at), time, -torch.inf).cummax(1).values
    early = torch.where(sure & (time <= at), -time, -torch.inf).flip(1).cummax(1).values.flip(1)
    return torch.where(time < at, -early - time, time - late)


def _around(values: Float[Tensor, "n t"], sign: int) -> Float[Tensor, "n t"]:
    """The largest value in the frames around each, or the smallest with `sign` -1."""
    return sign * F.max_pool1d(sign * values[:, None], 2 * NEAR + 1, 1, NEAR)[:, 0]


def group_cues(
    xy: Float[Tensor, "n t 2"], visible: Bool[Tensor, "n t"], at: Int[Tensor, " n"], chosen: slice = slice(None)
) -> Float[Tensor, "r t 4"]:
    """Compute how far some of n points are from where triples of its neighbours carry it: the least, the lower quartile and the
    median distance as log(1 + pixels), NaN where there is none, and the share of triples that are visible.

    A point has the same barycentric coordinates in a triangle of points in every frame if all four move by one affine map.
    """
    count, numbers = len(visible), torch.arange(len(visible))[chosen]
    known = torch.full((len(numbers), visible.shape[1], 4), torch.nan)
    known[..., 3] = 0
    if count <= 3:
        return known
    many = min(NEIGHBOURS, count - 1)
    pick = np.random.default_rng(0)
    corners = torch.from_numpy(np.stack([pick.permutation(many)[:3] for _ in range(TRIPLES)]))
    for first, rows in enumerate(numbers.split(AT_A_TIME)):
        here = slice(first * AT_A_TIME, first * AT_A_TIME + len(rows))
        start, own = xy[:, at[rows]].transpose(0, 1), xy[rows, at[rows]]
        away = (start - own[:, None]).norm(dim=-1)
        away = away.masked_fill(~visible[:, at[rows]].T | (rows[:, None] == torch.arange(count)), torch.inf)
        near, index = away.topk(many, largest=False)
        triple = index[:, corners]  # r m 3
        a, b, c = start[torch.arange(len(rows))[:, None, None], triple].unbind(2)
        u, v, w = b - a, c - a, own[:, None] - a
        area = _cross(u, v)
        second, third = _cross(w, v) / area, _cross(u, w) / area
        weights = torch.stack([1 - second - third, second, third], -1)
        sound = (area.abs() > 64) & (weights.abs().amax(-1) < 3) & near[:, corners].isfinite().all(-1)
        carried = (weights[..., None, None] * xy[triple]).sum(2)  # r m t 2
        apart = torch.log1p((carried - xy[rows, None]).norm(dim=-1))
        apart = apart.masked_fill(~(sound[..., None] & visible[triple].all(2)), torch.inf).sort(1).values
        valid = apart.isfinite().sum(1)
        ranks = torch.stack([((valid - 1).clamp(min=0) * share).long() for share in (0.0, 0.25, 0.5)], 1)
        picked = apart.gather(1, ranks)
        known[here, :, :3] = torch.where(picked.isfinite(), picked, torch.nan).transpose(1, 2)
        known[here, :, 3] = valid / TRIPLES
    return known


def _cross(a: Float[Tensor, "*s 2"], b: Float[Tensor, "*s 2"]) -> Float[Tensor, "*s"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
