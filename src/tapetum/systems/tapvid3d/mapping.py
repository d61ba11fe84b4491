"""Cameras of a video from its tracks: COLMAP (Schönberger and Frahm, "Structure-from-Motion Revisited", CVPR 2016) through
pycolmap, given the tracks as keypoints and matches; its images are never looked at.

    tracks ──► two-view geometry of all pairs of frames ──► incremental mapping ──► still points chosen, adjusted, again

COLMAP alone lets slow things pass as static. So the still points are chosen again, round by round: those that most of their
views agree with; and the cameras are adjusted to these alone, with Cauchy's loss.
"""

import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.systems.tapvid3d.geometry import F64, project, transform

KEYS = 48
"""Maximum number of frames that are mapped, evenly over the video; the others are placed among them."""
LEAST = 8
"""Minimum number of still points in a frame."""
AGREE = 0.7
"""Share of its views that must agree with a still point."""
ROUNDS, SETTLED = 8, 0.01
"""Maximum number of rounds, and relative change of the error below which they end."""


@dataclass(eq=False)
class Mapping:
    """Cameras of all frames, and points, in a unit of their own."""

    poses: F64
    """(t, 4, 4) world to camera."""
    points: F64
    """(n, 3) in the world."""
    intrinsics: F64
    """fx, fy, cx, cy in pixels."""
    still: Bool[np.ndarray, " n"]
    errors: F64
    """(n, t) pixels between each place and where its point is projected to."""

    def choose_still(self, visible: Bool[np.ndarray, "n t"], within: float) -> None:
        """Call those points still that three views, and most of theirs, agree with."""
        agree, observed = (visible & (self.errors < within)).sum(1), visible.sum(1)
        self.still = (agree >= 3) & (agree >= AGREE * observed)


def map_cameras(
    xy: Float[np.ndarray, "n t 2"],
    visible: Bool[np.ndarray, "n t"],
    size: tuple[int, int],
    camera: F64,
    is_known: bool,
    within: float,
    seed: int,
) -> Mapping:
    """Find the camera of each frame, and the still points.

    `xy` are raster pixels, of which those `visible` count; `size` height and width; `camera` fx, fy, cx, cy in pixels, of which
    one focal length is adjusted unless it `is_known`; `within` the pixels by which a place may be off. Raises BadInput where no
    motion of a camera explains the tracks, and MissingExtra without pycolmap.
    """
    try:
        colmap = import_module("pycolmap")
    except ImportError as error:
        raise MissingExtra("pycolmap", "3d", "finding the camera from the tracks (--depth adjust)") from error
    colmap.logging.minloglevel = colmap.logging.FATAL.value
    t = xy.shape[1]
    keys = np.unique(np.linspace(0, t - 1, min(t, KEYS)).round().astype(int))
    model = _map(colmap, xy[:, keys], visible[:, keys], size, camera, is_known, within, seed)
    if model is None:
        raise BadInput(
            f"no motion of a camera explains the tracks: fewer than {LEAST} points go through several frames as if they stood "
            "still; track more points of the background, or give --depth maps or a network"
        )
    images = {int(image.name): image for image in model.images.values() if image.has_pose}
    use = sorted(images)
    places, observed = xy[:, keys[use]], visible[:, keys[use]]
    bound, before = within, np.inf
    mapping = _read(model, [images[frame] for frame in use], places, observed, bound)
    for _ in range(ROUNDS):
        _adjust(colmap, model, [images[frame] for frame in use], mapping, observed, bound, is_known)
        mapping = _read(model, [images[frame] for frame in use], places, observed, bound)
        errors = mapping.errors[mapping.still][observed[mapping.still]]
        if len(errors) < LEAST:
            raise BadInput(f"fewer than {LEAST} points stand still; adjustment needs them: track more of the background")
        bound = float(np.clip(1.3 * np.quantile(errors, 0.8), 0.05 * within, within))
        mapping.choose_still(observed, bound)
        after = max(float(np.median(errors)), 0.01 * within)
        if abs(after - before) < SETTLED * before:
            break
        before = after
    poses = _place_all(colmap, mapping, keys[use], xy, visible, size, bound)
    points, errors = triangulate(xy, visible, poses, mapping.intrinsics, bound)
    mapping = Mapping(poses, points, mapping.intrinsics, mapping.still, errors)
    mapping.choose_still(visible, bound)
    return mapping


