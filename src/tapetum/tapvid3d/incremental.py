"""A first reconstruction from tracks: two frames, then one after the other.

    pairs of frames ──► five-point samples ──► a few trials ──► the best one ──► the other frames
    that share much     (RANSAC), different    grown to some    goes on          (placed, points triangulated,
    and differ much     poses are kept         more frames                       adjusted at each doubling)

Why so: the five-point method holds for flat scenes and far points alike, and which of its answers is right (a plane allows two,
a moving thing has one of its own) is told by further frames, not by the two. In a video a frame is near its neighbour, so that
placing a camera needs no method of its own: Gauss-Newton from the neighbour's pose, with a robust loss that grows sharper.

Points count the less the more of them were asked for in one place, so that the background is what covers most of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from tapetum.errors import BadInput
from tapetum.tapvid3d.bundle import Bundle, adjust, by_rays, cross, rotation
from tapetum.tapvid3d.geometry import F64
from tapetum.tapvid3d.twoview import camera_points, five_point, homogeneous, poses_of, sampson, triangulate

LEAST = 8
"""Points that two frames must share, and that a camera must see to be placed."""
SAMPLES = 500
"""Of five points, for a pair of frames."""
PAIRS, HYPOTHESES = 3, 5
"""Pairs of frames that are tried, and poses of each."""
TRIAL = 10
"""Frames of a trial."""
CELLS = 10
"""Cells along each side of the picture in which points are counted."""
AGREES = 0.8
"""Share of its views with which a point must agree to be taken for one that stands still."""


@dataclass(frozen=True)
class Views:
    """What was seen of n points in t frames."""

    xy: F64
    """(n, t, 2) pixels."""
    seen: Bool[np.ndarray, "n t"]
    weight: F64
    """(n,) of each point, see `crowding`."""
    intrinsics: F64
    """(4,)"""
    within: float
    """Pixels by which a place may miss."""

    def of(self, frames: Sequence[int]) -> "Views":
        """The same points in some of the frames."""
        return replace(self, xy=self.xy[:, frames], seen=self.seen[:, frames])

    @property
    def places(self) -> F64:
        """(n, t, 2) normalised camera coordinates."""
        return (self.xy - self.intrinsics[2:]) / self.intrinsics[:2]

    @property
    def focal(self) -> float:
        """In pixels."""
        return float(self.intrinsics[:2].mean())


def crowding(places: F64, size: tuple[int, int]) -> F64:
    """Weights (n,) of points asked for at places (n, 2) of a picture of (width, height): one over how many share a cell.

    >>> crowding(np.array([[1.0, 1], [2, 2], [90, 90]]), (100, 100)).tolist()
    [0.5, 0.5, 1.0]
    """
    column, row = np.clip(places / size * CELLS, 0, CELLS - 1).astype(int).T
    _, which, count = np.unique(column * CELLS + row, return_inverse=True, return_counts=True)
    return 1 / count[which]


@dataclass
class Growing:
    """A reconstruction on its way: some frames have a pose, and the points are what those frames say."""

    views: Views
    poses: dict[int, F64]
    points: F64
    still: Bool[np.ndarray, " n"]
    """Points that agree with the cameras so far, and are seen by two or more."""

    @property
    def bundle(self) -> Bundle:
        """The frames that have a pose, in the order in which they got it, and all points."""
        return Bundle(np.stack(list(self.poses.values())), self.points, self.views.intrinsics)

    def triangulate(self, rounds: int = 2) -> None:
        """Points anew from all frames placed so far."""
        here, poses = self.views.of(list(self.poses)), np.stack(list(self.poses.values()))
        self.points, error = settled(poses, here, rounds)
        count = here.seen.sum(1)
        self.still = ((error < 2 * here.within) & here.seen).sum(1) >= np.maximum(AGREES * count, 2)

    def place(self, frame: int) -> bool:
        """Give one more frame a pose; False where too few still points are seen in it."""
        usable = self.still & self.views.seen[:, frame]
        if usable.sum() < LEAST:
            return False
        near = self.poses[min(self.poses, key=lambda other: abs(other - frame))]
        views = self.views
        self.poses[frame] = place(near, self.points[usable], views.xy[usable, frame], views.weight[usable], views)
        return True

    def adjust(self) -> None:
        """Cameras and still points by bundle adjustment, then all points from the cameras."""
        frames, bundle = list(self.poses), self.bundle
        still = self.still
        far = int(np.linalg.norm(centres(bundle.poses) - centres(bundle.poses[:1]), axis=1).argmax())
        here = self.views.of(frames)
        part = replace(bundle, points=self.points[still])
        better = adjust(part, here.xy[still], here.seen[still], scale=here.within, fixed=(0, far), steps=20)
        self.poses = dict(zip(frames, better.poses, strict=True))
        self.triangulate()


def centres(poses: F64) -> F64:
    """Where cameras (t, 3, 4) stand in the world (t, 3)."""
    return -np.einsum("tji,tj->ti", poses[..., :3], poses[..., 3])


def settled(poses: F64, views: Views, rounds: int = 3) -> tuple[F64, F64]:
    """Points (n, 4) from cameras (t, 3, 4), views that disagree counting less each round, and all errors (n, t) in pixels."""
    weight = views.seen.astype(np.float64)
    points, error = np.zeros((len(weight), 4)), weight
    for _ in range(rounds):
        points = triangulate(poses, views.places, weight)
        error = Bundle(poses, points, views.intrinsics).errors(views.xy)
        weight = views.seen / (1 + (np.minimum(error, 1e6) / views.within) ** 2)
    return points, error


def place(near: F64, points: F64, xy: F64, weight: F64, views: Views) -> F64:
    """The pose (3, 4) of a camera that sees homogeneous points (n, 4) at pixels xy (n, 2), from a pose near it."""
    turn, shift = near[:, :3], near[:, 3]
    for scale in (8 * views.within, 3 * views.within, views.within):
        for _ in range(4):
            turned = points[:, :3] @ turn.T
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
            turn, shift = rotation(step[:3]) @ turn, shift + step[3:]
    return np.column_stack([turn, shift])


def first_reconstruction(views: Views, keys: Sequence[int], rng: np.random.Generator) -> Growing:
    """The cameras of the frames `keys`, and all points.

    Raises BadInput where no two frames share enough, where nothing explains the tracks, or a frame of `keys` cannot be placed.
    """
    best, most = None, 0.0
    for i, j in _pairs(views, keys):
        reach = (j - i) // 2
        around = [k for k in keys if i - reach <= k <= j + reach]
        frames = sorted({i, j, *around[:: max(1, len(around) // TRIAL)]}, key=lambda k: min(abs(k - i), abs(k - j)))
        for pose in _hypotheses(views, i, j, rng):
            trial = _trial(views, {i: np.eye(3, 4), j: pose}, frames)
            if trial is not None and (share := agreement(trial)) > most:
                best, most = trial, share
    if best is None:
        raise BadInput(
            f"no motion of a camera explains the tracks: fewer than {LEAST} points go through several frames as if they stood "
            "still; track more points of the background, or give --depth maps or a network"
        )
    return _completed(best, keys)


def _pairs(views: Views, keys: Sequence[int]) -> list[tuple[int, int]]:
    """Frames that share many points which differ by more than a turn of the camera; the best pairs, unlike one another."""
    places, found = views.places, []
    some = keys[:: -(-len(keys) // 24)]
    for k, i in enumerate(some):
        for j in some[k + 1 :]:
            both = np.flatnonzero(views.seen[:, i] & views.seen[:, j])
            if len(both) < LEAST:
                continue
            weight = views.weight[both]
            parallax = views.focal * _median(turn_errors(places[both, i], places[both, j], weight, 10 / views.focal), weight)
            found.append((min(parallax, 0.08 * views.focal) * weight.sum(), i, j))
    chosen: list[tuple[int, int]] = []
    apart = max(1, (some[-1] - some[0]) // 6)
    for _, i, j in sorted(found, reverse=True):
        if all(abs(i - a) + abs(j - b) > apart for a, b in chosen):
            chosen.append((i, j))
    return chosen[:PAIRS]


def turn_errors(a: F64, b: F64, weight: F64, scale: float) -> F64:
    """(n,) What a turn of the camera leaves of the differences between places (n, 2) in two views; robust beyond `scale`."""
    a1, b1 = (rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (homogeneous(a), homogeneous(b)))
    counts, error = weight, np.zeros(len(a))
    for _ in range(8):
        u, _, v = np.linalg.svd((b1 * counts[:, None]).T @ a1)
        turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        error = np.linalg.norm(a1 @ turn.T - b1, axis=1)
        counts = weight / (1 + (error / scale) ** 2)
    return error


def _median(values: F64, weight: F64) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _hypotheses(views: Views, i: int, j: int, rng: np.random.Generator) -> list[F64]:
    """Poses of frame j seen from frame i that explain most, each other than those before it."""
    both = np.flatnonzero(views.seen[:, i] & views.seen[:, j])
    a, b, weight = views.places[both, i], views.places[both, j], views.weight[both]
    # The five first of a random order in which heavy points tend to come early (Efraimidis and Spirakis 2006).
    order = np.argsort(rng.exponential(size=(SAMPLES, len(both))) / weight, axis=1)[:, :5]
    essential = five_point(a[order], b[order])
    miss = views.focal * sampson(essential, a, b) / views.within
    score = np.maximum(1 - miss**2, 0) @ weight
    kept: list[int] = []
    for k in np.argsort(-score):
        if len(kept) == HYPOTHESES or score[k] < 0.7 * score.max():
            break
        if all(abs((essential[k] * essential[other]).sum()) < 0.999 for other in kept):
            kept.append(int(k))
    return [_in_front(essential[k], a[miss[k] < 1], b[miss[k] < 1]) for k in kept]


def _in_front(essential: F64, a: F64, b: F64) -> F64:
    """Of the four poses that an essential matrix allows, the one with most points in front of both cameras."""

    def ahead(pose: F64) -> int:
        poses = np.stack([np.eye(3, 4), pose])
        points = triangulate(poses, np.stack([a, b], 1), np.ones((len(a), 2)))
        return int((camera_points(poses, points)[..., 2] * points[:, 3:] > 0).all(1).sum())

    return max(poses_of(essential), key=ahead)


def _trial(views: Views, start: dict[int, F64], frames: Sequence[int]) -> Growing | None:
    n = len(views.xy)
    grown = Growing(views, start, np.zeros((n, 4)), np.zeros(n, bool))
    grown.triangulate()
    for frame in frames:
        if frame not in grown.poses:
            if not grown.place(frame):
                return None
            grown.triangulate()
    return grown


def agreement(trial: Growing) -> float:
    """How much of what is seen in the trial's frames agrees with it, from 0 to 1."""
    here = trial.views.of(list(trial.poses))
    error = np.minimum(trial.bundle.errors(here.xy) / here.within, 1)
    count = here.seen.sum(1)
    share = ((1 - error**2) * here.seen).sum(1) / np.maximum(count, 1)
    weight = here.weight * (count > 2)
    return float(share @ weight / max(weight.sum(), 1e-9))


def _completed(grown: Growing, keys: Sequence[int]) -> Growing:
    grown.adjust()
    adjusted = len(grown.poses)
    while left := [k for k in keys if k not in grown.poses]:
        frame = min(left, key=lambda k: min(abs(k - other) for other in grown.poses))
        if not grown.place(frame):
            raise unplaced(frame)
        grown.triangulate()
        if len(grown.poses) >= 2 * adjusted or len(left) == 1:
            grown.adjust()
            adjusted = len(grown.poses)
    return grown


def unplaced(frame: int) -> BadInput:
    """The one line to say of a frame that has no pose."""
    return BadInput(
        f"the camera of frame {frame} cannot be found: fewer than {LEAST} points that stand still are seen there and in the "
        "frames beside it; track more points of the background, or cut the video there"
    )
