"""A folder of Dynamic 3D Gaussians made from a world of `scenes`: images, train_meta.json and a "fitted" params.npz.

The fit is what an ideal one would be: flat Gaussians tile every facet, a little off the centres of a grid, and move and
turn with it. Three cameras stand around the scene.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from tapetum.data.textures import procedural
from tapetum.tracks.facets.ground_truth import FacetGroundTruth, frame_times
from tapetum.tracks.facets.render import Renderer
from tapetum.tracks.facets.world import STILL, FacetObject, FacetWorld, SceneConfig, box, sheet
from tapetum.tracks.facets.world import Path as Way

HEIGHT, WIDTH = 144, 256
CAMERAS = {"1": ((0.0, 0.0, 0.0), 0.0), "5": ((1.5, -0.2, 0.2), -0.4), "12": ((-1.4, 0.3, 0.1), 0.35)}
"""Place and turn about the vertical, by the name of the folder of images."""
FOCAL = {"1": 190.0, "5": 200.0, "12": 185.0}


def way(places: list, turns: list) -> Way:
    return Way(np.array(places, float), np.array(turns, float), STILL)


def world(frames: int) -> FacetWorld:
    """A wall and two boxes that pass each other and turn."""
    paint = [procedural(np.random.default_rng(k), 96) for k in range(7)]
    things = [
        FacetObject(sheet(10, 6, 96), [paint[0]], None, way([[0, 0, 5]] * 2, [[0, 0, 0]] * 2), wall=True),
        FacetObject(
            box(np.array([0.8, 0.9, 0.7]), 96),
            paint[1:4],
            None,
            way([[-1.1, 0.1, 3], [1.1, 0, 3.4]], [[0, 0, 0], [0.3, 1.2, 0]]),
        ),
        FacetObject(
            box(np.array([0.5, 0.6, 0.5]), 96),
            paint[4:7],
            None,
            way([[0.9, 0, 2.3], [-0.8, -0.1, 2.4]], [[0, 0.5, 0], [0, -0.6, 0.4]]),
        ),
    ]
    config = SceneConfig(size=(HEIGHT, WIDTH), frames=frames)
    return FacetWorld(
        config, things, way([[0, 0, 0]] * 2, [[0, 0, 0]] * 2), np.array([[100.0], [100.0]]), np.array([0, 0, 1, 1.0]), 0
    )


def seen_by(made: FacetWorld, camera: str) -> FacetWorld:
    place, turn = CAMERAS[camera]
    focal = FOCAL[camera]
    return replace(made, camera=way([place] * 2, [[0, turn, 0]] * 2), focal=np.array([[focal], [focal]]))


@dataclass(frozen=True, eq=False)
class Studio:
    raw: Path
    oracles: dict[str, FacetGroundTruth]
    w2c: dict[str, np.ndarray]
    images: dict[str, list[bytes]]


def write_studio(
    raw: Path, frames: int, spacing: float = 0.02, sequence: str = "juggle", experiment: str = "pretrained"
) -> Studio:
    made, moments = world(frames), frame_times(frames)
    data = raw / "data" / sequence
    oracles, poses, k, images = {}, {}, {}, {}
    for camera in CAMERAS:
        here = seen_by(made, camera)
        oracles[camera] = FacetGroundTruth(here)
        rotate, shift = here.world_to_camera(moments[:1])
        poses[camera] = np.eye(4)
        poses[camera][:3, :3], poses[camera][:3, 3] = rotate[0], shift[0]
        f, _, cx, cy = here.intrinsics(moments[:1])[0]
        k[camera] = [[f, 0, cx], [0, f, cy], [0, 0, 1]]
        folder = data / "ims" / camera
        folder.mkdir(parents=True)
        for t, frame in enumerate((Renderer(here).render(moments).frames * 255 + 0.5).astype(np.uint8)):
            Image.fromarray(frame).save(folder / f"{t:06d}.jpg", quality=90)
        images[camera] = [file.read_bytes() for file in sorted(folder.iterdir())]
    meta = {
        "w": WIDTH,
        "h": HEIGHT,
        "k": [[k[camera] for camera in CAMERAS]] * frames,
        "w2c": [[poses[camera].tolist() for camera in CAMERAS]] * frames,
        "fn": [[f"{camera}/{t:06d}.jpg" for camera in CAMERAS] for t in range(frames)],
        "cam_id": [[int(camera) for camera in CAMERAS]] * frames,
    }
    (data / "train_meta.json").write_text(json.dumps(meta))
    folder = raw / "output" / experiment / sequence
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **fit(made, moments, spacing))
    return Studio(raw, oracles, poses, images)


def fit(made: FacetWorld, moments: np.ndarray, spacing: float) -> dict[str, np.ndarray]:
    """Gaussians on all facets: standard deviation 0.6 of the spacing along the facet, 1 mm across it; larger on the wall."""
    rng = np.random.default_rng(0)
    camera_frames = made.view(moments).frames  # the camera of `made` rests at the origin, so these are the world's
    means, turns, scales, foreground = [], [], [], []
    for f, (u0, u1, v0, v1) in enumerate(made.bounds):
        wall = made.instance[f] == 0
        step = spacing * (4 if wall else 1)
        u, v = np.meshgrid(np.arange(u0 + step / 2, u1, step), np.arange(v0 + step / 2, v1, step))
        uv = np.stack([u.ravel(), v.ravel()], 1) + rng.uniform(-0.2, 0.2, (u.size, 2)) * step
        frames = camera_frames[f]
        means.append(np.einsum("tij,nj->tni", frames, np.c_[uv, np.ones(len(uv))]))
        axes = np.stack([frames[..., 0], frames[..., 1], np.cross(frames[..., 0], frames[..., 1])], -1)
        w = Rotation.from_matrix(axes).as_quat()[:, [3, 0, 1, 2]] * rng.uniform(0.5, 2, (len(moments), 1))  # lengths are free
        turns.append(np.repeat(w[:, None], len(uv), 1))
        scales.append(np.tile(np.log([0.6 * step, 0.6 * step, 0.001]), (len(uv), 1)))
        foreground.append(np.full(len(uv), not wall))
    moving = np.concatenate(foreground)
    count = len(moving)
    return {
        "means3D": np.concatenate(means, 1).astype(np.float32),
        "rgb_colors": np.zeros((len(moments), count, 3), np.float32),
        "seg_colors": np.stack([moving, np.zeros(count), ~moving], 1).astype(np.float32),
        "unnorm_rotations": np.concatenate(turns, 1).astype(np.float32),
        "logit_opacities": np.full((count, 1), 3.0, np.float32),
        "log_scales": np.concatenate(scales).astype(np.float32),
        "cam_m": np.zeros((50, 3), np.float32),
        "cam_c": np.zeros((50, 3), np.float32),
    }
