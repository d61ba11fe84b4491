"""The initial reconstruction from tracks: two frames, then one after the other; points follow from the frames placed so far.

    pairs of frames ──► poses of the second ──► trials: a few more ──► the best trials, ──► the other frames, placed
    that differ much    (five-point, plane)     frames are placed      adjusted; the best   and adjusted at each doubling

A plane allows two poses and each moving thing has one of its own; which is right is told by further frames, so several are
tried. Every pose is first made to fit all points that agree with it, since five noisy points say little where the camera
travelled little. A frame of a video is near its neighbour, so placing a camera needs no method of its own: Gauss-Newton from
the neighbour's pose, with a robust loss that grows sharper. Points count the less the more of them were asked for in one place,
so that the background is what covers most of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.bundle import (
    Bundle,
    adjust,
    by_rays,
    camera_points,
    cross,
    five_point,
    homogeneous,
    poses_of,
    poses_of_plane,
    refined,
    rotation,
    sampson,
    triangulate,
)
from tapetum.systems.tapvid3d.geometry import F64
from tapetum.tracks.camera import robust_homography

SAMPLES, REFINED = 500, 60
"""Samples of five points for a pair of frames, and of the essential matrices that they make, how many are refined."""
TRIAL, PAIRS, HYPOTHESES, FINALISTS = 10, 3, 5, 4
"""Frames of a trial, pairs of them that begin one, poses of a pair, and trials that are adjusted before one is chosen."""


LEAST = 8
"""Points that a camera must see to be placed, or that two frames must share."""
CELLS = 10
"""Cells along each side of the image in which points are counted."""
FOCAL_SPREAD = 0.4
"""Standard deviation of the logarithm of a focal length about the expected one, where it has to be found."""
AGREES = 0.8
"""Share of its views with which a point must agree to be taken for one that stands still."""


@dataclass(frozen=True)
class Observations:
    """Observed pixels of n points in t frames."""

    xy: F64
    """(n, t, 2) pixels."""
    visible: Bool[np.ndarray, "n t"]
    weight: F64
    """(n,) of each point, see `crowding`."""
    intrinsics: F64
    """(4,)"""
    within: float
    """Pixels by which a place may miss."""

    def of(self, frames: Sequence[int]) -> "Observations":
        """Select the same points in some of the frames."""
        return replace(self, xy=self.xy[:, frames], visible=self.visible[:, frames])

    @property
    def places(self) -> F64:
        """Convert the pixels to normalised camera coordinates (n, t, 2)."""
        return (self.xy - self.intrinsics[2:]) / self.intrinsics[:2]

    @property
    def focal(self) -> float:
        """Compute the focal length in pixels."""
        return float(self.intrinsics[:2].mean())


def crowding(places: F64, size: tuple[int, int]) -> F64:
    """Compute weights (n,) of points queried at places (n, 2) of an image of (width, height): one over how many share a cell.

    >>> crowding(np.array([[1.0, 1], [2, 2], [90, 90]]), (100, 100)).tolist()
    [0.5, 0.5, 1.0]
    """
    column, row = np.clip(places / size * CELLS, 0, CELLS - 1).astype(int).T
    _, which, count = np.unique(column * CELLS + row, return_inverse=True, return_counts=True)
    return 1 / count[which]


@dataclass
class PartialReconstruction:
    """A reconstruction on its way: some frames have a pose, and the points are what those frames say."""

    views: Observations
    poses: dict[int, F64]
    points: F64
    still: Bool[np.ndarray, " n"]
    """Points that agree with the cameras so far, and are seen by two or more."""
    expected: float | None = None
    """The focal length that is expected, in pixels, where it is to be found too; None keeps that of `views`."""

    @property
    def bundle(self) -> Bundle:
        """Collect the frames that have a pose, in the order in which they got it, and all points."""
        return Bundle(np.stack(list(self.poses.values())), self.points, self.views.intrinsics)

    def triangulate(self, rounds: int = 2) -> None:
        """Triangulate points again from all frames placed so far."""
        here, poses = self.views.of(list(self.poses)), np.stack(list(self.poses.values()))
        self.points, error = settled(poses, here, rounds)
        count = here.visible.sum(1)
        self.still = ((error < 2 * here.within) & here.visible).sum(1) >= np.maximum(AGREES * count, 2)

    def place(self, frame: int) -> bool:
        """Estimate the pose of one more frame; False if too few static points are visible in it."""
        usable = self.still & self.views.visible[:, frame]
        if usable.sum() < LEAST:
            return False
        near = self.poses[min(self.poses, key=lambda other: abs(other - frame))]
        views = self.views
        self.poses[frame] = place(near, self.points[usable], views.xy[usable, frame], views.weight[usable], views)
        return True

    def place_all(self, frames: Sequence[int]) -> int | None:
        """Place all these frames, the nearest to those that have one first; the first that cannot get one, if any."""
        refused: list[int] = []
        while left := [k for k in frames if k not in self.poses and k not in refused]:
            frame = min(left, key=lambda k: min(abs(k - other) for other in self.poses))
            if self.place(frame):
                self.triangulate()
                refused = []
            else:
                refused.append(frame)
        return refused[0] if refused else None

    def adjust(self) -> None:
        """Adjust cameras and still points by bundle adjustment, then all points from the cameras."""
        frames, bundle, still = list(self.poses), self.bundle, self.still
        here = self.views.of(frames)
        far = int(np.linalg.norm(centres(bundle.poses) - centres(bundle.poses[:1]), axis=1).argmax())
        better = adjust(
            replace(bundle, points=self.points[still]),
            here.xy[still],
            here.visible[still],
            scale=here.within,
            fixed=(0, far),
            focal_prior=None if self.expected is None else here.within / 2 / FOCAL_SPREAD,
            log_focal=0.0 if self.expected is None else float(np.log(here.focal / self.expected)),
            steps=20,
        )
        self.poses = dict(zip(frames, better.poses, strict=True))
        self.views = replace(self.views, intrinsics=better.intrinsics)
        self.triangulate()


def centres(poses: F64) -> F64:
    """Compute the world positions (t, 3) of cameras (t, 3, 4)."""
    return -np.einsum("tji,tj->ti", poses[..., :3], poses[..., 3])


def settled(poses: F64, views: Observations, rounds: int = 3) -> tuple[F64, F64]:
    """Triangulate points (n, 4) from cameras (t, 3, 4), views that disagree counting less each round, and all errors (n, t) in
    pixels."""
    weight = views.visible.astype(np.float64)
    points, error = np.zeros((len(weight), 4)), weight
    for _ in range(rounds):
        points = triangulate(poses, views.places, weight)
        error = Bundle(poses, points, views.intrinsics).errors(views.xy)
        weight = views.visible / (1 + (np.minimum(error, 1e6) / views.within) ** 2)
    return points, error


def place(near: F64, points: F64, xy: F64, weight: F64, views: Observations) -> F64:
    """Find the pose (3, 4) of a camera that sees homogeneous points (n, 4) at pixels xy (n, 2), from a pose near it."""
    rotation_matrix, shift = near[:, :3], near[:, 3]
    for scale in (8 * views.within, 3 * views.within, views.within):
        for _ in range(4):
            turned = points[:, :3] @ rotation_matrix.T
            rays = turned + points[:, 3:] * shift
            rays[:, 2] = np.where(abs(rays[:, 2]) < 1e-9, 1e-9, rays[:, 2])
            error = rays[:, :2] / rays[:, 2:] * views.intrinsics[:2] + views.intrinsics[2:] - xy
            pixel = by_rays(rays, views.intrinsics)
            jacobian = np.concatenate([-pixel @ cross(turned), pixel * points[:, 3, None, None]], axis=2)
            counts = weight / (1 + (error**2).sum(1) / scale**2)
            weighted = jacobian * counts[:, None, None]
            normal = np.einsum("nai,naj->ij", weighted, jacobian, optimize=True)
            damped = normal + np.diag(1e-9 * normal.diagonal() + 1e-12)
            step = np.linalg.solve(damped, -np.einsum("nai,na->i", weighted, error))
            rotation_matrix, shift = rotation(step[:3]) @ rotation_matrix, shift + step[3:]
    return np.column_stack([rotation_matrix, shift])


def first_reconstruction(views: Observations, keys: Sequence[int], rng: np.random.Generator) -> PartialReconstruction:
    """Reconstruct the cameras of the frames `keys`, and all points.

    Raises BadInput if no two frames share enough, nothing explains the tracks, or a frame of `keys` cannot be placed.
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
