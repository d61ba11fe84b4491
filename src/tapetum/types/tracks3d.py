"""Tracks3D: where each queried point is in each frame, in space and in the image.

Plain numpy, no torch. Positions are in the camera of each frame (x right, y down, z forward), as in TAPVid-3D; with
`extrinsics_w2c` they are also available in the world. Pixels and times are as in `Tracks`.

Two formats by file extension: `npz` (arrays by field name) and `csv` (a row per point and frame; values of the query, the
frame or the camera are repeated, so that the table needs no second file). Both restore exactly what was saved.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.tables import Formats, from_csv, from_npz, load, save, to_csv, to_npz
from tapetum.types.checks import finite
from tapetum.types.tracks import EXACT, Tracks, columns_of, fields_of, tabulated

CAMERA = ("cam_x", "cam_y", "cam_z")
"""Columns of the csv table with the position in the camera of the frame; others are those of `Tracks`."""
INTRINSICS = ("fx", "fy", "cx", "cy")
POSE = tuple(f"w2c_{row}{column}" for row in range(3) for column in range(4))
"""The upper three rows of the frame's extrinsics; these columns are left out where the tracks have none."""
_EXACT: dict[str, type] = {**EXACT, "metric": np.int64} | dict.fromkeys((*INTRINSICS, *POSE), np.float64)

_FLAT = ("xy", "visible", "confidence", "queries", "times", "numbers", "names")
"""What is as in `Tracks`."""


