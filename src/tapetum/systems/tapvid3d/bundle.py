"""Geometry of views: relative pose of two cameras, points triangulated from several, and bundle adjustment.

Relative pose by the five-point method (Nister 2004) in the form that Stewenius, Engels and Nister gave it ("Recent
developments on direct relative orientation", 2006): it holds for flat scenes too, where eight points or more determine
nothing. Places are normalised camera coordinates (x / z, y / z).

A point is a homogeneous vector (X, Y, Z, w) of any length, so that one at infinity, or one whose distance cannot be told, is a
point like any other. The depth in a camera with the pose [R | t] is that of (R X + w t) / w.

Bundle adjustment finds cameras, points and the focal length that jointly explain the observed image positions:
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
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from tapetum.systems.tapvid3d.geometry import F64


def cross(v: F64) -> F64:
    """Compute the matrices (..., 3, 3) that multiply as the cross product with v (..., 3)."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


def rotation(vector: F64) -> F64:
    """Compute the matrices (..., 3, 3) that rotate about vectors (..., 3) by their length in radians (Rodrigues)."""
    angle, matrix = _angle(vector), cross(vector)
    return np.eye(3) + np.sinc(angle / np.pi) * matrix + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (matrix @ matrix)


def left_jacobian(vector: F64) -> F64:
    """Compute J (..., 3, 3) with rotation(vector + d) = rotation(J d) rotation(vector) to first order in d."""
    angle, matrix = _angle(vector), cross(vector)
    small = angle < 1e-2
    safe = np.where(small, 1.0, angle)
    third = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    return np.eye(3) + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * matrix + third * (matrix @ matrix)


def _angle(vector: F64) -> F64:
    return np.linalg.norm(vector, axis=-1)[..., None, None]


_CUBIC = sorted(combinations_with_replacement(range(4), 3), key=lambda m: (3 in m, m[1] == 3, m))
"""The 20 monomials in x, y, z and 1 (number 3) up to degree 3: the ten of degree 3, then x2 xy xz y2 yz z2, x y z, 1."""
_OF = np.zeros((64, 20))
for _a, _b, _c in np.ndindex(4, 4, 4):
    _OF[16 * _a + 4 * _b + _c, _CUBIC.index(tuple(sorted((_a, _b, _c))))] = 1
_LEVI_CIVITA = np.zeros((3, 3, 3))
for _k, (_a, _b, _c) in enumerate([(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)]):
    _LEVI_CIVITA[_a, _b, _c] = 1 if _k < 3 else -1


def five_point(a: F64, b: F64) -> F64:
    """Compute essential matrices (k, 3, 3), of which b E a = 0, for samples (s, 5, 2) of places in two views; up to ten for
    each."""
    a1, b1 = homogeneous(a), homogeneous(b)
    rows = (b1[..., :, None] * a1[..., None, :]).reshape(-1, 5, 9)
    basis = np.linalg.svd(rows)[2][:, 5:].reshape(-1, 4, 3, 3)
    e = basis.transpose(0, 2, 3, 1)  # each entry of E as a polynomial: factors of x, y, z, 1
    square = np.einsum("sijp,skjq->sikpq", e, e)
    trace = np.einsum("siipq->spq", square)
    cubic = 2 * np.einsum("sikpq,skjr->sijpqr", square, e) - np.einsum("spq,sijr->sijpqr", trace, e)
    determinant = np.einsum("ijk,sip,sjq,skr->spqr", _LEVI_CIVITA, e[:, 0], e[:, 1], e[:, 2], optimize=True)
    equations = np.concatenate([cubic.reshape(-1, 9, 64), determinant.reshape(-1, 1, 64)], 1) @ _OF
    reduced = np.linalg.pinv(equations[..., :10]) @ equations[..., 10:]
    times_x = np.zeros((len(e), 10, 10))  # of the monomials of degree 2 and less, modulo the equations
    times_x[:, :6] = -reduced[:, :6]
    times_x[:, [6, 7, 8, 9], [0, 1, 2, 6]] = 1
    values, vectors = (np.asarray(part, np.complex128) for part in np.linalg.eig(times_x))
    sample, root = np.nonzero(abs(values.imag) < 1e-8 + 1e-6 * abs(values.real))
    solved = vectors[sample, :, root].real
    with np.errstate(divide="ignore", invalid="ignore"):
        xyz1 = solved[:, 6:] / solved[:, 9:]
    essential = np.einsum("kp,kpij->kij", xyz1, basis[sample])
    essential = essential[np.isfinite(essential).all((1, 2))]
    return essential / np.linalg.norm(essential, axis=(1, 2), keepdims=True)


def homogeneous(xy: F64) -> F64:
    """Compute rays (..., 3) through places (..., 2)."""
    return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)


def sampson(essential: F64, a: F64, b: F64) -> F64:
    """Measure how far (k, n) places a, b (n, 2) of two views are from obeying essential matrices (k, 3, 3), to first order."""
    a1, b1 = homogeneous(a), homogeneous(b)
    ea, eb = np.einsum("kij,nj->kni", essential, a1), np.einsum("kij,ni->knj", essential, b1)
    square = (ea[..., :2] ** 2).sum(-1) + (eb[..., :2] ** 2).sum(-1)
    return abs(np.einsum("kni,ni->kn", ea, b1)) / np.sqrt(np.maximum(square, 1e-30))


