"""Projection of points in metres to pixels and back: a pinhole camera in OpenCV's axes (x right, y down, z forward).

Pixels are raster pixels (x, y), the centre of the top-left one at (0.5, 0.5). Intrinsics are (fx, fy, cx, cy) in these pixels.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]


def project(xyz: ArrayLike, intrinsics: ArrayLike) -> F64:
    """Project pixels (..., 2) of camera points (..., 3); if Z is 0 they are infinite or NaN.

    >>> project([[1.0, 0.5, 2.0]], (100, 100, 64, 32)).tolist()
    [[114.0, 57.0]]
    """
    xyz, k = np.asarray(xyz, np.float64), np.asarray(intrinsics, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return xyz[..., :2] / xyz[..., 2:] * k[..., :2] + k[..., 2:]


def unproject(xy: ArrayLike, depth: ArrayLike, intrinsics: ArrayLike) -> F64:
    """Unproject camera points (..., 3) at pixels (..., 2) with depth Z (...) along the optical axis, in the unit of `depth`.

    >>> unproject([[114.0, 57.0]], [2.0], (100, 100, 64, 32)).tolist()
    [[1.0, 0.5, 2.0]]
    """
    xy, k = np.asarray(xy, np.float64), np.asarray(intrinsics, np.float64)
    z = np.asarray(depth, np.float64)[..., None]
    return np.concatenate([(xy - k[..., 2:]) / k[..., :2] * z, z], -1)


def scaled(intrinsics: ArrayLike, factor: float) -> F64:
    """Scale intrinsics to those of the same camera when its images are resized by `factor`."""
    return np.asarray(intrinsics, np.float64) * factor


def transform(matrix: ArrayLike, xyz: ArrayLike) -> F64:
    """Transform points (..., n, 3) by rigid transforms (..., 4, 4), such as `extrinsics_w2c`."""
    matrix, xyz = np.asarray(matrix, np.float64), np.asarray(xyz, np.float64)
    return xyz @ np.swapaxes(matrix[..., :3, :3], -1, -2) + matrix[..., None, :3, 3]
