"""A small segment of Waymo Open, version 2, made from a world of `scenes`: parquet files of what DriveTrack reads.

A car with a camera and a lidar on its roof drives and turns; before it go vehicles, some of which no maker should keep.
Waymo's axes are x forward, y left, z up, those of `scenes` x right, y down, z forward: (x, y, z) there is (-y, -z, x) here.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tapetum.data.textures import procedural
from tapetum.tracks.facets.ground_truth import FacetGroundTruth, frame_times
from tapetum.tracks.facets.world import FacetObject, FacetWorld, SceneConfig, box, sheet

SEGMENT = "10023947602400723454_1120_000_1140_000"
START, STEP = 1_552_440_195_362_591, 100_000
"""Microseconds of the first frame, and from frame to frame."""
HEIGHT, WIDTH, FOCAL = 96, 192, 200.0
CENTRE = (99.0, 41.5)
"""The camera's cx, cy."""
SCENES_FROM_WAYMO = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
Pose = Callable[[np.ndarray], np.ndarray]
"""Poses (t, 4, 4) in Waymo's axes at moments (t,) in 0..1."""


def pose(
    yaw: float | np.ndarray, x: float | np.ndarray, y: float | np.ndarray, z: float = 0.0, pitch: float = 0.0
) -> np.ndarray:
    """Turned by pitch about y, then by yaw about z, then moved; numbers or arrays (t,)."""
    yaw, x, y = np.broadcast_arrays(np.asarray(yaw, float), x, y)
    out = np.zeros((*yaw.shape, 4, 4))
    c, s, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    out[..., 0, :3] = np.stack([c * cp, -s, c * sp], -1)
    out[..., 1, :3] = np.stack([s * cp, c, s * sp], -1)
    out[..., 2, 0], out[..., 2, 2] = -sp, cp
    out[..., 0, 3], out[..., 1, 3], out[..., 2, 3], out[..., 3, 3] = x, y, z, 1
    return out


VEHICLE_FROM_CAMERA = pose(0.05, 1.5, 0.0, 2.0, 0.04)
VEHICLE_FROM_LIDAR = pose(0.3, 1.4, 0.0, 2.2)


def ego(t: np.ndarray) -> np.ndarray:
    return pose(0.12 * t - 0.02, 800.0 + 4 * t, 100.0 + 0.4 * t**2)


@dataclass(frozen=True)
class Labelled:
    """An object with a box: where it goes, its length, width and height, its type, and the camera that shows it best."""

    uid: str
    path: Pose
    size: tuple[float, float, float]
    kind: int = 1
    camera: Callable[[int], int] = lambda frame: 1


def labelled(frames: int) -> list[Labelled]:
    car = (4.0, 1.8, 1.5)
    return [
        Labelled("-near_car-by9OrBGLkI0iw", lambda t: pose(0.8 * t - 0.3, 815.0 + 3 * t, 98.0 + 4 * t, 0.75), car),
        Labelled("too_far_away-yQ8mGbRrAA", lambda t: pose(0.1 + 0 * t, 868.0 + 5 * t, 103.0, 0.75), car),
        Labelled("enters_late--KwT3uVxUaQ", lambda t: pose(0.2 + 0 * t, 814 + 4 * t, 109.0 - 3 * t, 0.75), car),
        Labelled("walks_away---u2HqvP7aZg", lambda t: pose(1.0 * t, 812.0 + 2 * t, 103.0 - t, 0.85), (0.8, 0.8, 1.7), kind=2),
        Labelled("side_camera--XbN5tLs0Tw", lambda t: pose(0 * t, 804.0 + 6 * t, 106.0, 0.75), car, camera=lambda frame: 4),
        Labelled(
            "comes_back---w8DfYcE1mQ",
            lambda t: pose(0 * t, 821.0 + 4 * t, 93.5, 0.75),
            car,
            camera=lambda frame: 3 if frame == frames // 2 else 1,
        ),
    ]


