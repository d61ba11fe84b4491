"""Dynamic 3D Gaussians (arXiv 2308.09713): reads a fitted scene and renders its depth, in plain numpy.

`params.npz` of JonathonLuiten/Dynamic3DGaussians, for t moments and n Gaussians:

    means3D (t, n, 3)   unnorm_rotations (t, n, 4) as w x y z   log_scales (n, 3)   logit_opacities (n, 1)   seg_colors (n, 3)

where the first of `seg_colors` is above 0.5 for the moving foreground. The renderer follows the formulas of that project's
rasteriser (diff-gaussian-rasterization-w-depth): a Gaussian is an ellipse in the image, widened by 0.3 square pixels;
ellipses are blended from near to far; a contribution under 1/255 does not count, one is at most 0.99, and a pixel that lets
less than 1/10,000 through is done. Depth is the median: that of the Gaussian at which the light falls below a half.

Differs from the rasteriser: no tiles, so an ellipse ends where its contribution does, not at the border of a tile; where
nothing takes half of the light the depth is infinite, not 15; float64. A frame of 640x360 with 300,000 Gaussians takes
about 4 s on one core.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.format.npz import Npz
from tapetum.systems.tapvid3d.geometry import F64, project, transform
from tapetum.systems.tapvid3d.makers.common import I64, Bool, rotations

NEAR = 0.2
"""Metres from the camera's plane within which a Gaussian is not drawn."""
BLUR = 0.3
LEAST, MOST, DONE = 1 / 255, 0.99, 1e-4
ROWS = 16
"""Rows of pixels that are drawn at a time, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A fitted scene."""

    means: F64
    """(t, n, 3) metres in the world."""
    quaternions: F64
    """(t, n, 4) quaternions w, x, y, z, of any length."""
    scales: F64
    """(n, 3) standard deviations along the Gaussian's own axes, in metres."""
    opacity: F64
    """(n,)"""
    foreground: Bool
    """(n,) what moves."""


def read_gaussians(path: Path) -> Gaussians:
    """Read the scene in a `params.npz`. Raises `BadInput` if it is missing, damaged or of other shapes."""
    names = ("means3D", "unnorm_rotations", "log_scales", "logit_opacities", "seg_colors")
    with Npz(path) as file:
        means, quaternions, scales, opacity, colours = (file.numbers(name).astype(np.float64) for name in names)
    t, n = means.shape[:2] if means.ndim == 3 else (0, 0)
    expected = ((t, n, 3), (t, n, 4), (n, 3), (n, 1), (n, 3))
    for name, array, shape in zip(names, (means, quaternions, scales, opacity, colours), expected, strict=True):
        if array.shape != shape or not array.size:
            raise BadInput(f"{path}: {name} is {array.shape}, wanted {shape if t else '(moments, Gaussians, 3)'}; get it again")
        if not np.isfinite(array).all():
            raise BadInput(f"{path}: {name} has a value that is not finite; get the file again")
    return Gaussians(means, quaternions, np.exp(scales), np.exp(-np.logaddexp(0, -opacity[:, 0])), colours[:, 0] > 0.5)


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians as one camera sees them, from near to far."""

    xy: F64
    """(m, 2) raster pixels."""
    depth: F64
    """(m,)"""
    conic: F64
    """(m, 2, 2) inverse covariance in pixels."""
    reach: F64
    """(m, 2) half width and height of the box around what counts."""
    opacity: F64
    foreground: Bool


def splat(scene: Gaussians, moment: int, intrinsics: ArrayLike, w2c: F64, size: tuple[int, int]) -> Splats:
    """Splat the Gaussians of one moment that a camera can see in an image of `size` (height, width); OpenCV's axes."""
    k = np.asarray(intrinsics, np.float64)
    in_camera = transform(w2c, scene.means[moment])
    order = np.flatnonzero((in_camera[:, 2] > NEAR) & (scene.opacity > LEAST))
    order = order[np.argsort(in_camera[order, 2], kind="stable")]
    p, z = in_camera[order], in_camera[order, 2]
    edge = 1.3 * np.array(size[::-1]) / 2 / k[:2]  # beyond this the slope of the projection is that at the edge
    slope = np.clip(p[:, :2] / z[:, None], -edge, edge)
    zero = np.zeros_like(z)
    jacobian = np.stack([k[0] / z, zero, -k[0] * slope[:, 0] / z, zero, k[1] / z, -k[1] * slope[:, 1] / z], 1).reshape(-1, 2, 3)
    axes = jacobian @ w2c[:3, :3] @ (rotations(scene.quaternions[moment, order]) * scene.scales[order][:, None])
    covariance = axes @ axes.swapaxes(1, 2) + BLUR * np.eye(2)
    far = 2 * np.log(scene.opacity[order] / LEAST)
    reach = np.sqrt(far[:, None] * np.diagonal(covariance, axis1=1, axis2=2))
    return Splats(
        project(p, k),
        z,
        np.asarray(np.linalg.inv(covariance), np.float64),
        reach,
        scene.opacity[order],
        scene.foreground[order],
    )


