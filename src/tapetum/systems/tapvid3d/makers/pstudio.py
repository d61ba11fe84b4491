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
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes, read_json
from tapetum.systems.tapvid3d.format.npz import Npz
from tapetum.systems.tapvid3d.geometry import F64, transform, unproject
from tapetum.systems.tapvid3d.makers.common import (
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
)
from tapetum.systems.tapvid3d.makers.gaussians import Gaussians, carry, most_influential, read_gaussians, render

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
