"""Clips of TAPVid-3D (arXiv 2407.05921) as npz files: read, checked and written.

    key                 also as        dtype, shape          what
    tracks_XYZ          tracks_xyz     float (t, n, 3)       metres, in the camera of each frame (x right, y down, z forward)
    visibility          visible        bool (t, n)           True where the point can be seen
    queries_xyt                        float (n, 3)          x, y in raster pixels and number of the frame
    fx_fy_cx_cy         intrinsics     float (4)             pixels of the images, one camera a clip
    extrinsics_w2c                     float (t, 4, 4)       world to camera; pstudio, whose cameras stand still, has none
    images_jpeg_bytes                  bytes (t)             a JPEG a frame; missing in adt and pstudio as they are downloaded

The first column is what the public code reads and writes, the second what its README says; both are read, the first is written.
Predictions are npz files of the same name with `tracks_XYZ` and `visibility`. Depth maps may lie beside a clip, as
`<clip>.depth.npz` with one array `depth` (t, h, w) in metres along the axis of view, 0 or NaN where it is not known: this is
our extension; the benchmark has no depth. Frames are decoded one by one on demand.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import ArrayLike

from tapetum.core.files import whole_file
from tapetum.systems.tapvid3d.folders import DEPTH, SIZES, SOURCES, Source, source_of
from tapetum.systems.tapvid3d.npz import KEY, Damage, Npz, StoredJpegs, decode, jpeg_size

SPELLINGS = {"tracks_XYZ": "tracks_xyz", "visibility": "visible", "fx_fy_cx_cy": "intrinsics"}
"""Keys of the public code, and what its README calls them."""


@dataclass(frozen=True, eq=False)
class Clip3D:
    """One clip with its truth, whose fields have been checked against each other.

    Raises `Damage`, a `BadInput` with the kind of damage, for another shape or dtype, numbers that are not finite (a hidden
    point may have any position), queries at frames that do not exist, and focal lengths that are not positive.
    """

    name: str
    """File name without .npz."""
    tracks_XYZ: Float[np.ndarray, "t n 3"]
    """float64, metres, in the camera of each frame."""
    visibility: Bool[np.ndarray, "t n"]
    queries_xyt: Float[np.ndarray, "n 3"]
    """float64: x, y in raster pixels and frame of the point that is asked for."""
    fx_fy_cx_cy: Float[np.ndarray, "4"]
    """float64, pixels."""
    extrinsics_w2c: Float[np.ndarray, "t 4 4"] | None = None
    """float64: world to camera."""
    images: Sequence[bytes] | None = None
    """t JPEG files, or None where the file came without."""
    size: tuple[int, int] | None = None
    """Height and width of the images; None where there are none and the file's name is none of the official ones."""
    source: Source | None = None
    """adt, drivetrack or pstudio, by the name of the folder or else of the file; None for other clips."""

    def __post_init__(self) -> None:
        tracks, visible = self._array("tracks_XYZ", "t n 3"), np.asarray(self.visibility)
        t, n = tracks.shape[:2]
        if not tracks.size:
            raise Damage("shape", f"{self.name}: tracks_XYZ is {tracks.shape}; a clip has frames and points")
        visible = as_visibility(self.name, visible, (t, n))
        if not np.isfinite(tracks[visible]).all():
            raise Damage("nan", f"{self.name}: tracks_XYZ is NaN or infinite where a point is visible")
        queries, camera = self._array("queries_xyt", "n 3", n=n), self._array("fx_fy_cx_cy", "4")
        poses = None if self.extrinsics_w2c is None else self._array("extrinsics_w2c", "t 4 4", t=t)
        for name, array in (("queries_xyt", queries), ("fx_fy_cx_cy", camera), ("extrinsics_w2c", poses)):
            if array is not None and not np.isfinite(array).all():
                raise Damage("nan", f"{self.name}: {name} holds NaN or infinity")
        frame = np.round(queries[:, 2])
        if ((frame < 0) | (frame >= t)).any():
            worst = queries[np.abs(frame - (t - 1) / 2).argmax(), 2]
            raise Damage("query-frame", f"{self.name}: a query is at frame {worst:g} of a clip of {t} frames (0..{t - 1})")
        if min(camera[:2]) <= 0:
            raise Damage("intrinsics", f"{self.name}: fx_fy_cx_cy is {camera.tolist()}; focal lengths must be more than 0")
        if self.images is not None and len(self.images) != t:
            raise Damage("images", f"{self.name}: {len(self.images)} frames in images_jpeg_bytes, but {t} in tracks_XYZ")
        checked = {"tracks_XYZ": tracks, "visibility": visible, "queries_xyt": queries, "fx_fy_cx_cy": camera}
        for name, array in (checked | {"extrinsics_w2c": poses}).items():
            object.__setattr__(self, name, array)

    @property
    def frames(self) -> int:
        return self.tracks_XYZ.shape[0]

    @property
    def points(self) -> int:
        return self.tracks_XYZ.shape[1]

    def decoded_images(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield the frames one by one, decoded. Raises `Damage` if there are none, or one is not a JPEG of the first one's
        size."""
        if self.images is None:
            raise Damage("images", f"{self.name} has no images_jpeg_bytes; add the frames, as the benchmark's makers do")
        for index, data in enumerate(self.images):
            image = decode(data, f"{self.name}: frame {index}")
            if image.shape[:2] != self.size:
                raise Damage("images", f"{self.name}: frame {index} is {image.shape[:2]}, but the first {self.size}")
            yield image

    def video(self) -> UInt8[np.ndarray, "t h w 3"]:
        """Decode all frames; raises as `images`."""
        images = self.decoded_images()
        first = next(images)
        video = np.empty((self.frames, *first.shape), np.uint8)
        video[0] = first
        for index, image in enumerate(images, 1):
            video[index] = image
        return video

    def _array(self, name: str, shape: str, **sizes: int) -> np.ndarray:
        array, axes = np.asarray(getattr(self, name)), shape.split()
        if array.dtype.kind not in "fiu":
            raise Damage("dtype", f"{self.name}: {name} has dtype {array.dtype}; it must be numbers")
        expected = [int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes]
        if array.ndim != len(expected) or any(w not in (None, have) for w, have in zip(expected, array.shape, strict=True)):
            given = f" with {', '.join(f'{axis} = {size}' for axis, size in sizes.items())}" if sizes else ""
            raise Damage("shape", f"{self.name}: {name} has shape {array.shape}; it must be ({', '.join(axes)}){given}")
        return array.astype(np.float64)


class Prediction3D(NamedTuple):
    tracks_XYZ: Float[np.ndarray, "t n 3"]
    """Metres, or in a scale of its own, in the camera of each frame; numbers that are not finite count as wrong."""
    visibility: Bool[np.ndarray, "t n"]


def read_clip(path: str | os.PathLike[str]) -> Clip3D:
    """Read a clip of the benchmark, or one in its format; frames are read on first access.

    Raises Damage for a file that is missing, truncated, damaged, too large, or not in the format.
    """
    path = Path(path)
    name, parent = path.name.removesuffix(".npz"), path.absolute().parent.name
    source: Source | None = next((known for known in SOURCES if known == parent), None) or source_of(path.name)
    with Npz(path) as file:
        arrays = {key: file.numbers(_spelled(file, key)) for key in (*SPELLINGS, "queries_xyt")}
        poses = file.numbers("extrinsics_w2c") if "extrinsics_w2c" in file.names else None
        official = source_of(path.name)
        images, size = None, None if official is None else SIZES[official]
        if KEY in file.names:
            images = StoredJpegs(path, file)
            size = images.size
    return Clip3D(name, **arrays, extrinsics_w2c=poses, images=images, size=size, source=source)


def read_prediction(path: str | os.PathLike[str]) -> Prediction3D:
    """Read a prediction for a clip. Raises `Damage` as `read_clip`; NaN is accepted, and the metrics count it as wrong."""
    with Npz(path) as file:
        tracks, visible = (file.numbers(_spelled(file, key)) for key in ("tracks_XYZ", "visibility"))
    name = Path(path).name.removesuffix(".npz")
    if tracks.dtype.kind not in "fiu" or tracks.ndim != 3 or tracks.shape[-1] != 3:
        raise Damage("shape", f"{name}: tracks_XYZ is {tracks.dtype} {tracks.shape}; it must be numbers (t, n, 3)")
    return Prediction3D(tracks.astype(np.float64), as_visibility(name, visible, tracks.shape[:2]))


def write_clip(
    path: str | os.PathLike[str],
    *,
    tracks_XYZ: ArrayLike,
    visibility: ArrayLike,
    queries_xyt: ArrayLike,
    fx_fy_cx_cy: ArrayLike,
    images_jpeg_bytes: Sequence[bytes] | None = None,
    extrinsics_w2c: ArrayLike | None = None,
) -> Path:
    """Write a clip like the public code, with frames as byte strings, so that readers need no unpickling.

    The file is written atomically. Raises `Damage` if `read_clip` would, and `BadInput` if it cannot be written.
    """
    path = Path(path)
    name = path.name.removesuffix(".npz")
    size = jpeg_size(images_jpeg_bytes[0], f"{name}: frame 0") if images_jpeg_bytes else None
    fields = {"tracks_XYZ": tracks_XYZ, "visibility": visibility, "queries_xyt": queries_xyt, "fx_fy_cx_cy": fx_fy_cx_cy}
    clip = Clip3D(name, **fields, extrinsics_w2c=extrinsics_w2c, images=images_jpeg_bytes, size=size)  # pyright: ignore
    arrays: dict[str, np.ndarray] = {key: getattr(clip, key) for key in fields}
    if clip.images is not None:
        arrays[KEY] = np.array(list(clip.images))
    if clip.extrinsics_w2c is not None:
        arrays["extrinsics_w2c"] = clip.extrinsics_w2c
    with whole_file(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    return path


def depth_path(clip: str | os.PathLike[str]) -> Path:
    """Get the path of a clip's depth maps.

    >>> depth_path("scenes/scene-00000.npz").name
    'scene-00000.depth.npz'
    """
    return Path(str(clip).removesuffix(".npz") + DEPTH)


def read_depth(path: str | os.PathLike[str], shape: tuple[int, ...]) -> Float[np.ndarray, "t h w"]:
    """Read depth maps (t, h, w) in metres. Raises `Damage` if they are missing, damaged, or of another shape."""
    with Npz(path) as file:
        if "depth" not in file.names:
            raise file.damage("key", f"has no array depth (t, h, w); it holds {_names(file)}")
        depth = file.numbers("depth")
    if depth.shape != shape or depth.dtype.kind != "f":
        raise Damage("shape", f"{path}: depth is {depth.dtype} {depth.shape}; for this clip it must be floats {shape}")
    return depth


def as_visibility(name: str, visible: np.ndarray, shape: tuple[int, ...]) -> Bool[np.ndarray, "t n"]:
    """Convert `visible` to bool of `shape`, if it is bool or 0 and 1; else raises `Damage`."""
    if visible.shape != shape:
        raise Damage("shape", f"{name}: visibility has shape {visible.shape}; with tracks_XYZ {(*shape, 3)} it must be {shape}")
    if visible.dtype.kind not in "biuf" or not (visible.dtype == np.bool_ or np.isin(visible, (0, 1)).all()):
        raise Damage("dtype", f"{name}: visibility is {visible.dtype} with other values than 0 and 1; it must be bool")
    return visible.astype(np.bool_)


def _spelled(file: Npz, key: str) -> str:
    for name in (key, SPELLINGS.get(key, key)):
        if name in file.names:
            return name
    raise file.damage("key", f"has no array {key}; it holds {_names(file)}")


def _names(file: Npz) -> str:
    return ", ".join(sorted(file.names))[:200] or "nothing"