def _map(
    colmap: Any,
    xy: F64,
    visible: Bool[np.ndarray, "n t"],
    size: tuple[int, int],
    camera: F64,
    is_known: bool,
    within: float,
    seed: int,
) -> Any:
    """The largest reconstruction, whose images are named by their frame; None if there is none."""
    fx, fy, cx, cy = camera.tolist()
    model, numbers = ("PINHOLE", [fx, fy, cx, cy]) if is_known else ("SIMPLE_PINHOLE", [fx, cx, cy])
    sensor = colmap.Camera(camera_id=1, model=model, width=size[1], height=size[0], params=numbers)
    sensor.has_prior_focal_length = is_known
    verify, options = colmap.TwoViewGeometryOptions(), colmap.IncrementalPipelineOptions()
    mapper, triangulation = options.mapper, options.triangulation
    verify.ransac.max_error = mapper.init_max_error = mapper.abs_pose_max_error = mapper.filter_max_reproj_error = within
    triangulation.complete_max_reproj_error = triangulation.merge_max_reproj_error = within
    verify.ransac.random_seed = options.random_seed = seed
    mapper.init_min_tri_angle, mapper.filter_min_tri_angle, triangulation.min_angle = 8.0, 1.0, 1.0
    verify.min_num_inliers = options.min_num_matches = 15
    mapper.init_min_num_inliers = mapper.abs_pose_min_num_inliers = 15
    options.num_threads, options.min_model_size = 1, 3
    options.ba_refine_focal_length = not is_known
    options.ba_refine_extra_params = options.extract_colors = False
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "database.db"
        database = colmap.Database.open(place)
        database.write_camera(sensor, use_camera_id=True)
        rig = colmap.Rig(rig_id=1)
        rig.add_ref_sensor(sensor.sensor_id)
        database.write_rig(rig, use_rig_id=True)
        for frame in range(xy.shape[1]):  # keypoint k is point k, seen or not
            image = colmap.Image(name=str(frame), camera_id=1, image_id=frame + 1)
            database.write_image(image, use_image_id=True)
            own = colmap.Frame(frame_id=frame + 1, rig_id=1)
            own.add_data_id(image.data_id)
            database.write_frame(own, use_frame_id=True)
            database.write_keypoints(frame + 1, xy[:, frame].astype(np.float32))
        for j in range(1, xy.shape[1]):
            for i in range(j):
                both = np.flatnonzero(visible[:, i] & visible[:, j])
                if len(both) < verify.min_num_inliers:
                    continue
                matches = np.stack([both, both], 1).astype(np.uint32)
                result = colmap.estimate_two_view_geometry(sensor, xy[:, i], sensor, xy[:, j], matches, verify)
                database.write_matches(i + 1, j + 1, matches)
                database.write_two_view_geometry(i + 1, j + 1, result)
        database.close()
        (Path(folder) / "models").mkdir()
        models = colmap.incremental_mapping(place, folder, Path(folder) / "models", options)
    return max(models.values(), key=lambda each: each.num_reg_images(), default=None)


def _read(model: Any, images: list[Any], xy: F64, visible: Bool[np.ndarray, "n t"], within: float) -> Mapping:
    poses = np.stack([np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]) for image in images])
    params = next(iter(model.cameras.values())).params
    intrinsics = np.array(params if len(params) == 4 else [params[0], *params], np.float64)
    points, errors = triangulate(xy, visible, poses, intrinsics, within)
    mapping = Mapping(poses, points, intrinsics, np.zeros(len(xy), bool), errors)
    mapping.choose_still(visible, within)
    return mapping


