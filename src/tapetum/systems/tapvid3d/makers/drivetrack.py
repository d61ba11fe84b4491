"""TAPVid-3D from Waymo Open, as DriveTrack (CVPR 2024) does it: lidar points of a vehicle, carried by its labelled boxes.

    candidates -> kept (filters) -> object_points -> transport -> visible (densified lidar) -> to_opencv -> queries

Source: arjunvb/drivetrack at 2a3e204, which the authors of TAPVid-3D name as the origin of their tracks (issue 126 of
google-deepmind/tapnet). Which method filled in the lidar there is not known; this is that code's own default, the nearest
lidar point in the image. What TAPVid-3D adds is inferred from a published file: 256 tracks a clip, OpenCV axes, whole
10 Hz frames as they are.

Kept from the code: ranges are measured from the vehicle's origin, not the camera's; points come from all frames of the
boxes, also those out of view; a box is a pose, whose size plays no part; boxes turn about the world's vertical only.

Differs from the code: a vehicle that leaves its camera for another one and comes back is left out, since the video would
jump (there, frames that follow one another in the list of boxes count as neighbours); the computing is in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.geometry import F64, project, transform
from tapetum.systems.tapvid3d.makers.common import I64, Arrays, Bool, ClipJob, clip_arrays, fails, generator
from tapetum.systems.tapvid3d.makers.waymo import WaymoCamera, WaymoSegment, segments, yawed

CAMERAS = (1, 2, 3)
"""Front, front left, front right."""
LEAST_FRAMES = 24
FARTHEST = 50.0
"""Metres from the vehicle's origin within which a corner of the box must come, in some frame."""
SHRINK = 0.1
"""Metres by which a box is smaller in length, width and height, when points are found from it: less ground."""
OCCLUDED = 0.95
"""Share of its own range by which a point is hidden, if the lidar's range at its pixel is less."""
TRACKS = 256

OPENCV_FROM_WAYMO: F64 = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""x forward, y left, z up -> x right, y down, z forward: (X, Y, Z) = (-y, -z, x)."""


@dataclass(frozen=True, eq=False)
class Vehicle:
    """One vehicle in one camera, over the frames that have a box for it."""

    camera: WaymoCamera
    uid: str
    times: I64
    """(t,) microseconds."""
    frames: I64
    """(t,) numbers of these frames in the video."""
    boxes: F64
    """(t, 7) as in `VehicleBoxes`."""
    world_from_vehicle: F64
    """(t, 4, 4) poses of the vehicle that carries the camera."""

    def at(self, frames: ArrayLike) -> "Vehicle":
        """Select some of the frames."""
        part = {name: getattr(self, name)[frames] for name in ("times", "frames", "boxes", "world_from_vehicle")}
        return replace(self, **part)

    @cached_property
    def world_from_object(self) -> F64:
        """Compute the poses (t, 4, 4) of the boxes in the world: yaw and place only."""
        heading = np.arctan2(self.world_from_vehicle[:, 1, 0], self.world_from_vehicle[:, 0, 0])
        centre = transform(self.world_from_vehicle, self.boxes[:, None, :3])[:, 0]
        return yawed(self.boxes[:, 6] + heading, centre)


def candidates(segment: WaymoSegment) -> Iterator[Vehicle]:
    """Yield every vehicle in every front camera that shows it best in some frame."""
    video = np.array(sorted(segment.vehicle), np.int64)
    for boxes in segment.vehicles:
        if boxes.camera in CAMERAS and boxes.camera in segment.cameras:
            known = np.isin(boxes.times, video)
            times = boxes.times[known]
            poses = np.array([segment.vehicle[int(time)] for time in times]).reshape(-1, 4, 4)
            camera = segment.cameras[boxes.camera]
            yield Vehicle(camera, boxes.uid, times, np.searchsorted(video, times), boxes.boxes[known], poses)


def corners(boxes: F64) -> F64:
    """Compute the corners (t, 8, 3) of boxes (t, 7)."""
    signs = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3, indexing="ij"), -1).reshape(8, 3)
    return transform(yawed(boxes[:, 6], boxes[:, :3]), signs * boxes[:, None, 3:6])


def in_image(points: F64, camera: WaymoCamera) -> tuple[F64, Bool]:
    """Project points (..., 3) of the vehicle's coordinates to raster pixels (..., 2), and mark those ahead and in the image."""
    in_camera = to_opencv(points, camera)
    xy = project(in_camera, camera.intrinsics)
    h, w = camera.size
    return xy, ((xy >= 0) & (xy < [w, h])).all(-1) & (in_camera[..., 2] >= 0)


def to_opencv(points: F64, camera: WaymoCamera) -> F64:
    """Transform points (..., 3) in the vehicle's coordinates to the camera's, in OpenCV's axes."""
    return transform(OPENCV_FROM_WAYMO @ np.linalg.inv(camera.vehicle_from_camera), points)


def kept(vehicle: Vehicle) -> Bool | None:
    """Mark the frames (t,) in which a corner of the box is in the image; None if the filters reject the vehicle.

    They must be consecutive, at least 24, and in some frame a corner must be within 50 m.
    """
    edges = corners(vehicle.boxes)
    shown: Bool = np.any(in_image(edges, vehicle.camera)[1], axis=1)
    near = (np.linalg.norm(edges, axis=-1) <= FARTHEST).any()
    together = bool((np.diff(vehicle.frames[shown]) == 1).all())
    return shown if near and together and shown.sum() >= LEAST_FRAMES else None


