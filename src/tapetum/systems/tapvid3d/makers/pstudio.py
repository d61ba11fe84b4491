"""TAPVid-3D from Panoptic Studio: points on people and things, carried by Dynamic 3D Gaussians fitted to many cameras.

    render (depth, foreground) -> seeds -> attach (to a Gaussian) -> carry -> visible (depth test) -> queries

RAW is the folder in which Dynamic 3D Gaussians works, with data.zip and output.zip of that project unpacked:

    RAW/data/SEQUENCE/train_meta.json           w, h; k (3, 3), w2c (4, 4) and the image's file fn, by moment and camera
    RAW/data/SEQUENCE/ims/CAMERA/000000.jpg ...
    RAW/output/EXPERIMENT/SEQUENCE/params.npz

The method is recalled, not verified: the generator was never published (issues 126 and 142 of google-deepmind/tapnet), and
this does not claim to reproduce the benchmark's tracks. Recalled: a pixel is lifted by the rendered depth, belongs to the
most influential Gaussian and moves with it; visibility compares the point's depth with the rendered one; the moving
foreground is preferred. Ours: seeds lie on the foreground only, 256 of them (a published file has 161 tracks), and the
tolerance is 5 cm. That a clip is a whole sequence (150 frames) of one training camera, and that its images come from
`ims`, is public.

A fitted scene (Dynamic 3D Gaussians, arXiv 2308.09713) is read and its depth rendered in plain numpy. `params.npz` of
JonathonLuiten/Dynamic3DGaussians, for t moments and n Gaussians:

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
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes, read_json
from tapetum.systems.tapvid3d.geometry import F64, project, transform, unproject
from tapetum.systems.tapvid3d.makers.common import (
    I64,
    Arrays,
    Bool,
    ClipJob,
    annotated_jobs,
    clip_arrays,
    depth_test,
    fails,
    generator,
    is_rigid,
    pixel_centres,
    rotations,
)
from tapetum.systems.tapvid3d.npz import Npz

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


TRACKS = 256
TOLERANCE = 0.05
"""Metres by which a visible point may lie before or behind the rendered depth."""


@dataclass(frozen=True, eq=False)
class PanopticCamera:
    """One training camera, which stands still."""

    name: str
    intrinsics: F64
    """fx, fy, cx, cy in raster pixels."""
    w2c: F64
    """(4, 4) from the world to the camera."""
    size: tuple[int, int]
    """Height and width."""


def read_cameras(path: Path) -> list[PanopticCamera]:
    """Read the cameras of a `train_meta.json`, by the folder of their images. Raises `BadInput` if it is damaged."""
    try:
        meta = read_json(path)
        size = int(meta["h"]), int(meta["w"])
        k, w2c = np.array(meta["k"], np.float64), np.array(meta["w2c"], np.float64)
        names = [str(name).split("/")[0] for name in meta["fn"][0]]
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror}); unpack data.zip of Dynamic 3D Gaussians there") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(f"{path} is damaged ({error}); get it again from data.zip of Dynamic 3D Gaussians") from error
    t, c = len(meta["fn"]), len(names)
    if k.shape != (t, c, 3, 3) or w2c.shape != (t, c, 4, 4):
        raise BadInput(
            f"{path}: k is {k.shape} and w2c {w2c.shape}, wanted ({t}, {c}, 3, 3) and ({t}, {c}, 4, 4); get it again"
        )
    if not (is_rigid(w2c) and np.isfinite(k).all()):
        raise BadInput(
            f"{path}: a w2c is no pose, or a number is not finite; get it again from data.zip of Dynamic 3D Gaussians"
        )
    if (k != k[0]).any() or (w2c != w2c[0]).any():
        raise BadInput(f"{path}: a camera moves; the cameras of Panoptic Studio stand still")
    return [
        PanopticCamera(name, np.array([k[0, i, 0, 0], k[0, i, 1, 1], k[0, i, 0, 2], k[0, i, 1, 2]]), w2c[0, i], size)
        for i, name in enumerate(names)
    ]


def read_images(sequence: Path, camera: str) -> list[bytes]:
    """Read the JPEGs of one camera as they are (the public build encodes them again). Raises `BadInput` if there are none."""
    files = sorted((sequence / "ims" / camera).glob("*.jpg"))
    if not files:
        raise BadInput(f"{sequence / 'ims' / camera} has no .jpg; unpack data.zip of Dynamic 3D Gaussians there")
    return [read_bytes(file) for file in files]


@dataclass(frozen=True, eq=False)
class RenderedView:
    """View of the Gaussians by one camera."""

    depth: F64
    """(t, h, w) metres along the axis of view, infinite where nothing is."""
    foreground: Bool
    """(t, h, w)"""


def look(scene: Gaussians, camera: PanopticCamera) -> RenderedView:
    """Render depth and foreground at all moments; this is most of the work."""
    pairs = [render(scene, moment, camera.intrinsics, camera.w2c, camera.size) for moment in range(len(scene.means))]
    return RenderedView(np.stack([depth for depth, _ in pairs]), np.stack([coverage > 0.5 for _, coverage in pairs]))


def follow(queries: F64, scene: Gaussians, camera: PanopticCamera, view: RenderedView) -> F64:
    """Follow tracks (t, n, 3) in the camera, of the surfaces at queries (n, 3) as (x, y, t), where there must be a depth."""
    moment = queries[:, 2].astype(int)
    column, row = np.floor(queries[:, :2]).astype(int).T
    world_from_camera = np.linalg.inv(camera.w2c)
    points = transform(world_from_camera, unproject(queries[:, :2], view.depth[moment, row, column], camera.intrinsics))
    gaussian = np.empty(len(queries), np.int64)
    for t in np.unique(moment):
        here = moment == t
        gaussian[here] = most_influential(scene, int(t), points[here])
    return transform(camera.w2c, carry(scene, gaussian, moment, points))


def visible(tracks: F64, camera: PanopticCamera, view: RenderedView) -> Bool:
    """Compute (t, n): in the image and within 5 cm of the rendered depth."""
    return depth_test(tracks, list(view.depth), camera.intrinsics, TOLERANCE)


def make_clip(
    scene: Gaussians, camera: PanopticCamera, images: list[bytes], rng: np.random.Generator, n: int = TRACKS
) -> Arrays:
    """Make the arrays of one file of the benchmark, which has no extrinsics: the camera stands still."""
    if len(images) != len(scene.means):
        raise BadInput(
            f"camera {camera.name} has {len(images)} images, but params.npz {len(scene.means)} moments; get both again"
        )
    view = look(scene, camera)
    tracks = follow(pixel_centres(view.foreground & np.isfinite(view.depth), n, rng), scene, camera, view)
    return clip_arrays(images, tracks, visible(tracks, camera, view), camera.intrinsics, rng)


def add_images(annotations: Arrays, images: list[bytes]) -> Arrays:
    """Add a downloaded annotation with its images. Raises `BadInput` if their number differs from that of its frames."""
    if len(images) != len(annotations["visibility"]):
        raise BadInput(f"there are {len(images)} images, but the annotation has {len(annotations['visibility'])} frames")
    return {"images_jpeg_bytes": images, **annotations}


def jobs(raw: Path, *, seed: int = 0, tracks: int = TRACKS, experiment: str = "pretrained") -> Iterator[ClipJob]:
    """Yield every training camera of every sequence in RAW/data. Raises `BadInput` where there is none."""
    sequences = sorted(path.parent for path in raw.glob("data/*/train_meta.json"))
    if not sequences:
        raise BadInput(f"{raw} has no data/SEQUENCE/train_meta.json; unpack data.zip of Dynamic 3D Gaussians there")
    for folder in sequences:
        try:
            scene = read_gaussians(raw / "output" / experiment / folder.name / "params.npz")
            cameras = read_cameras(folder / "train_meta.json")
        except BadInput as error:
            yield fails(folder.name, error)
            continue
        for camera in cameras:
            name = f"{folder.name}_{camera.name}"
            yield ClipJob(name, partial(_job, scene, camera, folder, generator(seed, name), tracks))


def _job(scene: Gaussians, camera: PanopticCamera, folder: Path, rng: np.random.Generator, tracks: int) -> Arrays:
    return make_clip(scene, camera, read_images(folder, camera.name), rng, tracks)


def annotated(raw: Path, annotations: Path) -> Iterator[ClipJob]:
    """List the clips of a folder of downloaded annotations, with the images of RAW/data."""
    return annotated_jobs("pstudio", annotations, partial(_annotated, raw))


def _annotated(raw: Path, path: Path) -> Arrays:
    sequence, _, camera = path.stem.rpartition("_")
    with Npz(path) as file:
        names = ("queries_xyt", "tracks_XYZ", "visibility", "fx_fy_cx_cy")
        content: Arrays = {name: file.numbers(name) for name in names}
    return add_images(content, read_images(raw / "data" / sequence, camera))
