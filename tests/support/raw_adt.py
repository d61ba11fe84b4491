"""A small sequence of Aria Digital Twin made from a world of `scenes`: its tables, and rectified frames that lie on their side.

The scene's coordinates are those of the world turned and moved, and the glasses are turned and moved against their camera,
so that no two frames of reference coincide. Poses are written with the column names and number formats of the data set.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from tapetum.data.textures import procedural
from tapetum.tracks.facets.ground_truth import FacetGroundTruth, frame_times
from tapetum.tracks.facets.render import Renderer
from tapetum.tracks.facets.world import STILL, FacetObject, FacetWorld, SceneConfig, box, prism, sheet
from tapetum.tracks.facets.world import Path as Way

SIZE, FOCAL = 512, 280.0
APARTMENT, FIRST = 7_000_000_000_000_000, 4_885_175_544_866_890
"""Id of the apartment, which has no box, and of the first object."""
START, STEP = 87_551_170_000_262, 33_328_000
"""Nanoseconds of the first frame with ground truth, and from frame to frame."""

METADATA = {
    "serial": "1WM103600M1292",
    "gt_creation_time": "05/30/2023-14:09:26",
    "scene": "Apartment",
    "is_multi_person": False,
    "num_skeletons": 0,
    "timecode_enabled": 1,
    "gt_time_domain": "DEVICE_CAPTURE",
    "concurrent_sequence": "",
    "dataset_name": "ADT_2023",
    "dataset_version": "2.0",
}


def rigid(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), shift
    return out


SCENE_FROM_WORLD = rigid((0.3, -2.0, 0.9), (1.5, -0.4, 2.0))
DEVICE_FROM_CAMERA = rigid((-0.6, 0.2, 0.4), (0.01, -0.06, 0.02))
SIDEWAYS_FROM_UPRIGHT = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""The image's right is the sensor's down, and its down the sensor's left."""


def way(places: list, turns: list) -> Way:
    return Way(np.array(places, float), np.array(turns, float), STILL)


def world(frames: int) -> FacetWorld:
    """A moving camera before a wall (the apartment), a table and an image that stand still, a box and a tube that move."""
    paint = [procedural(np.random.default_rng(k), 128) for k in range(8)]
    things = [
        FacetObject(sheet(30, 30, 128), [paint[0]], None, way([[0, 0, 4]] * 2, [[0.1, 0.1, 0]] * 2), wall=True),
        FacetObject(box(np.array([2.5, 0.6, 1.0]), 128), paint[1:4], None, way([[0.2, 1.2, 2.6]] * 2, [[0, 0.3, 0]] * 2)),
        FacetObject(
            box(np.array([0.5, 0.4, 0.6]), 128),
            paint[4:7],
            None,
            way([[-1.0, 0.5, 1.7], [0, 0.4, 1.2], [1.2, 0.3, 1.8]], [[0, 0, 0], [0.5, 0.8, 0], [0.9, 1.2, 0.4]]),
        ),
        FacetObject(
            prism(0.25, 0.7, 128, 10),
            [paint[7]],
            None,
            way([[0.9, -0.6, 2.2], [-0.9, -0.6, 1.8]], [[0.3, 0, 0], [0.3, 2, 0.5]]),
        ),
        FacetObject(sheet(0.8, 0.6, 128), [paint[2]], None, way([[-0.5, -0.9, 3.2]] * 2, [[0, 0.2, 0.1]] * 2)),
    ]
    camera = way([[-0.4, 0.1, 0], [0, 0.3, 0.3], [0.6, -0.3, 0.1]], [[0, 0.3, 0], [0.05, 0, 0.2], [0, -0.35, 0.05]])
    config = SceneConfig(size=(SIZE, SIZE), frames=frames)
    return FacetWorld(config, things, camera, np.array([[FOCAL], [FOCAL]]), np.array([0, 0, 1, 1.0]), 0)


@dataclass(frozen=True, eq=False)
class Sequence:
    folder: Path
    world: FacetWorld
    oracle: FacetGroundTruth
    camera_from_scene: np.ndarray
    """(t, 4, 4) to the upright camera."""
    images: np.ndarray
    """(t, h, w, 3) upright."""
    times: np.ndarray
    """(t,) nanoseconds of the frames with ground truth."""


