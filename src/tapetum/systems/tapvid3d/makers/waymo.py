"""Reading of Waymo Open's perception data, version 2: a segment's parquet files, one for each component.

    ROOT/camera_image/SEGMENT.parquet      and likewise camera_calibration, lidar, lidar_calibration, lidar_pose,
                                           lidar_camera_projection, vehicle_pose, lidar_box, lidar_camera_synced_box

ROOT is a split, such as `training`. Columns are `key.NAME` and `[COMPONENT].FIELD.SUBFIELD`. Coordinates are x forward,
y left, z up, for the vehicle and for cameras; the distortion of lenses is left alone, as DriveTrack does.

Names and the geometry of the lidar are those of waymo-research/waymo-open-dataset (its `v2` package at 99a4cb3), computed
here in float64 where that computes in float32. The files need pyarrow (`pip install 'tapetum[tables]'`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tapetum.core.errors import BadInput
from tapetum.core.tables import parquet_file, pyarrow_for
from tapetum.systems.tapvid3d.geometry import F64, transform
from tapetum.systems.tapvid3d.makers.common import I64, is_rigid, poses

TOP = 1
"""The lidar on the roof."""
VEHICLE = 1
"""Type of a box."""
_MAY_BE_EMPTY = "beam_inclination.values"


@dataclass(frozen=True, eq=False)
class WaymoCamera:
    name: int
    """1 front, 2 front left, 3 front right, 4 side left, 5 side right."""
    intrinsics: F64
    """fx, fy, cx, cy in raster pixels."""
    vehicle_from_camera: F64
    """(4, 4)"""
    size: tuple[int, int]
    """Height and width."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """First returns of the roof's lidar in one frame."""

    points: F64
    """(k, 3) in the vehicle's coordinates at the frame's pose."""
    projection: NDArray[np.float32]
    """(k, 6): camera, x, y of the first image that a point falls into, and of the second; camera 0 is none."""


@dataclass(frozen=True, eq=False)
class VehicleBoxes:
    """The boxes of one vehicle while one camera sees it best."""

    camera: int
    uid: str
    times: I64
    """(t,) microseconds, rising."""
    boxes: F64
    """(t, 7) centre x, y, z, length, width, height, heading in the vehicle's coordinates, moved to the camera's moment."""