def _adjust(
    colmap: Any,
    model: Any,
    images: list[Any],
    mapping: Mapping,
    visible: Bool[np.ndarray, "n t"],
    within: float,
    is_known: bool,
) -> None:
    """Adjust the cameras, in place, to the still points alone."""
    for point in list(model.points3D):
        model.delete_point3D(point)
    for row in np.flatnonzero(mapping.still):
        agree = np.flatnonzero(visible[row] & (mapping.errors[row] < 4 * within))
        elements = [colmap.TrackElement(images[frame].image_id, int(row)) for frame in agree]
        model.add_point3D(mapping.points[row], colmap.Track(elements))
    options = colmap.BundleAdjustmentOptions()
    options.refine_focal_length = not is_known
    options.refine_principal_point = options.refine_extra_params = options.print_summary = False
    options.ceres.loss_function_type = colmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = within / 2
    config = colmap.BundleAdjustmentConfig()
    for image in images:
        config.add_image(image.image_id)
    config.fix_gauge(colmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    colmap.create_default_bundle_adjuster(options, config, model).solve()  # bundle_adjustment() logs to stderr


def _place_all(
    colmap: Any,
    mapping: Mapping,
    keys: np.ndarray,
    xy: F64,
    visible: Bool[np.ndarray, "n t"],
    size: tuple[int, int],
    within: float,
) -> F64:
    """Poses of all frames: those of the mapped `keys`, the others by the still points that are seen in them."""
    poses = np.full((xy.shape[1], 4, 4), np.nan)
    poses[keys] = mapping.poses
    sensor = colmap.Camera(camera_id=1, model="PINHOLE", width=size[1], height=size[0], params=mapping.intrinsics.tolist())
    options = colmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = max(within, 0.5)
    for frame in np.flatnonzero(np.isnan(poses[:, 0, 0])):
        use = mapping.still & visible[:, frame]
        result = None
        if use.sum() >= LEAST:
            places = xy[use, frame].astype(np.float64)
            result = colmap.estimate_and_refine_absolute_pose(places, mapping.points[use], sensor, options)
        if result is None or result["num_inliers"] < LEAST:
            raise BadInput(
                f"the camera of frame {frame} cannot be found: fewer than {LEAST} points that stand still are seen there and "
                "in the frames beside it; track more points of the background, or cut the video there"
            )
        poses[frame] = np.vstack([result["cam_from_world"].matrix(), [0, 0, 0, 1]])
    return poses


def triangulate(xy: F64, visible: Bool[np.ndarray, "n t"], poses: F64, intrinsics: F64, within: float) -> tuple[F64, F64]:
    """Triangulate tracks (n, t, 2) linearly, each view weighted by Cauchy's loss of its error, again and again.

    Returns points (n, 3) and errors (n, t) in pixels, infinite behind the camera.
    """
    k = np.array([[intrinsics[0], 0, intrinsics[2]], [0, intrinsics[1], intrinsics[3]], [0, 0, 1.0]])
    cameras = k @ poses[:, :3]  # (t, 3, 4)
    rows = xy.astype(np.float64)[..., None] * cameras[None, :, 2:] - cameras[None, :, :2]  # (n, t, 2, 4)
    weight = visible.astype(np.float64)
    scale = np.linalg.norm(rows.reshape(len(xy), -1, 4), axis=1, keepdims=True).mean() or 1.0
    points, errors = np.zeros((len(xy), 3)), np.full(visible.shape, np.inf)
    for _ in range(10):
        normal = np.einsum("nt,ntai,ntaj->nij", weight, rows / scale, rows / scale, optimize=True)
        solution = np.linalg.eigh(normal)[1][:, :, 0]
        w = np.where(abs(solution[:, 3:]) < 1e-9, 1e-9, solution[:, 3:])
        points = solution[:, :3] / w
        camera = transform(poses, np.repeat(points[None], len(poses), 0)).transpose(1, 0, 2)
        z = camera[..., 2]
        off = np.linalg.norm(project(camera, intrinsics) - xy, axis=-1)
        errors = np.where(z > 0, off, np.inf)
        weight = visible / ((1 + (np.minimum(off, 1e6) / within) ** 2) * np.maximum(z**2, 1e-6 * np.median(z**2)))
    return points, errors