def write_sequence(folder: Path, frames: int) -> Sequence:
    """`frames` frames with ground truth, and one more before and after them without."""
    folder.mkdir(parents=True)
    made = world(frames)
    moments = frame_times(frames)
    rotate, shift = made.world_to_camera(moments)
    camera_from_world = np.tile(np.eye(4), (frames, 1, 1))
    camera_from_world[:, :3, :3], camera_from_world[:, :3, 3] = rotate, shift
    camera_from_scene = camera_from_world @ np.linalg.inv(SCENE_FROM_WORLD)
    times = START + STEP * np.arange(frames)
    scene_from_device = np.linalg.inv(DEVICE_FROM_CAMERA @ SIDEWAYS_FROM_UPRIGHT @ camera_from_scene)
    _trajectory(folder / "aria_trajectory.csv", times, scene_from_device)
    _objects(folder, made, moments, times)
    (folder / "metadata.json").write_text(json.dumps(METADATA, indent=4))
    images = _frames(folder / "rectified", made, moments, times)
    return Sequence(folder, made, FacetGroundTruth(made), camera_from_scene, images, times)


def _trajectory(path: Path, times: np.ndarray, poses: np.ndarray) -> None:
    names = "graph_uid,tracking_timestamp_us,utc_timestamp_ns,tx_world_device,ty_world_device,tz_world_device,qx_world_device"
    names += ",qy_world_device,qz_world_device,qw_world_device,device_linear_velocity_x_device,device_linear_velocity_y_device"
    names += ",device_linear_velocity_z_device,angular_velocity_x_device,angular_velocity_y_device,angular_velocity_z_device"
    names += ",gravity_x_world,gravity_y_world,gravity_z_world,quality_score"
    # one more pose at either end, so that all frames lie strictly within the ground truth
    stamps = np.concatenate([[times[0] - 9_000_000], times, [times[-1] + 9_000_000]]) // 1000
    poses = np.concatenate([poses[:1], poses, poses[-1:]])
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(names.split(","))
        for stamp, pose in zip(stamps, poses, strict=True):
            turn = Rotation.from_matrix(pose[:3, :3]).as_quat()
            rows.writerow(
                ["f2705772-c4a9-36ba-a9af-cbea45a340b3", stamp, -1, *pose[:3, 3], *turn, *[0.0] * 6, 0, -9.81, 0, 0.9]
            )


def _objects(folder: Path, made: FacetWorld, moments: np.ndarray, times: np.ndarray) -> None:
    boxes, rows, instances = [], [], {}
    for number, thing in enumerate(made.things):
        uid = FIRST + number if not thing.wall else APARTMENT
        turn, place = thing.path(moments)
        still = bool((turn == turn[0]).all() and (place == place[0]).all())
        for t in range(1 if still else len(times)):
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = turn[t], place[t]
            pose = SCENE_FROM_WORLD @ pose
            quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()[[3, 0, 1, 2]]
            rows.append([uid, -1 if still else times[t], *pose[:3, 3], *quaternion])
        if not thing.wall:
            boxes.append([uid, -1, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
        instances[str(uid)] = {
            "instance_id": int(uid),
            "instance_name": f"Thing_{number}",
            "prototype_name": "Thing",
            "category": "thing",
            "category_uid": number,
            "motion_type": "static" if still else "dynamic",
            "instance_type": "object",
            "rigidity": "rigid",
            "rotational_symmetry": {"is_annotated": False},
            "canonical_pose": {"up_vector": [0, 1, 0], "front_vector": [0, 0, 1]},
        }
    _write(
        folder / "scene_objects.csv", "object_uid,timestamp[ns],t_wo_x[m],t_wo_y[m],t_wo_z[m],q_wo_w,q_wo_x,q_wo_y,q_wo_z", rows
    )
    sides = ",".join(f"p_local_obj_{axis}{end}[m]" for axis in "xyz" for end in ("min", "max"))
    _write(folder / "3d_bounding_box.csv", f"object_uid,timestamp[ns],{sides}", boxes)
    (folder / "instances.json").write_text(json.dumps(instances, indent=2))


def _write(path: Path, header: str, rows: list) -> None:
    path.write_text("\n".join([header, *(",".join(str(value) for value in row) for row in rows)]) + "\n")


def _frames(folder: Path, made: FacetWorld, moments: np.ndarray, times: np.ndarray) -> np.ndarray:
    folder.mkdir()
    seen = Renderer(made).render(moments)
    images = (seen.frames * 255 + 0.5).astype(np.uint8)
    ids = np.array([APARTMENT, *(FIRST + 1 + k for k in range(len(made.things) - 1))], np.uint64)
    stamps = [times[0] - STEP, *times, times[-1] + STEP]
    for stamp, t in zip(stamps, [0, *range(len(times)), len(times) - 1], strict=True):
        layers = images[t], np.round(seen.depth[t] * 1000).astype(np.uint16), ids[seen.instances[t]]
        rgb, depth, instances = (np.ascontiguousarray(np.rot90(layer)) for layer in layers)  # a quarter turn to the left
        np.savez(folder / f"{stamp}.npz", rgb=rgb, depth=depth, instances=instances, device_from_camera=DEVICE_FROM_CAMERA)
    return images
