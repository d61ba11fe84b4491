"""ModelNet40: meshes in OFF files and points on them, and clouds of points as PointNet's and PointNet++'s authors published it.

    modelnet40_normal_resampled   modelnet40_shape_names.txt, modelnet40_train.txt, modelnet40_test.txt; 10,000 lines
                                  x,y,z,nx,ny,nz in airplane/airplane_0001.txt and so on
    modelnet40_ply_hdf5_2048      shape_names.txt, train_files.txt, test_files.txt; data (n, 2048, 3) and label (n, 1) in
                                  ply_data_train0.h5 and so on

Their second axis points up; in the meshes that they were sampled from, the third does. Normals are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import no_pipe, read_bytes
from tapetum.data.entries import Listing, Split, text_of
from tapetum.data.files import Files, StoredFile, stored_file

MAX_POINTS = 5_000_000
"""Vertices or faces in a mesh beyond which it is refused."""
_UP = 1
_PARTS = {"train": "train", "val": "test"}
_TEXT, _HDF5 = "modelnet40_shape_names.txt", "train_files.txt"
"""Files by which the layouts are recognised."""


def read_off(content: Path | bytes, name: str) -> tuple[Float32[np.ndarray, "v 3"], np.ndarray]:
    """Read vertices and triangles (f, 3) of a mesh in an OFF file; faces of more corners are cut into fans.

    ModelNet40 has files in which the numbers follow the word OFF on the same line. Raises BadInput for anything else.
    """
    try:
        data = content if isinstance(content, bytes) else read_bytes(content)
        words = data.split()
        if words[0][:3] != b"OFF":
            raise ValueError("it does not begin with OFF")
        words = ([words[0][3:]] if len(words[0]) > 3 else []) + words[1:]
        v, f = int(words[0]), int(words[1])
        if not (0 < v <= MAX_POINTS and 0 < f <= MAX_POINTS):
            raise ValueError(f"it states {v} vertices and {f} faces; from 1 to {MAX_POINTS} are read")
        vertices = np.array(words[3 : 3 + 3 * v], np.float32).reshape(v, 3)
        rest, at, triangles = words[3 + 3 * v :], 0, []
        for _ in range(f):
            corners = int(rest[at])
            face = [int(word) for word in rest[at + 1 : at + 1 + corners]]
            if len(face) != corners or not all(0 <= c < v for c in face):
                raise ValueError("a face has corners that are not there")
            triangles += [(face[0], face[i], face[i + 1]) for i in range(1, corners - 1)]
            at += 1 + corners
        if not triangles or not np.isfinite(vertices).all():
            raise ValueError("it has no faces, or vertices that are not finite")
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {name}; copy the data again") from error
    except (ValueError, IndexError) as error:
        raise BadInput(f"{name} is not a whole OFF file of a mesh ({str(error)[:100]}); copy it again") from error
    return vertices, np.array(triangles)


def on_surface(
    vertices: Float32[np.ndarray, "v 3"], faces: np.ndarray, count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "n 3"]:
    """Draw `count` random points of the triangles, evenly by area."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total = areas.sum()
    chosen = rng.choice(len(faces), count, p=areas / total if total > 0 else None)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return (a[chosen] + u * (b[chosen] - a[chosen]) + v * (c[chosen] - a[chosen])).astype(np.float32)


def normalise_points(points: Float32[np.ndarray, "n 3"], up: int) -> Float32[np.ndarray, "n 3"]:
    """Move points about the middle of their box, scale them into the unit ball, and order them along axis `up`."""
    points = points - (points.min(0) + points.max(0)) / 2
    points /= max(float(np.linalg.norm(points, axis=1).max()), 1e-9)
    return points[np.argsort(points[:, up], kind="stable")].astype(np.float32)


def is_point_cloud_folder(place: Path) -> bool:
    """Check whether a folder has ModelNet40 as clouds of points."""
    return any((place / name).is_file() for name in (_TEXT, _HDF5))


def list_point_clouds(place: Path, split: Split) -> Listing:
    """List the clouds of a split. Raises BadInput where the folder is not as above, MissingExtra for HDF5 without h5py."""
    return (_list_texts if (place / _TEXT).is_file() else _list_hdf5)(place, split)


