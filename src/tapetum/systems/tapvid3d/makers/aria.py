"""Reading of Aria Digital Twin (version 2): a sequence's tables, and its frames rectified to a pinhole camera.

    SEQUENCE/aria_trajectory.csv    pose of the glasses ("device") in the scene, quaternion x y z w, times in microseconds
    SEQUENCE/scene_objects.csv      poses of objects, quaternion w x y z, times in nanoseconds, -1 for what stands still
    SEQUENCE/3d_bounding_box.csv    boxes of objects; one without a box (the apartment itself) carries no points
    SEQUENCE/video.vrs, depth_images.vrs, segmentations.vrs
    SEQUENCE/rectified/             instead of the three: TIMESTAMP.npz for each frame, written by `save_rectified`

Tables are read here, VRS files by projectaria-tools (`pip install 'tapetum[aria]'`). It has no wheels for some systems:
there, work from frames that were rectified on another one. Column names and rules (the nearest moment in time counts) are
those of facebookresearch/projectaria_tools, whose test data were read with this file; what agreed is in
docs/evidence/tapvid3d.md.
"""

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.files import whole_file
from tapetum.core.reading import open_file
from tapetum.systems.tapvid3d.geometry import F64
from tapetum.systems.tapvid3d.makers.common import I64, U8, is_rigid, poses
from tapetum.systems.tapvid3d.npz import Npz

SIZE, FOCAL = 512, 280.0
"""Width and height of a rectified frame, and its focal length, in pixels."""
INTRINSICS = (FOCAL, FOCAL, SIZE / 2, SIZE / 2)
"""fx, fy, cx, cy as the benchmark has them; they hold before and after the turn by 90 degrees."""
RGB = "214-1"
"""Stream of the colour camera in a VRS file."""


@dataclass(frozen=True, eq=False)
class AriaFrame:
    """One moment of the colour camera, rectified, not yet turned upright."""

    rgb: U8
    """(h, w, 3)"""
    depth: NDArray[np.uint16]
    """(h, w) along the axis of view, in millimetres."""
    instances: NDArray[np.uint64]
    """(h, w) ids of objects."""


class AriaFrames(Protocol):
    timestamps: I64
    """(t,) nanoseconds, rising: all frames of the colour camera."""
    device_from_camera: F64
    """(4, 4)"""

    def frame(self, timestamp: int) -> AriaFrame | None:
        """Read the frame of that time; None where colour, depth or segmentation is missing."""
        ...


@dataclass(frozen=True, eq=False)
class AriaScene:
    device_times: I64
    """(k,) nanoseconds."""
    scene_from_device: F64
    """(k, 4, 4)"""
    still: dict[int, F64]
    """Poses (4, 4) in the scene of objects that never move."""
    moving_times: I64
    """(m,) nanoseconds."""
    moving: list[dict[int, F64]]
    """m times: poses of the other objects."""

    def device_at(self, timestamp: int) -> F64:
        """Look up the pose (4, 4) of the glasses in the scene."""
        return self.scene_from_device[_nearest(self.device_times, timestamp)]

    def objects_at(self, timestamp: int) -> dict[int, F64]:
        """Look up poses (4, 4) in the scene of all objects that have a box."""
        if not self.moving:
            return self.still
        return {**self.moving[_nearest(self.moving_times, timestamp)], **self.still}


def _nearest(times: I64, timestamp: int) -> int:
    """Choose the nearest moment; of two equally near ones, the later."""
    after = min(int(np.searchsorted(times, timestamp)), len(times) - 1)
    return after - 1 if after and timestamp - times[after - 1] < abs(times[after] - timestamp) else after