class Away:
    """A path for `scenes`, of poses in Waymo's axes."""

    def __init__(self, poses: Pose):
        self.poses = poses

    def __call__(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        here = SCENES_FROM_WAYMO @ self.poses(t) @ SCENES_FROM_WAYMO.T
        return here[:, :3, :3], here[:, :3, 3]


def world(frames: int, objects: list[Labelled]) -> FacetWorld:
    """The road, a wall far away, a pillar that hides things for a while, and the objects, 0.3 m smaller than their boxes."""
    paint = [procedural(np.random.default_rng(k), 96) for k in range(6)]
    flat, stand = np.array([[np.pi / 2, 0, 0]] * 2), np.zeros((2, 3))
    road = FacetObject(sheet(60, 200, 96), [paint[0]], None, _still([-100, 0, 850], flat), wall=True)
    wall = FacetObject(sheet(200, 60, 96), [paint[1]], None, _still([-100, 0, 890], stand), wall=True)
    pillar = FacetObject(box(np.array([0.6, 3.0, 0.6]), 96), paint[:3], None, _still([-100.2, -1.5, 810.5], stand))
    things = [road, wall, pillar]
    for thing in objects:
        length, width, height = np.array(thing.size) - 0.3
        things.append(FacetObject(box(np.array([width, height, length]), 96), paint[3:6], None, Away(thing.path)))
    config = SceneConfig(size=(HEIGHT, WIDTH), frames=frames)
    camera = Away(lambda t: ego(t) @ VEHICLE_FROM_CAMERA)
    return Scaled(config, things, camera, np.array([[FOCAL], [FOCAL]]), np.array([0, 0, 1, 1.0]), 0)


class Scaled(FacetWorld):
    """A world whose camera looks off the centre of its image."""

    def intrinsics(self, times: np.ndarray) -> np.ndarray:
        return np.tile([FOCAL, FOCAL, *CENTRE], (len(times), 1))


def _still(place: list, turns: np.ndarray):
    from tapetum.tracks.facets.world import STILL
    from tapetum.tracks.facets.world import Path as Way

    return Way(np.array([place, place], float), turns, STILL)


@dataclass(frozen=True, eq=False)
class Drive:
    root: Path
    world: FacetWorld
    oracle: FacetGroundTruth
    objects: list[Labelled]
    moments: np.ndarray
    images: list[bytes]


def write_segment(root: Path, frames: int) -> Drive:
    objects = labelled(frames)
    made, moments = world(frames, objects), frame_times(frames)
    images = []
    for t in range(frames):  # what is on them matters to no maker
        data = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT), (8 * t, 80, 200)).save(data, "JPEG", quality=90)
        images.append(data.getvalue())
    oracle = FacetGroundTruth(made)
    times = [START + STEP * t for t in range(frames)]
    _cameras(root, times, images)
    _boxes(root, objects, moments, times)
    poses = [list(map(float, p.ravel())) for p in ego(moments)]
    _table(root, "vehicle_pose", {"[VehiclePoseComponent].world_from_vehicle.transform": (poses, _TRANSFORM)}, time=times)
    _lidar(root, made, moments, times)
    return Drive(root, made, oracle, objects, moments, images)


_TRANSFORM = pa.list_(pa.float64(), 16)


def _table(root: Path, component: str, columns: dict[str, tuple[list, pa.DataType]], **keys: list) -> None:
    """A component's file; keys are time, camera, laser and object."""
    names = {"time": ("frame_timestamp_micros", pa.int64()), "camera": ("camera_name", pa.int8())}
    names |= {"laser": ("laser_name", pa.int8()), "object": ("laser_object_id", pa.string())}
    count = len(next(iter(columns.values()))[0])
    arrays = {"key.segment_context_name": pa.array([SEGMENT] * count)}
    arrays |= {f"key.{names[key][0]}": pa.array(values, names[key][1]) for key, values in keys.items()}
    arrays |= {name: pa.array(values, kind) for name, (values, kind) in columns.items()}
    (root / component).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), root / component / f"{SEGMENT}.parquet")