@dataclass(frozen=True, eq=False)
class Tracks3D:
    """Tracks of n points through t frames, in space.

    Lists and other number types are converted; a wrong shape or a number that is not finite raises `BadInput`.

    >>> tracks = Tracks3D(xyz=[[[0, 0, 2.0]]], xy=[[[32, 24]]], visible=[[True]], confidence=[[0.9]], queries=[[0, 32, 24]],
    ...                   intrinsics=(100, 100, 32, 24), metric=True)
    >>> tracks.points, tracks.frames, tracks.xyz.dtype.name
    (1, 1, 'float32')
    """

    xyz: np.ndarray
    """float32 (n, t, 3): X, Y, Z in the frame's camera; a guess where the point is not visible. See `metric` for the unit."""
    xy: np.ndarray
    """float32 (n, t, 2): x, y in raster pixels, as the tracker saw it in the image."""
    visible: np.ndarray
    """bool (n, t): the point can be seen and its place in the image is trusted."""
    confidence: np.ndarray
    """float32 (n, t): 0..1, the chance that the point is visible and its place in the image right."""
    queries: np.ndarray
    """float32 (n, 3): frame, x, y of the point that was asked for."""
    intrinsics: np.ndarray
    """float64 (4,): fx, fy, cx, cy in pixels."""
    metric: bool
    """True: xyz is in metres. False: in an unknown unit, the same for all points and frames."""
    extrinsics_w2c: np.ndarray | None = None
    """float64 (t, 4, 4): from the world to the camera of each frame, in the unit of xyz; None where nobody knows."""
    times: np.ndarray | None = None
    """float64 (t,): seconds of each frame, as in `Tracks`."""
    numbers: np.ndarray | None = None
    """int64 (t,): number of each frame in its video, as in `Tracks`."""
    names: tuple[str, ...] | None = None
    """What each point is called, as in `Tracks`."""

    def __post_init__(self) -> None:
        flat = Tracks(**{name: getattr(self, name) for name in _FLAT})
        shape = flat.points, flat.frames
        arrays = {
            "xyz": finite("Tracks3D", "xyz", self.xyz, (*shape, 3), np.float32),
            "intrinsics": finite("Tracks3D", "intrinsics", self.intrinsics, (4,), np.float64),
        }
        if self.extrinsics_w2c is not None:
            arrays["extrinsics_w2c"] = poses = finite(
                "Tracks3D", "extrinsics_w2c", self.extrinsics_w2c, (shape[1], 4, 4), np.float64
            )
            if (poses[:, 3] != (0, 0, 0, 1)).any():
                raise BadInput("extrinsics_w2c of Tracks3D are not poses: the last row of each must be 0, 0, 0, 1")
        if (arrays["intrinsics"][:2] <= 0).any():
            raise BadInput(f"intrinsics of Tracks3D are {arrays['intrinsics'].tolist()}; give fx, fy above 0, then cx, cy")
        if self.metric not in (True, False):
            raise BadInput(f"metric of Tracks3D is {self.metric!r}; give True (metres) or False (unknown unit)")
        for name in _FLAT:
            object.__setattr__(self, name, getattr(flat, name))
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        object.__setattr__(self, "metric", bool(self.metric))

    @property
    def points(self) -> int:
        return self.xyz.shape[0]

    @property
    def frames(self) -> int:
        return self.xyz.shape[1]

    @property
    def world(self) -> np.ndarray:
        """Compute the positions in the world, float64 (n, t, 3); without extrinsics, those in the cameras."""
        if self.extrinsics_w2c is None:
            return self.xyz.astype(np.float64)
        to_world = np.linalg.inv(self.extrinsics_w2c)
        by_frame = self.xyz.transpose(1, 0, 2).astype(np.float64) @ np.swapaxes(to_world[:, :3, :3], -1, -2)
        return (by_frame + to_world[:, None, :3, 3]).transpose(1, 0, 2)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to `path`, as npz or csv by its extension. The file appears whole or not at all."""
        return save(self, path, _FORMATS, "3D tracks")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tracks3D":
        """Read a file that `save` wrote; never runs code from it."""
        return cls(**load(path, _FORMATS, "3D tracks", "Tracks3D.save"))


def _to_npz(tracks: Tracks3D) -> bytes:
    arrays = {field.name: getattr(tracks, field.name) for field in fields(tracks)}
    return to_npz({name: array for name, array in arrays.items() if array is not None})


def _from_npz(data: bytes) -> dict[str, Any]:
    maybe = tuple(field.name for field in fields(Tracks3D) if field.default is None)
    content = from_npz(data, tuple(field.name for field in fields(Tracks3D) if field.name not in maybe), optional=maybe)
    return {**content, "metric": content["metric"].item()}


def _to_csv(tracks: Tracks3D) -> bytes:
    n, t = tracks.points, tracks.frames
    if n * t == 0:
        raise BadInput(f"{n} points in {t} frames make a csv without rows, which cannot say what the camera is; use npz")
    flat = Tracks(**{name: getattr(tracks, name) for name in _FLAT})
    columns = columns_of(flat) | dict(zip(CAMERA, tracks.xyz.reshape(-1, 3).T, strict=True))
    columns["metric"] = np.full(n * t, tracks.metric)
    columns |= {name: np.full(n * t, value) for name, value in zip(INTRINSICS, tracks.intrinsics, strict=True)}
    if tracks.extrinsics_w2c is not None:
        poses = np.tile(tracks.extrinsics_w2c[:, :3].reshape(t, 12), (n, 1))
        columns |= dict(zip(POSE, poses.T, strict=True))
    return to_csv(columns)


def _from_csv(data: bytes) -> dict[str, Any]:
    table = tabulated(from_csv(data, _EXACT))
    content = fields_of(table) | {"xyz": np.stack([table[name] for name in CAMERA], axis=-1)}
    for name in ("metric", *INTRINSICS):
        if (table[name] != table[name][0, 0]).any():
            raise ValueError(f"the column {name} changes between its rows")
    content |= {"metric": bool(table["metric"][0, 0]), "intrinsics": [table[name][0, 0] for name in INTRINSICS]}
    if POSE[0] in table:
        poses = np.stack([table[name] for name in POSE], axis=-1)
        if (poses != poses[:1]).any():
            raise ValueError("the pose of a frame changes between its rows")
        t = poses.shape[1]
        content["extrinsics_w2c"] = np.concatenate([poses[0].reshape(t, 3, 4), np.tile([[[0, 0, 0, 1.0]]], (t, 1, 1))], axis=1)
    return content


_FORMATS: Formats[Tracks3D] = {".npz": (_to_npz, _from_npz), ".csv": (_to_csv, _from_csv)}
