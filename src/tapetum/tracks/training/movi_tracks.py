"""Point tracks of Kubric's published MOVi scenes, computed from their depth, object masks, object boxes and cameras.

    query pixel --depth, camera--> point in the world --box of its object--> the same in frame t --camera--> raster pixels

A background point stays where it is. A point of an object moves with it: by the affine map from the corners of its box
in the query frame to those in another frame (rotation, translation and scale). A point is visible in a frame if it is
in front of the camera and inside the image, if one of the four pixels around its projection shows its object, and if it is
not farther than the farthest of these by more than a hundredth of its distance.

Source: Kubric (arXiv 2203.03570) and the data of TAP-Vid's challenge made with it (arXiv 2211.03726). The camera looks along -z
with y up; depth is the distance to its centre, stored in 16 bits between the scene's minimum and maximum.

Differs from the published code: points come from the depth of the query pixel instead of its object coordinates, which are
stored as coarsely; normals are not checked, because a surface facing away is behind another part of its object; queries lie
at the centres of pixels, also at edges.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy.spatial.transform import Rotation

from tapetum.core.errors import BadInput
from tapetum.data.files import StoredFile, opened_image
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.movi import parse_example, read_records, scene_of

STRIDE = 4
"""Frames, rows and columns between the pixels of which queries are drawn."""
_SHARE, _NEARER = 0.1, 0.99
"""Part of an object's pixels that become queries, at most; factor of a distance within which depth agrees with it."""


@dataclass(frozen=True, kw_only=True)
class SceneGeometry:
    """What the tracks of a scene follow from, in metres."""

    depth: Float64[np.ndarray, "t h w"]
    """Distance of each pixel's surface to the camera's centre."""
    masks: UInt8[np.ndarray, "t h w"]
    """Number of the object of each pixel, from 1; 0 is the background."""
    boxes: Float64[np.ndarray, "n t 8 3"]
    """Corners of each object's box, in the world."""
    positions: Float64[np.ndarray, "t 3"]
    """Centres of the camera."""
    quaternions: Float64[np.ndarray, "t 4"]
    """Rotations from the camera to the world, as w, x, y, z."""
    focal: float
    """Focal length by the width of the sensor."""

    @property
    def size(self) -> tuple[int, int]:
        """Get the number of rows and columns of a frame."""
        return self.depth.shape[1], self.depth.shape[2]

    def rotations(self) -> Float64[np.ndarray, "t 3 3"]:
        """Compute the rotation matrices from the camera to the world."""
        return Rotation.from_quat(self.quaternions[:, [1, 2, 3, 0]]).as_matrix()

    def unproject(self, frames: Int64[np.ndarray, " p"], pixels: Int64[np.ndarray, "p 2"]) -> Float64[np.ndarray, "p 3"]:
        """Compute the world points that pixels (row, column) of frames show."""
        height, width = self.size
        x = (pixels[:, 1] + 0.5 - width / 2) / (self.focal * width)
        y = (pixels[:, 0] + 0.5 - height / 2) / (self.focal * width)  # pixels are squares
        rays = np.stack([x, -y, -np.ones_like(x)], -1)
        rays *= (self.depth[frames, pixels[:, 0], pixels[:, 1]] / np.linalg.norm(rays, axis=-1))[:, None]
        return np.einsum("pij,pj->pi", self.rotations()[frames], rays) + self.positions[frames]

    def project(self, world: Float64[np.ndarray, "p t 3"]) -> tuple[Float64[np.ndarray, "p t 2"], Bool[np.ndarray, "p t"]]:
        """Compute raster pixels of points in every frame, and whether they are in front of the camera."""
        local = np.einsum("tji,ptj->pti", self.rotations(), world - self.positions)  # by the inverse rotations
        before = local[..., 2] < 0
        flat = local[..., :2] / np.where(before, -local[..., 2], 1.0)[..., None]
        height, width = self.size
        return self.focal * width * flat * np.array([1.0, -1.0]) + np.array([width / 2, height / 2]), before


def compute_tracks(
    geometry: SceneGeometry, queries: Int64[np.ndarray, "p 3"]
) -> tuple[Float64[np.ndarray, "p t 2"], Bool[np.ndarray, "p t"]]:
    """Compute where the surface points at query pixels (frame, row, column) are in each frame, and whether they are visible.

    Positions are raster pixels (x, y), exact even if a point is hidden or outside; behind the camera they are undefined. Raises
    BadInput if a mask shows an object without a box.
    """
    frames, pixels = queries[:, 0], queries[:, 1:]
    points = geometry.unproject(frames, pixels)
    owners = geometry.masks[frames, pixels[:, 0], pixels[:, 1]].astype(np.int64)
    if owners.max(initial=0) > len(geometry.boxes):
        raise BadInput(f"a mask shows object {owners.max()}, and the scene has boxes of {len(geometry.boxes)}; get it again")
    world = np.repeat(points[:, None], len(geometry.depth), 1)
    for owner, frame in {*zip(owners.tolist(), frames.tolist(), strict=True)}:
        if owner:
            rows = (owners == owner) & (frames == frame)
            world[rows] = _carry(points[rows], geometry.boxes[owner - 1], frame)
    places, before = geometry.project(world)
    distances = np.linalg.norm(world - geometry.positions, axis=-1)
    return places, before & _on_surface(geometry, places, distances, owners)


