"""Bundle adjustment: cameras, points and the focal length that jointly explain the observed image positions.

`scipy.optimize.least_squares` minimises the sum of a robust loss, with an analytic sparse Jacobian. Unusual:

- The loss is Cauchy's, s^2/2 log(1 + e^2 / s^2) for an error of e pixels, and enters as errors shortened to its square root
  (Engels, Stewenius and Nister, "Bundle adjustment rules", 2006), so that the solver sees plain least squares. With scipy's
  own robust losses, which scale the Jacobian by their second derivative, it stalls whenever some tracks are grossly wrong.
- Points are homogeneous vectors that move in the tangent of the unit sphere, so that far points, and points that were seen from
  one place only, have no long valley to be lost in.

The seven numbers that images do not determine (the world's origin, orientation and scale) are fixed: one camera stays where it
is, and of another, the one farthest from it, the largest component of the way there.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tapetum.systems.tapvid3d.geometry import F64
from tapetum.systems.tapvid3d.reconstruction.twoview import camera_points, cross, left_jacobian, rotation


@dataclass(frozen=True)
class Bundle:
    """Cameras and points. Of n points in t frames."""

    poses: F64
    """(t, 3, 4): from the world to the camera of each frame."""
    points: F64
    """(n, 4): homogeneous."""
    intrinsics: F64
    """(4,): fx, fy, cx, cy in pixels."""

    def errors(self, xy: F64) -> F64:
        """Compute distances (n, t) in pixels from places xy (n, t, 2) to where the points are; inf where one is behind the
        camera."""
        rays = camera_points(self.poses, self.points)
        z = rays[..., 2:]
        ahead = z * np.where(self.points[:, None, 3:] < 0, -1, 1) > 1e-12
        pixels = rays[..., :2] / np.where(ahead, z, 1) * self.intrinsics[:2] + self.intrinsics[2:]
        return np.where(ahead[..., 0], np.linalg.norm(pixels - xy, axis=-1), np.inf)


@dataclass(frozen=True)
class Problem:
    """Least-squares problem of a bundle: turns a vector of changes into errors and their derivatives.

    The vector: for each frame a rotation vector (after the pose) and a shift, then for each point its three steps in the
    tangent, then the logarithm of the factor of the focal length.
    """

    start: Bundle
    point: np.ndarray
    """(m,) number of the point of each observation."""
    frame: np.ndarray
    """(m,) its frame."""
    xy: F64
    """(m, 2) its place in pixels."""
    free: np.ndarray
    """bool (6 t + 3 n + 1,): which numbers may change."""
    tangents: F64
    """(n, 4, 3)"""
    scale: float
    """s of the loss, in pixels: a larger error is taken for a mistake."""
    focal_prior: float
    """Weight of the logarithm of the focal length's factor as a further error, so that it stays where the motion is silent."""
    log_focal: float = 0.0
    """That logarithm at the start, from where it is expected."""

    def bundle(self, changes: F64) -> Bundle:
        """Apply changes to the bundle, a vector of all free numbers."""
        rotation_vectors, shift, steps, focal = self._parts(changes)
        poses = self.start.poses.copy()
        poses[:, :, :3] = rotation(rotation_vectors) @ poses[:, :, :3]
        poses[:, :, 3] += shift
        points = self.start.points + np.einsum("nij,nj->ni", self.tangents, steps)
        scale = np.exp(focal)
        return Bundle(poses, points, self.start.intrinsics * [scale, scale, 1, 1])

    def errors(self, changes: F64) -> F64:
        """Compute shortened errors of all observations (2 m,), in pixels, then the prior's; half their squares are the loss."""
        error, _ = self._misses(self.bundle(changes))
        shorter, _ = _shortening(error, self.scale)
        prior = self.focal_prior * (self._parts(changes)[3] + self.log_focal)
        return np.append((error * shorter[:, None]).reshape(-1), prior)

    def jacobian(self, changes: F64) -> Any:
        """Compute sparse (2 m + 1, free numbers): derivatives of `errors`."""
        from scipy.sparse import csr_array

        moved = self.bundle(changes)
        error, rays = self._misses(moved)
        poses, points = moved.poses[self.frame], moved.points[self.point]
        by_ray = by_rays(rays, moved.intrinsics)
        by_turn = -cross(rays - poses[:, :, 3] * points[:, 3:]) @ left_jacobian(self._parts(changes)[0])[self.frame]
        rows = np.concatenate(
            [
                by_ray @ by_turn,
                by_ray * points[:, 3, None, None],
                by_ray @ poses @ self.tangents[self.point],
                (error + self.xy - moved.intrinsics[2:])[..., None],
            ],
            axis=2,
        )
        shorter, slope = _shortening(error, self.scale)
        rows = rows * shorter[:, None, None] + (slope[:, None] * error)[..., None] * (error[:, None, :] @ rows)
        places = self._columns()
        kept = np.append(np.repeat(self.free[places], 2, axis=0).reshape(-1), self.free[-1])
        number = np.cumsum(self.free) - 1
        columns = np.append(np.repeat(number[places], 2, axis=0).reshape(-1), number[-1])[kept]
        values = np.append(rows.reshape(-1), self.focal_prior)[kept]
        m = len(self.xy)
        count = np.add.reduceat(kept, np.append(np.arange(2 * m) * 10, 20 * m), dtype=np.int64)
        return csr_array((values, columns, np.append(0, np.cumsum(count))), shape=(2 * m + 1, int(self.free.sum())))

    def _columns(self) -> np.ndarray:
        """(m, 10): the numbers of the vector that each observation depends on."""
        t, n = len(self.start.poses), len(self.start.points)
        camera = 6 * self.frame[:, None] + np.arange(6)
        point = 6 * t + 3 * self.point[:, None] + np.arange(3)
        return np.concatenate([camera, point, np.full((len(self.xy), 1), 6 * t + 3 * n)], axis=1)

    def _parts(self, changes: F64) -> tuple[F64, F64, F64, float]:
        t = len(self.start.poses)
        every = np.zeros(len(self.free))
        every[self.free] = changes
        cameras = every[: 6 * t].reshape(t, 6)
        return cameras[:, :3], cameras[:, 3:], every[6 * t : -1].reshape(-1, 3), float(every[-1])

    def _misses(self, moved: Bundle) -> tuple[F64, F64]:
        """Errors (m, 2) in pixels, and the rays (m, 3) to the points."""
        rays = np.einsum("mij,mj->mi", moved.poses[self.frame], moved.points[self.point])
        return rays[:, :2] / rays[:, 2:] * moved.intrinsics[:2] + moved.intrinsics[2:] - self.xy, rays