def _cameras(root: Path, times: list[int], images: list[bytes]) -> None:
    # a second camera shows the same images, so that a maker must choose
    count = 2 * len(times)
    at = "[CameraImageComponent]."
    columns = {f"{at}image": ([image for image in images for _ in (1, 3)], pa.binary())}
    columns[f"{at}pose.transform"] = [np.eye(4).ravel().tolist()] * count, _TRANSFORM
    columns |= {f"{at}velocity.linear_velocity.{axis}": ([0.0] * count, pa.float32()) for axis in "xyz"}
    columns |= {f"{at}velocity.angular_velocity.{axis}": ([0.0] * count, pa.float64()) for axis in "xyz"}
    for name in ("shutter", "camera_trigger_time", "camera_readout_done_time"):
        columns[f"{at}rolling_shutter_params.{name}"] = [0.0] * count, pa.float64()
    columns[f"{at}pose_timestamp"] = [0.0] * count, pa.float64()
    _table(root, "camera_image", columns, time=[t for t in times for _ in (1, 3)], camera=[1, 3] * len(times))
    at = "[CameraCalibrationComponent]."
    numbers = {
        "f_u": FOCAL,
        "f_v": FOCAL,
        "c_u": CENTRE[0],
        "c_v": CENTRE[1],
        "k1": 0.04,
        "k2": -0.3,
        "p1": 0.001,
        "p2": 0.0,
        "k3": 0.0,
    }
    columns = {f"{at}intrinsic.{name}": ([value] * 3, pa.float64()) for name, value in numbers.items()}
    poses = [VEHICLE_FROM_CAMERA, VEHICLE_FROM_CAMERA @ pose(-0.8, 0, 0), VEHICLE_FROM_CAMERA @ pose(1.6, 0, 0)]
    columns[f"{at}extrinsic.transform"] = [p.ravel().tolist() for p in poses], _TRANSFORM
    columns |= {f"{at}width": ([WIDTH] * 3, pa.int32()), f"{at}height": ([HEIGHT] * 3, pa.int32())}
    columns[f"{at}rolling_shutter_direction"] = [2] * 3, pa.int8()
    _table(root, "camera_calibration", columns, camera=[1, 3, 4])


def _boxes(root: Path, objects: list[Labelled], moments: np.ndarray, times: list[int]) -> None:
    rows = [(o, t) for t in range(len(times)) for o in objects]
    here = {o.uid: np.linalg.inv(ego(moments)) @ o.path(moments) for o in objects}
    centre = np.array([here[o.uid][t][:3, 3] for o, t in rows])
    heading = [float(np.arctan2(here[o.uid][t][1, 0], here[o.uid][t][0, 0])) for o, t in rows]
    keys = {"time": [times[t] for _, t in rows], "object": [o.uid for o, _ in rows]}
    for component, kind, field in (
        ("lidar_box", "LiDARBoxComponent", "box"),
        ("lidar_camera_synced_box", "LiDARCameraSyncedBoxComponent", "camera_synced_box"),
    ):
        at = f"[{kind}].{field}."
        columns = {f"{at}center.{axis}": (centre[:, i].tolist(), pa.float64()) for i, axis in enumerate("xyz")}
        columns |= {f"{at}size.{axis}": ([o.size[i] for o, _ in rows], pa.float64()) for i, axis in enumerate("xyz")}
        columns[f"{at}heading"] = heading, pa.float64()
        if component == "lidar_box":
            columns["[LiDARBoxComponent].type"] = [o.kind for o, _ in rows], pa.int8()
            for name in ("num_lidar_points_in_box", "num_top_lidar_points_in_box"):
                columns[f"[LiDARBoxComponent].{name}"] = [100] * len(rows), pa.int64()
            for name in ("detection", "tracking"):
                columns[f"[LiDARBoxComponent].difficulty_level.{name}"] = [1] * len(rows), pa.int8()
            for name in ("speed", "acceleration"):
                columns |= {f"[LiDARBoxComponent].{name}.{axis}": ([0.0] * len(rows), pa.float64()) for axis in "xyz"}
        else:
            columns["[LiDARCameraSyncedBoxComponent].most_visible_camera_name"] = [o.camera(t) for o, t in rows], pa.int8()
        _table(root, component, columns, **keys)


ROWS, COLUMNS, SHOWN = 32, 900, 75
"""Of the range image; only columns that look ahead have returns, `SHOWN` to each side of the direction of travel."""
BEAMS = np.linspace(-0.18, 0.04, ROWS)
"""Pitch of the beams, from the lowest up."""