def render(scene: Gaussians, moment: int, intrinsics: ArrayLike, w2c: F64, size: tuple[int, int]) -> tuple[F64, F64]:
    """Render the median depth (h, w) along the optical axis, infinite where there is none, and the fraction (h, w) of the
    foreground."""
    splats = splat(scene, moment, intrinsics, w2c, size)
    h, w = size
    depth, coverage = np.full(h * w, np.inf), np.zeros(h * w)
    for pixel, which, alpha in _touches(splats, size):
        order = np.argsort(pixel, kind="stable")  # keeps near before far
        pixel, which, alpha = pixel[order], which[order], alpha[order]
        through = np.log1p(-alpha)
        after = np.cumsum(through)
        first = np.flatnonzero(np.diff(pixel, prepend=-1))
        start = np.repeat(after[first] - through[first], np.diff(first, append=len(pixel)))
        after = np.exp(after - start)
        before = after / (1 - alpha)
        drawn = after >= DONE
        half = drawn & (before > 0.5) & (after < 0.5)
        depth[pixel[half]] = splats.depth[which[half]]
        light = np.where(drawn & splats.foreground[which], alpha * before, 0)
        coverage += np.bincount(pixel, light, h * w)
    return depth.reshape(size), coverage.reshape(size)


def _touches(splats: Splats, size: tuple[int, int]) -> Iterator[tuple[I64, I64, F64]]:
    """Some rows at a time: pixel, splat and contribution of every pair in which a splat counts, splats from near to far."""
    h, w = size
    left, right = (np.clip(np.ceil(splats.xy[:, 0] + sign * splats.reach[:, 0] - 0.5), 0, w).astype(int) for sign in (-1, 1))
    top, low = (np.clip(np.ceil(splats.xy[:, 1] + sign * splats.reach[:, 1] - 0.5), 0, h).astype(int) for sign in (-1, 1))
    for start in range(0, h, ROWS):
        up, down = np.maximum(top, start), np.minimum(low, min(start + ROWS, h))
        here = np.flatnonzero((up < down) & (left < right))
        wide = right[here] - left[here]
        count = wide * (down[here] - up[here])
        which = np.repeat(here, count)
        place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        x = left[which] + place % np.repeat(wide, count)
        y = up[which] + place // np.repeat(wide, count)
        dx, dy = x + 0.5 - splats.xy[which, 0], y + 0.5 - splats.xy[which, 1]
        conic = splats.conic[which]
        power = conic[:, 0, 0] * dx * dx + 2 * conic[:, 0, 1] * dx * dy + conic[:, 1, 1] * dy * dy
        alpha = np.minimum(MOST, splats.opacity[which] * np.exp(-power / 2))
        counts = alpha >= LEAST
        if counts.any():
            yield (y * w + x)[counts], which[counts], alpha[counts]


def most_influential(scene: Gaussians, moment: int, points: F64) -> I64:
    """Find for each point (n, 3) the Gaussian whose opacity times exp(-d²/2), d the Mahalanobis distance, is largest
    there."""
    rotation = rotations(scene.quaternions[moment])
    opacity = np.log(scene.opacity)
    out = np.empty(len(points), np.int64)
    for number, point in enumerate(points):
        local = np.einsum("nij,ni->nj", rotation, point - scene.means[moment]) / scene.scales
        out[number] = (opacity - (local**2).sum(1) / 2).argmax()
    return out


def carry(scene: Gaussians, gaussian: I64, moment: I64, points: F64) -> F64:
    """Move points (n, 3) in the world, each known at a moment (n,), to all moments (t, n, 3) with their Gaussians (n,)."""
    rotation = rotations(scene.quaternions[:, gaussian])
    number = np.arange(len(points))
    local = np.einsum("nij,ni->nj", rotation[moment, number], points - scene.means[moment, gaussian])
    return np.einsum("tnij,nj->tni", rotation, local) + scene.means[:, gaussian]