def _shortening(error: F64, scale: float) -> tuple[F64, F64]:
    """The factor (m,) that makes the square of an error (m, 2) Cauchy's loss, and its derivative by half the error's square."""
    square = (error**2).sum(1) / scale**2
    small = square < 1e-6
    safe = np.where(small, 1.0, square)
    ratio = np.where(small, 1 - square / 2, np.log1p(safe) / safe)
    slope = np.where(small, -0.5, (1 / (1 + safe) - ratio) / safe)
    factor = np.sqrt(ratio)
    return factor, slope / (factor * scale**2)


def by_rays(rays: F64, intrinsics: F64) -> F64:
    """Compute derivatives (..., 2, 3) of pixels by the rays (..., 3) to their points."""
    z = rays[..., 2:]
    derivatives = np.zeros((*rays.shape[:-1], 2, 3))
    derivatives[..., [0, 1], [0, 1]] = intrinsics[:2] / z
    derivatives[..., 2] = -rays[..., :2] * intrinsics[:2] / z**2
    return derivatives


def tangents_at(points: F64) -> F64:
    """Compute (n, 4, 3): three directions at right angles to each point (n, 4) of unit length and to one another."""
    return np.linalg.svd(points[:, None, :])[2][:, 1:].transpose(0, 2, 1)


def adjust(
    start: Bundle,
    xy: F64,
    visible: np.ndarray,
    *,
    scale: float,
    fixed: tuple[int, int],
    focal_prior: float | None = None,
    log_focal: float = 0.0,
    steps: int = 50,
) -> Bundle:
    """Find the bundle with the least loss, from a nearby start.

    Args:
        xy: (n, t, 2) places in pixels.
        visible: bool (n, t): which of them count.
        scale: pixels beyond which Cauchy's loss takes an error for a mistake.
        fixed: the frame that stays where it is, and the one that keeps the largest component of its way there.
        focal_prior: see `Problem`; None keeps the focal length.
        steps: of the solver, at most.
    """
    from scipy.optimize import least_squares

    point, frame = np.nonzero(visible)
    t, n = len(start.poses), len(start.points)
    free = np.ones(6 * t + 3 * n + 1, bool)
    free[6 * fixed[0] : 6 * fixed[0] + 6] = False
    way = (
        start.poses[fixed[1], :, 3]
        - start.poses[fixed[1], :, :3] @ start.poses[fixed[0], :, :3].T @ start.poses[fixed[0], :, 3]
    )
    free[6 * fixed[1] + 3 + int(abs(way).argmax())] = False
    free[-1] = focal_prior is not None
    start = replace(start, points=start.points / np.linalg.norm(start.points, axis=1, keepdims=True))
    problem = Problem(
        start, point, frame, xy[point, frame], free, tangents_at(start.points), scale, focal_prior or 0.0, log_focal
    )
    nothing = np.zeros(int(free.sum()))
    jac: Any = problem.jacobian  # scipy's types know of names only
    solution = least_squares(problem.errors, nothing, jac, x_scale="jac", tr_solver="lsmr", max_nfev=steps, ftol=1e-6)
    return problem.bundle(solution.x)
