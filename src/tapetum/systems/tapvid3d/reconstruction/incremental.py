"""The initial reconstruction from tracks: two frames, then one after the other.

    pairs of frames ──► poses of the second ──► trials: a few more ──► the best trials, ──► the other frames, placed
    that differ much    (five-point, plane)     frames are placed      adjusted; the best   and adjusted at each doubling

Why so: the five-point method holds for flat scenes and far points alike. A plane allows two poses and each moving thing has
one of its own; which is right is told by further frames, not by the two, so several are tried. Every pose is first made to
fit all points that agree with it, since five noisy points say little where the camera travelled little. In a video a frame is
near its neighbour, so that placing a camera needs no method of its own: Gauss-Newton from the neighbour's pose, with a robust
loss that grows sharper.

Points count the less the more of them were asked for in one place, so that the background is what covers most of the image.
"""

from collections.abc import Sequence

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.geometry import F64
from tapetum.systems.tapvid3d.reconstruction.reconstruction import LEAST, Observations, PartialReconstruction
from tapetum.systems.tapvid3d.reconstruction.twoview import (
    camera_points,
    five_point,
    homogeneous,
    poses_of,
    poses_of_plane,
    refined,
    sampson,
    triangulate,
)
from tapetum.tracks.camera import robust_homography

SAMPLES, REFINED = 500, 60
"""Samples of five points for a pair of frames, and of the essential matrices that they make, how many are refined."""
TRIAL, PAIRS, HYPOTHESES, FINALISTS = 10, 3, 5, 4
"""Frames of a trial, pairs of them that begin one, poses of a pair, and trials that are adjusted before one is chosen."""


def first_reconstruction(views: Observations, keys: Sequence[int], rng: np.random.Generator) -> PartialReconstruction:
    """Reconstruct the cameras of the frames `keys`, and all points.

    Raises BadInput where no two frames share enough, where nothing explains the tracks, or a frame of `keys` cannot be placed.
    """
    trials: list[PartialReconstruction] = []
    frames = _window(views, keys)
    for i, j in _pairs(views, frames)[:PAIRS]:
        for pose in _hypotheses(views, i, j, rng):
            trial = _trial(views, {i: np.eye(3, 4), j: pose}, frames)
            if trial is not None:
                trials.append(trial)
    finalists = sorted(trials, key=_score, reverse=True)[:FINALISTS]
    if not finalists:
        raise BadInput(
            f"no motion of a camera explains the tracks: fewer than {LEAST} points go through several frames as if they stood "
            "still; track more points of the background, or give --depth maps or a network"
        )
    for trial in finalists:
        trial.adjust()
    finalists.sort(key=_score, reverse=True)
    for trial in finalists:
        lost = _complete(trial, keys)
        if lost is None:
            return trial
    raise unplaced(lost)


