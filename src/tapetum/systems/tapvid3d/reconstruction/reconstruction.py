"""Incremental reconstruction: frames get poses one after the other, points follow from the frames, both are adjusted.

`incremental` says in which order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from tapetum.systems.tapvid3d.geometry import F64
from tapetum.systems.tapvid3d.reconstruction.bundle import Bundle, adjust, by_rays
from tapetum.systems.tapvid3d.reconstruction.twoview import cross, rotation, triangulate

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
        """Triangulate points anew from all frames placed so far."""
        here, poses = self.views.of(list(self.poses)), np.stack(list(self.poses.values()))
        self.points, error = settled(poses, here, rounds)
        count = here.visible.sum(1)
        self.still = ((error < 2 * here.within) & here.visible).sum(1) >= np.maximum(AGREES * count, 2)

    def place(self, frame: int) -> bool:
        """Estimate the pose of one more frame; False where too few still points are seen in it."""
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
    """Find where cameras (t, 3, 4) stand in the world (t, 3)."""
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