class WaymoSegment:
    """One drive of 20 seconds. Raises `BadInput`, naming file and column, where something is missing or damaged."""

    def __init__(self, root: Path, name: str):
        self.root, self.name = root, name

    @cached_property
    def vehicle(self) -> dict[int, F64]:
        """Read the poses (4, 4) of the vehicle in the world by time (microseconds)."""
        table = self._read(
            "vehicle_pose", ["key.frame_timestamp_micros", "[VehiclePoseComponent].world_from_vehicle.transform"]
        )
        return {time: self._pose("vehicle_pose", pose) for time, pose in zip(*table.values(), strict=True)}

    @cached_property
    def cameras(self) -> dict[int, WaymoCamera]:
        at = "[CameraCalibrationComponent]."
        names = ["extrinsic.transform", "height", "width", *(f"intrinsic.{name}" for name in ("f_u", "f_v", "c_u", "c_v"))]
        table = self._read("camera_calibration", ["key.camera_name", *(at + name for name in names)])
        return {
            name: WaymoCamera(name, np.array(intrinsics), self._pose("camera_calibration", pose), (height, width))
            for name, pose, height, width, *intrinsics in zip(*table.values(), strict=True)
        }

    def images(self, camera: int) -> dict[int, bytes]:
        """Read JPEGs by time."""
        columns = ["key.frame_timestamp_micros", "[CameraImageComponent].image"]
        table = self._read("camera_image", columns, ("key.camera_name", camera))
        return dict(zip(*table.values(), strict=True))

    @cached_property
    def vehicles(self) -> list[VehicleBoxes]:
        """Read boxes of vehicles by camera and id, where both tables have them: those of labels and camera-synced ones."""
        keys = ["key.frame_timestamp_micros", "key.laser_object_id"]
        types = self._read("lidar_box", [*keys, "[LiDARBoxComponent].type"])
        vehicle = {(time, uid) for time, uid, kind in zip(*types.values(), strict=True) if kind == VEHICLE}
        at = "[LiDARCameraSyncedBoxComponent]."
        fields = [f"camera_synced_box.{part}.{axis}" for part in ("center", "size") for axis in "xyz"]
        names = ["most_visible_camera_name", *fields, "camera_synced_box.heading"]
        table = self._read("lidar_camera_synced_box", [*keys, *(at + name for name in names)])
        rows_by_vehicle: dict[tuple[int, str], list[tuple[int, list[float]]]] = {}
        for time, uid, camera, *box in zip(*table.values(), strict=True):
            if (time, uid) in vehicle:
                rows_by_vehicle.setdefault((camera, uid), []).append((time, box))
        return [
            VehicleBoxes(
                camera,
                uid,
                np.array([time for time, _ in sorted(rows)]),
                np.array([box for _, box in sorted(rows)], np.float64),
            )
            for (camera, uid), rows in sorted(rows_by_vehicle.items())
        ]

    @cached_property
    def sweeps(self) -> dict[int, Sweep]:
        """Read lidar by time; some 150,000 points a frame, which is about 1.5 GB for 200 frames. Read table after table."""
        calibration = "[LiDARCalibrationComponent]."
        names = ["extrinsic.transform", "beam_inclination.min", "beam_inclination.max", "beam_inclination.values"]
        columns = [calibration + name for name in names]
        table = self._read("lidar_calibration", columns, ("key.laser_name", TOP))
        if not table[columns[0]]:
            raise BadInput(f"{self._path('lidar_calibration')} has no row for the roof's lidar (laser_name 1)")
        extrinsic, low, high, beams = (column[0] for column in table.values())
        pose = self._pose("lidar_calibration", extrinsic)
        ranges = {time: image[..., 0] for time, image in self._range_images("lidar", "LiDARComponent", {})}
        points: dict[int, F64] = {}
        for time, image in self._range_images("lidar_pose", "LiDARPoseComponent", ranges):
            if time in ranges and time in self.vehicle:
                rows = inclinations(len(image), low, high, beams)
                points[time] = lidar_points(ranges[time], pose, rows, image, self.vehicle[time])
        return {
            time: Sweep(points[time], image[ranges[time] > 0])
            for time, image in self._range_images("lidar_camera_projection", "LiDARCameraProjectionComponent", ranges)
            if time in points
        }

    def _pose(self, component: str, values: list[float]) -> F64:
        pose = np.resize(np.asarray(values, np.float64), (4, 4))
        if len(values) != 16 or not is_rigid(pose):
            raise BadInput(f"{self._path(component)} has a transform that is no pose (4, 4); get it again")
        return pose

    def _range_images(self, component: str, kind: str, like: dict[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Times and range images (h, w, 4 or 6) of the first returns of the roof's lidar, as large as those `like` them."""
        at = f"[{kind}].range_image_return1."
        names = ["key.frame_timestamp_micros", at + "values", at + "shape"]
        for batch in self._batches(component, names, ("key.laser_name", TOP)):
            for time, values, shape in zip(*(batch.column(name) for name in names), strict=True):
                flat, dims = values.values.to_numpy(), shape.as_py()
                expected = like.get(time.as_py(), np.empty(dims[:2])).shape
                if flat.size != np.prod(dims) or tuple(dims[:2]) != expected or dims[2] != (6 if like else 4):
                    raise BadInput(f"{self._path(component)}: {flat.size} values for a range image of {dims}; get it again")
                yield time.as_py(), flat.reshape(dims)

    def _read(self, component: str, columns: list[str], only: tuple[str, int] | None = None) -> dict[str, list[Any]]:
        out: dict[str, list[Any]] = {name: [] for name in columns}
        for batch in self._batches(component, columns, only):
            for name in columns:
                out[name] += batch.column(name).to_pylist()
        return out

    def _batches(self, component: str, columns: list[str], only: tuple[str, int] | None) -> Iterator[Any]:
        """Some rows at a time, of those where the column `only[0]` is `only[1]`."""
        arrow, parquet = pyarrow_for("reading Waymo Open")
        path = self._path(component)
        names = columns if only is None else [*columns, only[0]]
        try:
            with parquet.ParquetFile(parquet_file(path, "reading Waymo Open")) as file:
                missing = [name for name in names if name not in file.schema_arrow.names]
                if missing:
                    raise BadInput(f"{path} has no column {missing[0]!r}; wanted a component of Waymo Open's version 2")
                for batch in file.iter_batches(batch_size=8, columns=names):
                    if only is not None:
                        batch = batch.filter(arrow.array(batch.column(only[0]).to_numpy() == only[1]))
                    empty = [name for name in columns if batch.column(name).null_count and not name.endswith(_MAY_BE_EMPTY)]
                    if empty:
                        raise BadInput(f"{path} lacks a value in the column {empty[0]!r}; get it again")
                    yield batch
        except FileNotFoundError as error:
            raise BadInput(f"there is no {path}; download the component {component} of this segment") from error
        except (arrow.ArrowException, OSError) as error:
            raise BadInput(f"{path} is damaged ({error}); get it again") from error

    def _path(self, component: str) -> Path:
        return self.root / component / f"{self.name}.parquet"


def segments(root: Path) -> Iterator[WaymoSegment]:
    """Yield all segments of a split, one by one, since each comes to hold its lidar. Raises `BadInput` where there are none."""
    names = sorted(path.stem for path in (root / "camera_image").glob("*.parquet"))
    if not names:
        raise BadInput(f"{root} has no camera_image/*.parquet; give a split of Waymo Open's version 2, such as .../training")
    yield from (WaymoSegment(root, name) for name in names)


def inclinations(rows: int, low: float, high: float, beams: Sequence[float] | None) -> F64:
    """Compute pitch (rows,) in radians of the rows of a range image, the top one first: its beams, or even steps from low to
    high.

    Raises `BadInput` where there is not one beam for each row.
    """
    if beams is not None and len(beams) != rows:
        raise BadInput(f"there are {len(beams)} beams of the lidar for {rows} rows of its range image; get the segment again")
    even = low + (np.arange(rows) + 0.5) / rows * (high - low)
    return (even if beams is None else np.asarray(beams, np.float64))[::-1]


def lidar_points(
    ranges: ArrayLike, vehicle_from_lidar: F64, pitch: F64, world_from_pixel: ArrayLike, world_from_vehicle: F64
) -> F64:
    """Compute the points (k, 3) of a range image in metres, in the vehicle's coordinates at the frame's pose, row by row.

    `ranges` (h, w) are metres, where 0 or less is no return; columns go from behind, over the left side, once around the lidar.
    `pitch` (h,) is of `inclinations`; `world_from_pixel` (h, w, 6) roll, pitch, yaw, x, y, z: the vehicle's pose at each pixel.
    """
    ranges = np.asarray(ranges, np.float64)
    row, column = np.nonzero(ranges > 0)
    yaw_of_lidar = np.arctan2(vehicle_from_lidar[1, 0], vehicle_from_lidar[0, 0])
    azimuth = (1 - 2 * (column + 0.5) / ranges.shape[1]) * np.pi - yaw_of_lidar
    flat, up = np.cos(pitch[row]), np.sin(pitch[row])
    ray = np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, up], 1)
    points = transform(vehicle_from_lidar, ray * ranges[row, column][:, None])
    roll, tilt, yaw, *shift = np.asarray(world_from_pixel, np.float64)[row, column].T
    rotation = _about(yaw, 2) @ _about(tilt, 1) @ _about(roll, 0)
    world = transform(poses(rotation, np.stack(shift, 1)), points[:, None])[:, 0]
    return transform(np.linalg.inv(world_from_vehicle), world)


def _about(angle: ArrayLike, axis: int) -> F64:
    """Rotations (..., 3, 3) by radians about the x, y or z axis."""
    angle = np.asarray(angle, np.float64)
    out = np.zeros((*angle.shape, 3, 3))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1
    out[..., a, a] = out[..., b, b] = np.cos(angle)
    out[..., b, a] = np.sin(angle)
    out[..., a, b] = -out[..., b, a]
    return out


def yawed(heading: ArrayLike, centre: ArrayLike) -> F64:
    """Compute poses (..., 4, 4) of upright boxes with headings (...) in radians about z and centres (..., 3)."""
    return poses(_about(heading, 2), centre)