@dataclass(frozen=True)
class CloudFiles:
    """Points of clouds, scaled into the unit ball; in a fixed order: by height.

    A showing for training draws `count` of a cloud's points, all others take its first.
    """

    files: Files
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Compute the shape of all point clouds, (N, n, 3)."""
        return len(self.files), self.count, 3

    def read(self, k: int, rng: np.random.Generator | None) -> Float32[np.ndarray, "n 3"]:
        """Read cloud k. Raises BadInput for a file that is none, or with fewer points."""
        file = self.files[k]
        points = _text_points(file) if file.name.endswith(".txt") else np.frombuffer(_content(file), np.float32).reshape(-1, 3)
        if len(points) < self.count:
            raise BadInput(f"{file.name} has {len(points)} points and {self.count} are wanted; give --points {len(points)}")
        if not np.isfinite(points).all():
            raise BadInput(f"{file.name} has points that are not finite; copy it again")
        chosen = np.arange(self.count) if rng is None else rng.choice(len(points), self.count, replace=False)
        return normalise_points(points[chosen].astype(np.float32), _UP)


def _content(file: StoredFile) -> bytes:
    return file.content if isinstance(file.content, bytes) else read_bytes(file.content)


def _text_points(file: StoredFile) -> np.ndarray:
    """Read the first three of the numbers of each line."""
    try:
        rows = [line.split(b",") for line in _content(file).splitlines() if line.strip()]
        points = np.array([row[:3] for row in rows], np.float32)
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {file.name}; copy the data again") from error
    except ValueError as error:
        raise BadInput(f"{file.name} is no cloud of points ({str(error)[:100]}); copy it again") from error
    if points.ndim != 2 or points.shape[1] != 3:
        raise BadInput(f"{file.name} is no cloud of points: a line has x,y,z,nx,ny,nz; copy it again")
    return points


def _list_texts(place: Path, split: Split) -> Listing:
    classes = tuple(text_of(place / _TEXT).split())
    names = text_of(place / f"modelnet40_{_PARTS[split]}.txt").split()
    number = {name: k for k, name in enumerate(classes)}
    kinds = [name.rpartition("_")[0] for name in names]  # night_stand_0001 is a night_stand
    unknown = [name for name, kind in zip(names, kinds, strict=True) if kind not in number]
    if unknown or not names:
        raise BadInput(
            f"{place} lists {unknown[0] if unknown else 'nothing'}, and has the classes {', '.join(classes[:3])} ...; "
            "copy it again"
        )
    files = [stored_file(place / kind / f"{name}.txt") for name, kind in zip(names, kinds, strict=True)]
    return Listing({"cloud": files}, np.array([number[kind] for kind in kinds]), classes, "class")


@dataclass(frozen=True)
class _Rows:
    """Clouds in HDF5 files, by number through all of them, each as the bytes of its float32 coordinates."""

    places: Sequence[Path]
    counts: Sequence[int]

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, k: int) -> StoredFile:
        file = 0
        while k >= self.counts[file]:
            k, file = k - self.counts[file], file + 1
        with _open_hdf5(self.places[file]) as opened:
            return StoredFile(f"{self.places[file]}, cloud {k}", np.asarray(opened["data"][k], np.float32).tobytes())


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "tables", "reading ModelNet40's HDF5 files") from error
    try:
        return h5py.File(no_pipe(path), "r")
    except OSError as error:
        raise BadInput(f"{path} cannot be read as HDF5 ({str(error)[:100]}); copy it again") from error


def _list_hdf5(place: Path, split: Split) -> Listing:
    classes = tuple(text_of(place / "shape_names.txt").split())
    lines = text_of(place / f"{_PARTS[split]}_files.txt").split()
    places = [place / Path(line).name for line in lines]  # they are written as data/modelnet40_ply_hdf5_2048/NAME.h5
    labels = [_labels(path, len(classes)) for path in places]
    if not labels:
        raise BadInput(f"{place} lists no files to {split}; copy it again")
    return Listing({"cloud": _Rows(places, [len(each) for each in labels])}, np.concatenate(labels), classes, "class")


def _labels(path: Path, classes: int) -> np.ndarray:
    """Read the labels of a file, and check that there is a cloud for each."""
    with _open_hdf5(path) as opened:
        missing = [name for name in ("data", "label") if name not in opened]
        if missing:
            raise BadInput(f"{path} has no {missing[0]}; give ModelNet40's ply_data_*.h5 files")
        shape, labels = opened["data"].shape, np.asarray(opened["label"]).reshape(-1)
        if len(shape) != 3 or shape[2] != 3 or len(labels) != shape[0] or not np.issubdtype(labels.dtype, np.integer):
            raise BadInput(f"{path} has data {shape} and {len(labels)} labels; wanted (n, points, 3) and n whole numbers")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise BadInput(f"{path} has labels up to {labels.max()}, and shape_names.txt names {classes} classes; copy both")
    return labels.astype(np.int64)