def refined(essential: F64, a: F64, b: F64, weight: F64, scale: float) -> F64:
    """Refine essential matrices (k, 3, 3) towards the least Cauchy loss of Sampson's distances, by Gauss-Newton.

    Places a, b (n, 2) count with their weights (n,), and `scale` is that of the loss. Matrices made of five noisy points each
    gain a great deal by it.
    """
    u, v = _oriented(essential)
    r, way = u @ _QUARTER @ v, u[:, :, 2]
    a1, b1 = homogeneous(a), homogeneous(b)
    for _ in range(10):
        e = cross(way) @ r
        ea, eb = a1 @ e.transpose(0, 2, 1), b1 @ e
        length = np.sqrt(np.maximum((ea[..., :2] ** 2).sum(-1) + (eb[..., :2] ** 2).sum(-1), 1e-30))
        error = (ea * b1).sum(-1) / length
        sideways = np.linalg.svd(way[:, None])[2][:, 1:]
        slopes = np.concatenate([(cross(way)[:, None] @ cross(np.eye(3))) @ r[:, None], cross(sideways) @ r[:, None]], 1)
        jacobian = ((a1 @ slopes.transpose(0, 1, 3, 2)) * b1).sum(-1) / length[:, None]
        weighted = jacobian * (weight / (1 + (error / scale) ** 2))[:, None]
        normal = weighted @ jacobian.transpose(0, 2, 1)
        damping = 1e-6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(5) + 1e-12 * np.eye(5)
        step = np.linalg.solve(normal + damping, -weighted @ error[..., None])[..., 0]
        r = rotation(step[:, :3]) @ r
        way = way + np.einsum("ki,kij->kj", step[:, 3:], sideways)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
    return cross(way) @ r / np.sqrt(2)


def poses_of(essential: F64) -> F64:
    """Compute the four poses (4, 3, 4) of the second camera, from the first, that one essential matrix allows; |t| is 1."""
    (u,), (v,) = _oriented(essential[None])
    return np.stack([np.column_stack([u @ q @ v, t]) for q in (_QUARTER, _QUARTER.T) for t in (u[:, 2], -u[:, 2])])


_QUARTER = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])


def _oriented(essential: F64) -> tuple[F64, F64]:
    """U and V of the singular values, as rotations."""
    u, _, v = np.linalg.svd(essential)
    return u * np.linalg.det(u)[:, None, None], v * np.linalg.det(v)[:, None, None]


def poses_of_plane(homography: F64) -> F64:
    """Compute the two poses (2, 3, 4) of the second camera that a homography between places allows, |t| in distances of the
    plane.

    Ma, Soatto, Kosecka and Sastry, "An invitation to 3-D vision" (2004), section 5.3.3. None (0, 3, 4) where it is but a turn.
    """
    h = homography / np.linalg.svd(homography)[1][1]
    h = h * np.sign(np.linalg.det(h))
    _, values, v = np.linalg.svd(h)
    v = v * np.linalg.det(v)
    most, least = values[0] ** 2, values[2] ** 2
    if most - least < 1e-9:
        return np.zeros((0, 3, 4))
    poses = []
    for sign in (1, -1):
        u = (np.sqrt(max(1 - least, 0)) * v[0] + sign * np.sqrt(max(most - 1, 0)) * v[2]) / np.sqrt(most - least)
        normal = np.cross(v[1], u)
        hv, hu = h @ v[1], h @ u
        r = np.column_stack([hv, hu, np.cross(hv, hu)]) @ np.stack([v[1], u, normal])
        poses.append(np.column_stack([r, (h - r) @ normal * np.copysign(1, normal[2])]))
    return np.stack(poses)


def triangulate(poses: F64, places: F64, weight: F64) -> F64:
    """Triangulate homogeneous points (n, 4) of unit length from places (n, t, 2) in cameras with poses (t, 3, 4).

    Each place counts with its weight (n, t). The sum of squares is algebraic at first, then, made again with the depths found,
    nearly that of the errors in the image. The points lie in front of most cameras, if need be beyond infinity (w < 0).
    """
    rows = places[..., None] * poses[None, :, 2:] - poses[None, :, :2]
    scale = weight
    points = np.zeros((len(places), 4))
    for _ in range(2):
        normal = np.einsum("nt,ntai,ntaj->nij", scale, rows, rows, optimize=True)
        normal[:, 3, 3] += 1e-12 * np.trace(normal, axis1=1, axis2=2)  # of one ray, its end and not the camera
        points = np.linalg.eigh(normal)[1][..., 0]
        depth = points @ poses[:, 2].T
        scale = weight / np.maximum(depth**2, 1e-12)
    points *= np.where((np.sign(depth) * weight).sum(1) < 0, -1, 1)[:, None]
    return points


def camera_points(poses: F64, points: F64) -> F64:
    """Compute rays (n, t, 3) from cameras with poses (t, 3, 4) to homogeneous points (n, 4); divided by w, the points
    themselves."""
    return np.einsum("tij,nj->nti", poses, points)


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