def _window(views: Observations, keys: Sequence[int]) -> list[int]:
    """The frames of the trials: around the two that make the best pair."""
    some = keys[:: -(-len(keys) // 24)]
    pairs = _pairs(views, some)
    if not pairs:
        return []
    reach = max(pairs[0][1] - pairs[0][0], TRIAL)
    around = [k for k in keys if pairs[0][0] - reach <= k <= pairs[0][1] + reach]
    return [around[k] for k in np.unique(np.linspace(0, len(around) - 1, TRIAL).round().astype(int))]


def _pairs(views: Observations, frames: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs that share many points which differ by more than a turn of the camera; best first, each unlike those before it."""
    places, candidates = views.places, []
    for k, i in enumerate(frames):
        for j in frames[k + 1 :]:
            both = np.flatnonzero(views.visible[:, i] & views.visible[:, j])
            if len(both) < LEAST:
                continue
            weight = views.weight[both]
            parallax = views.focal * _median(
                rotation_errors(places[both, i], places[both, j], weight, 10 / views.focal), weight
            )
            candidates.append((min(parallax, 0.08 * views.focal) * weight.sum(), i, j))
    chosen: list[tuple[int, int]] = []
    for _, i, j in sorted(candidates, reverse=True):
        if all(abs(i - a) + abs(j - b) > (frames[-1] - frames[0]) // 6 for a, b in chosen):
            chosen.append((i, j))
    return chosen


def rotation_errors(a: F64, b: F64, weight: F64, scale: float) -> F64:
    """Measure (n,) what a rotation of the camera leaves of the differences between places (n, 2) in two views; robust beyond
    `scale`."""
    a1, b1 = (rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (homogeneous(a), homogeneous(b)))
    counts, error = weight, np.zeros(len(a))
    for _ in range(8):
        u, _, v = np.linalg.svd((b1 * counts[:, None]).T @ a1)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        error = np.linalg.norm(a1 @ rotation.T - b1, axis=1)
        counts = weight / (1 + (error / scale) ** 2)
    return error


def _median(values: F64, weight: F64) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _gain(error: F64, within: float) -> F64:
    """What an error is worth: from 1 for none, down with its logarithm, so that exactness counts, to 0 at four `within`."""
    sharp, most = within / 4, 4 * within
    return 1 - np.log1p((np.minimum(error, most) / sharp) ** 2) / np.log1p((most / sharp) ** 2)


def _hypotheses(views: Observations, i: int, j: int, rng: np.random.Generator) -> list[F64]:
    """Poses of frame j seen from frame i that explain most, each other than those before it; then those of a flat scene."""
    both = np.flatnonzero(views.visible[:, i] & views.visible[:, j])
    a, b, weight = views.places[both, i], views.places[both, j], views.weight[both]
    # The five first of a random order in which heavy points tend to come early (Efraimidis and Spirakis 2006).
    order = np.argsort(rng.exponential(size=(SAMPLES, len(both))) / weight, axis=1)[:, :5]
    essential = five_point(a[order], b[order])
    score = _gain(views.focal * sampson(essential, a, b), views.within) @ weight
    essential = refined(essential[np.argsort(-score)[:REFINED]], a, b, weight, views.within / views.focal)
    miss = views.focal * sampson(essential, a, b)
    score = _gain(miss, views.within) @ weight
    kept: list[int] = []
    for k in np.argsort(-score):
        if len(kept) == HYPOTHESES or score[k] < 0.7 * score.max():
            break
        if all(abs((essential[k] * essential[other]).sum()) < 0.98 for other in kept):
            kept.append(int(k))
    near = miss < views.within
    poses = [_in_front(essential[k], a[near[k]], b[near[k]]) for k in kept]
    plane = robust_homography(a[near[kept[0]]], b[near[kept[0]]], views.within / views.focal, rng)
    return poses + ([] if plane is None else list(poses_of_plane(plane[0])))


def _in_front(essential: F64, a: F64, b: F64) -> F64:
    """Choose of the four poses that an essential matrix allows the one with most points in front of both cameras."""

    def ahead(pose: F64) -> int:
        poses = np.stack([np.eye(3, 4), pose])
        points = triangulate(poses, np.stack([a, b], 1), np.ones((len(a), 2)))
        return int((camera_points(poses, points)[..., 2] * points[:, 3:] > 0).all(1).sum())

    return max(poses_of(essential), key=ahead)


def _trial(views: Observations, start: dict[int, F64], frames: Sequence[int]) -> PartialReconstruction | None:
    """The frames placed from two of them; None where that fails."""
    n = len(views.xy)
    partial = PartialReconstruction(views, start, np.zeros((n, 4)), np.zeros(n, bool))
    partial.triangulate()
    return partial if partial.place_all(frames) is None else None


def _score(trial: PartialReconstruction) -> float:
    """How well what is seen in the trial's frames agrees with it, from 0 to 1."""
    here = trial.views.of(list(trial.poses))
    count = here.visible.sum(1)
    agreement = (_gain(trial.bundle.errors(here.xy), here.within) * here.visible).sum(1) / np.maximum(count, 1)
    weight = here.weight * (count > 2)
    return float(agreement @ weight / max(weight.sum(), 1e-9))


def _complete(trial: PartialReconstruction, keys: Sequence[int]) -> int | None:
    """Place all keys, and adjust whenever their number has doubled; a frame that cannot be placed, if any."""
    while left := sorted(set(keys) - set(trial.poses), key=lambda k: min(abs(k - other) for other in trial.poses)):
        lost = trial.place_all(left[: len(trial.poses)])
        if lost is not None:
            return lost
        trial.adjust()
    return None


def unplaced(frame: int) -> BadInput:
    """Make the error about a frame that has no pose."""
    return BadInput(
        f"the camera of frame {frame} cannot be found: fewer than {LEAST} points that stand still are seen there and in the "
        "frames beside it; track more points of the background, or cut the video there"
    )
