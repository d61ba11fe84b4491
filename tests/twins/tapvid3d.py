"""The metrics of TAPVid-3D once more, point by point: arXiv 2407.05921, section 4, and appendix A for the scales.

Equal to google-deepmind/tapnet's `tapvid3d_metrics` where `tests/golden/tapvid3d_metrics.npz` calls its answer clean.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, median

PIXELS = 1, 2, 4, 8, 16
METRES = 0.01, 0.04, 0.16, 0.64, 2.56
Point = tuple[float, float, float]


@dataclass
class Clip:
    """A clip's truth and predictions, each by track and frame."""

    truth: list[list[Point]]
    visible: list[list[bool]]
    predicted: list[list[Point]]
    predicted_visible: list[list[bool]]
    focal: float
    query_frames: list[int]

    def places(self) -> list[tuple[int, int]]:
        return [(n, t) for n in range(len(self.truth)) for t in range(len(self.truth[n]))]


@dataclass
class Counts:
    """Weighted numbers of points: of all, of those whose visibility is right, and by threshold."""

    points: float = 0.0
    agree: float = 0.0
    visible: float = 0.0
    predicted_visible: float = 0.0
    within: list[float] = field(default_factory=lambda: [0.0] * 5)
    hits: list[float] = field(default_factory=lambda: [0.0] * 5)

    def add(self, clip: Clip, n: int, t: int, scale: float, metric: bool, weight: float = 1.0) -> None:
        """Count a point; a distance of exactly the threshold is too far, and one that is not finite is."""
        seen, claimed = clip.visible[n][t], clip.predicted_visible[n][t]
        self.points += weight
        self.agree += weight * (seen == claimed)
        self.visible += weight * seen
        self.predicted_visible += weight * claimed
        if seen:
            scaled = tuple(scale * value for value in clip.predicted[n][t])
            error = math.dist(scaled, clip.truth[n][t]) if all(map(math.isfinite, scaled)) else math.inf
            for level, (pixels, metres) in enumerate(zip(PIXELS, METRES, strict=True)):
                near = error < (metres if metric else pixels * abs(clip.truth[n][t][2]) / clip.focal)
                self.within[level] += weight * near
                self.hits[level] += weight * (near and claimed)

    def scores(self) -> dict[str, float]:
        """Compute OA, APD and AJ (equations 1 to 3); NaN where nothing can be counted."""
        result = {"occlusion_accuracy": ratio(self.agree, self.points)}
        for level, pixels in enumerate(PIXELS):
            wrong = self.visible + self.predicted_visible - self.hits[level]
            result[f"pts_within_{pixels}"] = ratio(self.within[level], self.visible)
            result[f"jaccard_{pixels}"] = ratio(self.hits[level], wrong)
        for name, part in (("average_pts_within_thresh", "pts_within"), ("average_jaccard", "jaccard")):
            result[name] = sum(result[f"{part}_{pixels}"] for pixels in PIXELS) / 5
        return result


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def common_scale(clip: Clip, average: Callable[[list[float]], float], places: list[tuple[int, int]]) -> float:
    """Compare distances from the camera: over what both call visible, else over what is visible; NaN without any."""
    usable = [(n, t) for n, t in places if clip.visible[n][t] and all(map(math.isfinite, clip.predicted[n][t]))]
    chosen = [(n, t) for n, t in usable if clip.predicted_visible[n][t]] or usable
    if not chosen:
        return math.nan
    true, own = ([math.hypot(*points[n][t]) for n, t in chosen] for points in (clip.truth, clip.predicted))
    return average(true) / average(own)


def query_scale(clip: Clip, n: int) -> float:
    """Compare depths at the track's query; a depth that is not above 0 makes the track wrong."""
    frame = clip.query_frames[n]
    return max(clip.truth[n][frame][2], 1e-12) / max(clip.predicted[n][frame][2], 1e-12)


def scores(
    clip: Clip, scaling: str, *, metric: bool = False, radius: float = 0.05, tracks: bool = False
) -> list[dict[str, float]]:
    """Score each track, or the clip, by one of seven scalings."""
    if not clip.truth:
        return [] if tracks else [Counts().scores()]
    groups = [Counts() for _ in clip.truth] if tracks else [Counts()] * len(clip.truth)
    if scaling == "local_neighborhood":
        for anchor, total in enumerate(groups):
            near = [(n, t) for n, t in clip.places() if math.dist(clip.truth[n][t], clip.truth[anchor][t]) < radius]
            weight = sum(clip.visible[anchor]) / max(1, sum(clip.visible[n][t] for n, t in near))
            for n, t in near:
                total.add(clip, n, t, query_scale(clip, anchor), metric, weight)
        return [total.scores() for total in (groups if tracks else groups[:1])]
    common = 1.0
    if scaling in ("median", "mean", "median_on_queries"):
        places = list(enumerate(clip.query_frames)) if scaling == "median_on_queries" else clip.places()
        common = common_scale(clip, fmean if scaling == "mean" else median, places)
    for n, t in clip.places():
        scale = query_scale(clip, n) if scaling == "per_trajectory" else common
        if scaling == "reproduce_2d":
            depth = clip.predicted[n][t][2]
            scale = clip.truth[n][t][2] / depth if depth else math.inf
        groups[n].add(clip, n, t, scale, metric)
    return [total.scores() for total in (groups if tracks else groups[:1])]