def read_scene(sequence: Path) -> AriaScene:
    """Read the tables of the folder `sequence`. Raises `BadInput` if one is missing or damaged, naming it and the column."""
    boxed = {row[0] for row in _table(sequence / "3d_bounding_box.csv", {"object_uid": int})}
    place = dict.fromkeys(("t_wo_x[m]", "t_wo_y[m]", "t_wo_z[m]", "q_wo_w", "q_wo_x", "q_wo_y", "q_wo_z"), float)
    path = sequence / "scene_objects.csv"
    rows = [row for row in _table(path, {"object_uid": int, "timestamp[ns]": int, **place}) if row[0] in boxed]
    object_poses = _poses(
        path, np.array([row[2:5] for row in rows]).reshape(-1, 3), np.array([row[5:] for row in rows]).reshape(-1, 4)
    )
    still: dict[int, F64] = {}
    moving: dict[int, dict[int, F64]] = {}
    for (uid, time, *_), pose in zip(rows, object_poses, strict=True):
        (still if time == -1 else moving.setdefault(time, {}))[uid] = pose
    times = sorted(moving)
    path = sequence / "aria_trajectory.csv"
    names = ("tx_world_device", "ty_world_device", "tz_world_device")
    names += ("qw_world_device", "qx_world_device", "qy_world_device", "qz_world_device")
    track = sorted(_table(path, {"tracking_timestamp_us": int, **dict.fromkeys(names, float)}))
    if not track:
        raise BadInput(f"{path} has no row; get the ground truth of this sequence again")
    return AriaScene(
        device_times=np.array([row[0] for row in track], np.int64) * 1000,
        scene_from_device=_poses(path, np.array([row[1:4] for row in track]), np.array([row[4:] for row in track])),
        still=still,
        moving_times=np.array(times, np.int64),
        moving=[moving[time] for time in times],
    )


def _poses(path: Path, shift: F64, quaternion: F64) -> F64:
    if not (np.isfinite(shift).all() and np.isfinite(quaternion).all() and quaternion.any(-1).all()):
        raise BadInput(f"{path} has a pose that is not finite or whose quaternion is 0; get the ground truth again")
    from scipy.spatial.transform import Rotation

    return poses(Rotation.from_quat(quaternion, scalar_first=True).as_matrix(), shift)


def _table(path: Path, columns: dict[str, Callable[[str], Any]]) -> list[tuple[Any, ...]]:
    try:
        with open_file(path, "r", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise BadInput(f"{path} has no column {missing[0]!r}; wanted a table of Aria Digital Twin, version 2")
            at = [(header.index(name), read) for name, read in columns.items()]
            return [tuple(read(row[i]) for i, read in at) for row in rows if row]
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror}); give Aria Digital Twin's main_groundtruth") from error
    except (ValueError, IndexError) as error:
        raise BadInput(f"{path} is damaged ({error}); get the ground truth of this sequence again") from error


class RectifiedFrames:
    """Frames of the folder SEQUENCE/rectified. Raises `BadInput` if there are none, or one is damaged."""

    def __init__(self, folder: Path):
        self.folder = folder
        names = [path.stem for path in folder.glob("*.npz") if not path.name.startswith(".")]
        if not names or not all(name.isdecimal() for name in names):
            raise BadInput(f"{folder} holds no rectified frames; wanted files such as 87551170910700.npz, by nanoseconds")
        self.timestamps = np.array(sorted(map(int, names)), np.int64)
        self.device_from_camera: F64 = self._read(int(self.timestamps[0]))["device_from_camera"].astype(np.float64)
        if self.device_from_camera.shape != (4, 4) or not is_rigid(self.device_from_camera):
            raise BadInput(f"{self._path(int(self.timestamps[0]))}: device_from_camera is no pose (4, 4); write it again")

    def frame(self, timestamp: int) -> AriaFrame | None:
        """Read the frame; None if its images are empty."""
        content = self._read(timestamp)
        if not content["rgb"].size:
            return None
        for name, shape in (("rgb", (SIZE, SIZE, 3)), ("depth", (SIZE, SIZE)), ("instances", (SIZE, SIZE))):
            if content[name].shape != shape:
                raise BadInput(f"{self._path(timestamp)}: {name} is {content[name].shape}, wanted {shape}; write it again")
        return AriaFrame(content["rgb"], content["depth"], content["instances"])

    def _path(self, timestamp: int) -> Path:
        return self.folder / f"{timestamp}.npz"

    def _read(self, timestamp: int) -> dict[str, np.ndarray]:
        with Npz(self._path(timestamp)) as file:
            return {name: file.numbers(name) for name in ("rgb", "depth", "instances", "device_from_camera")}