def _carry(points: Float64[np.ndarray, "p 3"], boxes: Float64[np.ndarray, "t 8 3"], frame: int) -> Float64[np.ndarray, "p t 3"]:
    """Move points of an object with its box from `frame` to every frame."""
    corners = np.concatenate([boxes[frame], np.ones((8, 1))], 1)
    maps = np.stack([np.linalg.lstsq(corners, box, rcond=None)[0] for box in boxes])  # (t, 4, 3)
    return np.einsum("pi,tij->ptj", np.concatenate([points, np.ones((len(points), 1))], 1), maps)


def _on_surface(
    geometry: SceneGeometry,
    places: Float64[np.ndarray, "p t 2"],
    distances: Float64[np.ndarray, "p t"],
    owners: Int64[np.ndarray, " p"],
) -> Bool[np.ndarray, "p t"]:
    """Check for each position in the image whether one of the four pixels around shows its object, and not all are nearer."""
    height, width = geometry.size
    inside = np.all((places >= 0) & (places < np.array([width, height])), axis=-1)
    corner = np.floor(np.where(inside[..., None], places, 0.0) - 0.5).astype(np.int64)
    times = np.arange(len(geometry.depth))
    farthest, own = np.zeros(distances.shape), np.zeros(distances.shape, bool)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        rows, columns = np.clip(corner[..., 1] + down, 0, height - 1), np.clip(corner[..., 0] + right, 0, width - 1)
        farthest = np.maximum(farthest, geometry.depth[times, rows, columns])
        own |= geometry.masks[times, rows, columns] == owners[:, None]
    return inside & own & (_NEARER * distances <= farthest)


def sample_queries(masks: UInt8[np.ndarray, "t h w"], count: int, rng: np.random.Generator) -> Int64[np.ndarray, "p 3"]:
    """Draw query pixels (frame, row, column), at most `count`, from a grid in time and space with a random start.

    Objects with few pixels on the grid come first, and each gets an equal part of the remainder, but at most a tenth of its
    pixels; so small objects get more than their share by area.
    """
    begin = rng.integers(0, STRIDE, 3)
    axes = [np.arange(first, size, STRIDE) for first, size in zip(begin, masks.shape, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    owners = masks[tuple(grid.T)]
    names, sizes = np.unique(owners, return_counts=True)
    chosen: list[np.ndarray] = []
    for k, at in enumerate(np.argsort(sizes, kind="stable")):
        share = round((count - sum(map(len, chosen))) / (len(names) - k))
        number = min(share, round(_SHARE * int(sizes[at])))
        chosen.append(rng.choice(grid[owners == names[at]], number, replace=False))
    return np.concatenate(chosen) if chosen else np.zeros((0, 3), np.int64)


def geometry_of(features: Mapping[str, Any], masks: UInt8[np.ndarray, "t h w"], name: str) -> SceneGeometry:
    """Read the geometry from a record's features. Raises BadInput if a part is missing or has another shape."""
    frames = len(masks)
    images = features.get("depth")
    if not isinstance(images, list) or len(images) != frames:
        raise BadInput(f"{name} has no depth of its {frames} frames; give records of MOVi-E or MOVi-F with all layers")
    levels = [
        np.asarray(opened_image(StoredFile(f"depth of frame {k} of {name}", data), None)) for k, data in enumerate(images)
    ]
    if any(level.shape != masks.shape[1:] for level in levels):
        raise BadInput(f"{name} has depth of another size than its masks; get it again")
    least, most = _numbers(features, "metadata/depth_range", (2,), name)
    return SceneGeometry(
        depth=least + np.stack(levels).astype(np.float64) / 65535 * (most - least),
        masks=masks,
        boxes=_numbers(features, "instances/bboxes_3d", (-1, frames, 8, 3), name),
        positions=_numbers(features, "camera/positions", (frames, 3), name),
        quaternions=_numbers(features, "camera/quaternions", (frames, 4), name),
        focal=float(
            _numbers(features, "camera/focal_length", (1,), name)[0] / _numbers(features, "camera/sensor_width", (1,), name)[0]
        ),
    )


def _numbers(features: Mapping[str, Any], key: str, shape: tuple[int, ...], name: str) -> Float64[np.ndarray, "..."]:
    try:
        values = np.asarray(features[key], np.float64).reshape(shape)
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{name} has no {key} of the shape {shape}; give records of MOVi-E or MOVi-F") from error
    if not np.isfinite(values).all():
        raise BadInput(f"{key} of {name} has numbers that are not finite; get it again")
    return values


def read_tracked_scenes(file: Path, points: int, seed: int = 0) -> Iterator[TrackedClip]:
    """Yield the scenes of a TFRecord file with tracks of up to `points` points. Raises BadInput for a damaged file."""
    for k, record in enumerate(read_records(file)):
        name = f"{file.name}/{k}"
        features = parse_example(record)
        scene = scene_of(features, name)
        geometry = geometry_of(features, scene.object_masks(), name)
        queries = sample_queries(geometry.masks, points, np.random.default_rng((seed, k)))
        places, visible = compute_tracks(geometry, queries)
        yield TrackedClip(scene.video(), places.astype(np.float32), visible)