def inside(points: F64, box: F64) -> Bool:
    """Check which points (k, 3) lie in a box (7,), shrunk by 0.1 m."""
    local = transform(np.linalg.inv(yawed(box[6], box[:3])), points)
    return np.all(abs(local) <= (box[3:6] - SHRINK) / 2, axis=1)


def object_points(vehicle: Vehicle, points: list[F64]) -> F64:
    """Collect points (n, 3) in the object's coordinates: those of every frame's lidar `points` (k, 3) that lie in its box."""
    object_from_vehicle = np.linalg.inv(vehicle.world_from_object) @ vehicle.world_from_vehicle
    clouds = [
        transform(move, cloud[inside(cloud, box)])
        for move, cloud, box in zip(object_from_vehicle, points, vehicle.boxes, strict=True)
    ]
    return np.concatenate(clouds)


def transport(vehicle: Vehicle, points: F64) -> F64:
    """Transport tracks (t, n, 3) in the coordinates of the vehicle with the camera, of points (n, 3) in those of the object."""
    return transform(np.linalg.inv(vehicle.world_from_vehicle) @ vehicle.world_from_object, points)


def visible(tracks: F64, camera: WaymoCamera, ranges: list[F64]) -> Bool:
    """Find where tracks (t, n, 3), in the vehicle's coordinates, are seen; `ranges` are of each frame `ranges_in`.

    A point must be in the image. It is hidden where the largest of the ranges at the four pixels around it is less than
    0.95 of its own. The range at a pixel is that of the lidar point nearest to it in the image.
    """
    from scipy.spatial import KDTree

    h, w = camera.size
    xy, visibility = in_image(tracks, camera)
    distance = np.linalg.norm(tracks, axis=-1)
    for t, here in enumerate(ranges):
        at = np.flatnonzero(visibility[t])
        if not len(at) or not len(here):
            continue
        low, high = np.floor(xy[t, at]).astype(int), np.ceil(xy[t, at]).astype(int)
        x, y = np.clip(np.stack([low, high]), 0, np.array([w, h]) - 1).transpose(2, 0, 1)
        four = np.stack([np.stack([a, b], -1) for a in x for b in y])
        nearest = KDTree(here[:, :2], leafsize=16).query(four)[1]  # so ties fall as in DriveTrack
        visibility[t, at] = here[nearest, 2].max(0) >= OCCLUDED * distance[t, at]
    return visibility


def ranges_in(segment: WaymoSegment, camera: int, time: int) -> F64:
    """Select lidar points (k, 3) of one frame in one camera's image: x, y, distance from the vehicle's origin."""
    sweep = segment.sweeps[time]
    distance = np.linalg.norm(sweep.points, axis=1)
    first, second = sweep.projection[:, 0] == camera, sweep.projection[:, 3] == camera
    xy = np.concatenate([sweep.projection[first, 1:3], sweep.projection[second, 4:6]])
    return np.concatenate([xy, np.concatenate([distance[first], distance[second]])[:, None]], 1, dtype=np.float64)


def make_clip(segment: WaymoSegment, vehicle: Vehicle, rng: np.random.Generator, n: int = TRACKS) -> Arrays:
    """Make the arrays of one file of the benchmark, for a vehicle that passes `kept`; possibly without tracks.

    The n tracks are drawn at random from all that are visible in some frame.
    """
    camera = vehicle.camera
    images = segment.images(camera.name)
    whole = np.array([time in segment.sweeps and time in images for time in vehicle.times])
    vehicle = vehicle.at(whole)
    shown = kept(vehicle)
    times = [int(time) for time in vehicle.times]
    points = object_points(vehicle, [segment.sweeps[time].points for time in times])
    clip = vehicle.at(np.zeros(len(times), bool) if shown is None else shown)
    ranges = [ranges_in(segment, camera.name, int(time)) for time in clip.times]
    tracks, visibility = _some_visible(clip, points[rng.permutation(len(points))], ranges, n)
    xyz = to_opencv(tracks, camera)
    camera_from_world = np.linalg.inv(clip.world_from_vehicle @ camera.vehicle_from_camera)
    jpegs = [images[int(time)] for time in clip.times]
    return clip_arrays(jpegs, xyz, visibility, camera.intrinsics, rng, OPENCV_FROM_WAYMO @ camera_from_world)


def _some_visible(clip: Vehicle, points: F64, ranges: list[F64], n: int, block: int = 1024) -> tuple[F64, Bool]:
    """The first n tracks of `points` (m, 3) that are ever visible, computed in batches."""
    t = len(clip.times)
    tracks, visibility = np.zeros((t, 0, 3)), np.zeros((t, 0), bool)
    for start in range(0, len(points), block):
        more = transport(clip, points[start : start + block])
        sees = visible(more, clip.camera, ranges)
        ever = sees.any(0)
        tracks, visibility = np.concatenate([tracks, more[:, ever]], 1), np.concatenate([visibility, sees[:, ever]], 1)
        if visibility.shape[1] >= n:
            break
    return tracks[:, :n], visibility[:, :n]


def jobs(raw: Path, *, seed: int = 0, tracks: int = TRACKS) -> Iterator[ClipJob]:
    """Yield every vehicle that the filters keep, in the segments of `raw`, a split of Waymo Open's version 2.

    Raises `BadInput` if there is no segment.
    """
    for segment in segments(raw):
        try:
            vehicles = [vehicle for vehicle in candidates(segment) if kept(vehicle) is not None]
        except BadInput as error:
            yield fails(f"tapvid3d_{segment.name}", error)
            continue
        for vehicle in vehicles:
            name = f"tapvid3d_{segment.name}_{vehicle.camera.name}_{vehicle.uid}"
            yield ClipJob(name, partial(make_clip, segment, vehicle, generator(seed, name), tracks))