class VrsFrames:
    """Frames of the VRS files of a sequence, through projectaria-tools. Raises `BadInput` or `MissingExtra`."""

    def __init__(self, sequence: Path):
        missing = [name for name in ("video.vrs", "depth_images.vrs", "segmentations.vrs") if not (sequence / name).is_file()]
        if missing:
            raise BadInput(f"{sequence} has no {missing[0]}; download main_vrs, depth and segmentation of this sequence")
        try:
            from projectaria_tools.core import calibration  # pyright: ignore[reportMissingImports]
            from projectaria_tools.core.stream_id import StreamId  # pyright: ignore[reportMissingImports]
            from projectaria_tools.projects import adt  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("projectaria-tools", "aria", "reading VRS files") from error
        try:
            with _quiet():
                paths = adt.AriaDigitalTwinDataPathsProvider(str(sequence)).get_datapaths_by_device_num(0, False)
                self._provider = adt.AriaDigitalTwinDataProvider(paths)
        except (RuntimeError, ValueError) as error:
            raise BadInput(f"projectaria-tools cannot read {sequence} ({error}); get the sequence again") from error
        self._tools, self._stream = calibration, StreamId(RGB)
        raw = self._provider.raw_data_provider_ptr()
        self._from = raw.get_device_calibration().get_camera_calib(raw.get_label_from_stream_id(self._stream))
        model, alone = calibration.CameraModelType.LINEAR, calibration.get_linear_camera_calibration(1, 1, 1)
        pinhole, alone = np.array(INTRINSICS), alone.get_transform_device_camera()
        self._to = calibration.CameraCalibration("camera-rgb", model, pinhole, alone, SIZE, SIZE, None, np.pi, "linear")
        self.timestamps = np.array(self._provider.get_aria_device_capture_timestamps_ns(self._stream), np.int64)
        self.device_from_camera: F64 = self._provider.get_aria_transform_device_camera(self._stream).to_matrix()

    def frame(self, timestamp: int) -> AriaFrame | None:
        """Read the frame, with colour, depth and labels each resampled in the way of the tools."""
        rgb = self._provider.get_aria_image_by_timestamp_ns(timestamp, self._stream)
        depth = self._provider.get_depth_image_by_timestamp_ns(timestamp, self._stream)
        instances = self._provider.get_segmentation_image_by_timestamp_ns(timestamp, self._stream)
        if not (rgb.is_valid() and depth.is_valid() and instances.is_valid()):
            return None
        tools, to, source = self._tools, self._to, self._from
        return AriaFrame(
            tools.distort_by_calibration(rgb.data().to_numpy_array(), to, source),
            tools.distort_depth_by_calibration(depth.data().to_numpy_array(), to, source),
            tools.distort_label_by_calibration(instances.data().to_numpy_array(), to, source),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Redirect the tools' stdout to stderr, since stdout is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def open_frames(sequence: Path) -> AriaFrames:
    """Open a sequence's rectified frames if it has them, else those of its VRS files; raises as these do."""
    folder = sequence / "rectified"
    return RectifiedFrames(folder) if folder.is_dir() else VrsFrames(sequence)


def save_rectified(frames: AriaFrames, folder: Path) -> None:
    """Write frames for `RectifiedFrames`, for a machine without projectaria-tools; about 1 MB a frame. Raises `BadInput`."""
    folder.mkdir(parents=True, exist_ok=True)
    for timestamp in map(int, frames.timestamps):
        frame = frames.frame(timestamp)
        empty = np.zeros((0, 0), np.uint16)
        parts = (frame.rgb, frame.depth, frame.instances) if frame else (empty, empty, empty)
        with whole_file(folder / f"{timestamp}.npz") as temporary:
            named = dict(zip(("rgb", "depth", "instances"), parts, strict=True))
            np.savez_compressed(temporary, allow_pickle=False, device_from_camera=frames.device_from_camera, **named)