def _lidar(root: Path, made: FacetWorld, moments: np.ndarray, times: list[int]) -> None:
    """Three parts of each turn of the lidar are taken from three poses of the vehicle, as it moves on."""
    yaw = np.arctan2(VEHICLE_FROM_LIDAR[1, 0], VEHICLE_FROM_LIDAR[0, 0])
    angle = np.pi - (np.arange(COLUMNS) + 0.5) * 2 * np.pi / COLUMNS  # in the vehicle; column 0 looks back, then over the left
    middle = COLUMNS // 2
    ranges = np.full((len(times), ROWS, COLUMNS, 4), -1, np.float32)
    stamps = np.zeros((len(times), ROWS, COLUMNS, 6), np.float32)
    spots = np.zeros((len(times), ROWS, COLUMNS, 6), np.float32)
    for part in range(3):
        columns = np.arange(middle - SHOWN, middle + SHOWN)[part::3]
        late = pose(0.004 * part, 0.05 * part, 0.01 * part)
        vehicle = ego(moments) @ late
        flat = angle[columns] - yaw
        ray = np.stack([np.cos(BEAMS[::-1, None]) * np.cos(flat), np.cos(BEAMS[::-1, None]) * np.sin(flat)], -1)
        ray = np.concatenate([ray, np.broadcast_to(np.sin(BEAMS[::-1, None, None]), (ROWS, len(columns), 1))], -1).reshape(
            -1, 3
        )
        ahead = ray @ VEHICLE_FROM_LIDAR[:3, :3].T  # an eye at the lidar that looks where the vehicle does
        eye = np.eye(4)
        eye[:3, 3] = VEHICLE_FROM_LIDAR[:3, 3]
        oracle = FacetGroundTruth(replace(made, camera=Away(lambda t, late=late, eye=eye: ego(t) @ late @ eye)), moments)
        view = np.stack([-ahead[:, 1] / ahead[:, 0] * FOCAL + CENTRE[0], -ahead[:, 2] / ahead[:, 0] * FOCAL + CENTRE[1]], 1)
        for t in range(len(times)):
            depth = oracle.hits(np.full(len(view), t), view)[0].min(0)
            distance = np.where(np.isfinite(depth), depth / ahead[:, 0], -1)
            world_points = (vehicle[t] @ eye @ np.c_[ahead * distance[:, None], np.ones(len(ahead))].T).T
            camera = (np.linalg.inv(ego(moments[t : t + 1])[0] @ VEHICLE_FROM_CAMERA) @ world_points.T).T
            u, v = FOCAL * -camera[:, 1] / camera[:, 0] + CENTRE[0], FOCAL * -camera[:, 2] / camera[:, 0] + CENTRE[1]
            inside = (distance > 0) & (camera[:, 0] > 0) & (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
            place = np.ix_([t], np.arange(ROWS), columns)
            shape = (1, ROWS, len(columns))
            ranges[(*place, 0)] = distance.reshape(shape)
            # every third point names another camera first, as Waymo does where two images overlap
            second = inside & (np.arange(len(u)) % 3 == 0)
            first = inside & ~second
            for channel, values in enumerate(
                (first * 1 + second * 3, first * u, first * v, second * 1, second * u, second * v)
            ):
                spots[(*place, channel)] = np.floor(values).reshape(shape)
            turn = np.arctan2(vehicle[t, 1, 0], vehicle[t, 0, 0])
            for channel, value in enumerate((0, 0, turn, *vehicle[t, :3, 3])):
                stamps[(*place, channel)] = value
    for component, kind, images in (
        ("lidar", "LiDARComponent", ranges),
        ("lidar_pose", "LiDARPoseComponent", stamps),
        ("lidar_camera_projection", "LiDARCameraProjectionComponent", spots),
    ):
        # the lidar at the front has returns too, which must not be read
        front = np.full((2, 4, images.shape[-1]), 1, np.float32)
        pairs = [part for image in images for part in (front, image)]
        values, shapes = [part.ravel() for part in pairs], [list(part.shape) for part in pairs]
        columns = {f"[{kind}].range_image_return1.values": (values, pa.list_(pa.float32()))}
        columns[f"[{kind}].range_image_return1.shape"] = shapes, pa.list_(pa.int32(), 3)
        if component != "lidar_pose":
            columns[f"[{kind}].range_image_return2.values"] = [[]] * len(pairs), pa.list_(pa.float32())
            columns[f"[{kind}].range_image_return2.shape"] = [[0, 0, 0]] * len(pairs), pa.list_(pa.int32(), 3)
        _table(root, component, columns, time=[t for t in times for _ in range(2)], laser=[2, 1] * len(times))
    at = "[LiDARCalibrationComponent]."
    columns = {f"{at}extrinsic.transform": ([VEHICLE_FROM_LIDAR.ravel().tolist()] * 2, _TRANSFORM)}
    columns |= {
        f"{at}beam_inclination.{end}": ([float(value)] * 2, pa.float64()) for end, value in (("min", -0.18), ("max", 0.04))
    }
    columns[f"{at}beam_inclination.values"] = [None, BEAMS.tolist()], pa.list_(pa.float64())
    _table(root, "lidar_calibration", columns, laser=[2, 1])
