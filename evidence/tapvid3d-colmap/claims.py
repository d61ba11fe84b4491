"""Reconstruction from tracks, beside COLMAP's own on the same matches: which finds the camera more often, and in what time.

    pip install '.[3d]'
    python evidence/tapvid3d-colmap/claims.py OUT.json [--scenes 1 13 21] [--noise 0 0.5] [--mistakes 0.03]

Scenes are made: 16 frames of 256x256, a camera that moves, things that move by themselves, and exact tracks of a grid of
points. To each place noise is added (a deviation in pixels), and a share of them is moved anywhere. Both sides get these tracks
and the true intrinsics, ours as `Tracks`, COLMAP as keypoints and matches of all pairs of frames, verified by its own geometry;
its mapper has its default settings, but for the intrinsics, which are fixed, models of three frames, one thread and one seed.
Ours calls the same mapper, and then chooses the still points again and adjusts the cameras to these.
`colmap-strict` lets places miss by as many pixels as ours (0.003 of the diagonal, 1.1) in place of its defaults (4, for poses
12), which are meant for larger images. Pixels are not looked at, so this compares reconstruction, not features.

A camera is right if all frames are placed, no turn since the first frame is off by more than 1.5 degrees, and its way by no
more than 15 % (root mean square, after one scale); these are the bounds of tests/systems/tapvid3d for noisy tracks.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.systems.tapvid3d.adjust import TOLERANCE, adjusted, support_queries
from tapetum.tracks.facets import SceneConfig
from tapetum.tracks.facets.ground_truth import FacetGroundTruth
from tapetum.tracks.facets.sampling import sample_world
from tapetum.types import Tracks

FRAMES, SIDE = 16, 256
TURN, WAY = 1.5, 0.15


def make_scene(number: int) -> tuple[Tracks, np.ndarray, np.ndarray]:
    """Make exact tracks, intrinsics, and the poses (t, 4, 4) of the camera as what stands behind everything sees it."""
    world = sample_world(replace(SceneConfig(), zoom_share=0.0, frames=FRAMES), (0, number))
    oracle = FacetGroundTruth(world)
    queries = support_queries(FRAMES, (SIDE, SIDE))
    points, _ = oracle.pick(queries[:, 0].astype(int), queries[:, 1:].astype(np.float64))
    truth = oracle.follow(points)
    camera, wall = np.tile(np.eye(4), (FRAMES, 1, 1)), np.tile(np.eye(4), (FRAMES, 1, 1))
    camera[:, :3, :3], camera[:, :3, 3] = world.world_to_camera(oracle.times)
    behind = next(thing for thing in world.things if thing.wall)
    wall[:, :3, :3], wall[:, :3, 3] = behind.path(oracle.times)
    tracks = Tracks(xy=truth.xy, visible=truth.visible, confidence=truth.visible, queries=queries)
    return tracks, oracle.intrinsics[0], camera @ wall


def add_noise(tracks: Tracks, noise: float, mistakes: float, seed: int) -> Tracks:
    """Move all places a little, and some anywhere."""
    rng = np.random.default_rng(seed)
    xy = tracks.xy + rng.normal(0, noise, tracks.xy.shape)
    wrong = rng.random((*tracks.visible.shape, 1)) < mistakes
    return replace(tracks, xy=np.where(wrong, rng.uniform(0, SIDE, xy.shape), xy).astype(np.float32))


def reconstruct_here(tracks: Tracks, intrinsics: np.ndarray) -> dict[int, np.ndarray]:
    """Place the frames as `tapetum track --3d` does; none where it is refused."""
    try:
        poses = adjusted(tracks, (SIDE, SIDE), intrinsics).extrinsics_w2c
    except BadInput:
        return {}
    assert poses is not None
    return dict(enumerate(poses))


def reconstruct_colmap(tracks: Tracks, intrinsics: np.ndarray, within: float | None = None) -> dict[int, np.ndarray]:
    """Place the frames by COLMAP; those of its largest model. `within`: pixels by which a place may miss; None: its own."""
    import pycolmap  # pyright: ignore[reportMissingImports]

    pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value
    names = [f"{number:03}.png" for number in range(FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        place, database = Path(folder), Path(folder) / "database.db"
        (place / "images").mkdir()
        for name in names:  # asked for by COLMAP, for their size alone
            Image.new("L", (SIDE, SIDE)).save(place / "images" / name)
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model, reader.camera_params = "PINHOLE", ",".join(map(str, intrinsics.tolist()))
        pycolmap.Database.open(database).close()  # makes the file
        pycolmap.import_images(database, place / "images", pycolmap.CameraMode.SINGLE, options=reader)
        opened = pycolmap.Database.open(database)
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        rows = [np.flatnonzero(tracks.visible[:, t]) for t in range(FRAMES)]
        pairs = []
        for t, name in enumerate(names):
            opened.write_keypoints(ids[name], tracks.xy[rows[t], t].astype(np.float32))
            for s in range(t):
                _, first, second = np.intersect1d(rows[s], rows[t], return_indices=True)
                opened.write_matches(ids[names[s]], ids[name], np.stack([first, second], 1).astype(np.uint32))
                pairs.append(f"{names[s]} {name}")
        opened.close()
        (place / "pairs.txt").write_text("\n".join(pairs) + "\n")
        verify, options = pycolmap.TwoViewGeometryOptions(), pycolmap.IncrementalPipelineOptions()
        if within is not None:
            verify.ransac.max_error = options.mapper.init_max_error = options.mapper.abs_pose_max_error = within
            options.mapper.filter_max_reproj_error = options.triangulation.complete_max_reproj_error = within
            options.triangulation.merge_max_reproj_error = within
        pycolmap.verify_matches(database, place / "pairs.txt", options=verify)
        options.num_threads, options.random_seed, options.min_model_size = 1, 0, 3
        options.ba_refine_focal_length = options.ba_refine_extra_params = options.extract_colors = False
        (place / "models").mkdir()
        models = pycolmap.incremental_mapping(database, place / "images", place / "models", options)
    if not models:
        return {}
    best = max(models.values(), key=lambda model: model.num_reg_images())
    poses = {}
    for image in best.images.values():
        if image.has_pose:
            poses[names.index(image.name)] = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
    return poses


WAYS: dict[str, Callable[[Tracks, np.ndarray], dict[int, np.ndarray]]] = {
    "tapetum": reconstruct_here,
    "colmap": reconstruct_colmap,
    "colmap-strict": partial(reconstruct_colmap, within=TOLERANCE * SIDE * 2**0.5),
}


def compare_poses(poses: dict[int, np.ndarray], truth: np.ndarray) -> dict[str, float | bool | int]:
    """Compute the largest error of turns in degrees, that of the way as a share of it, and whether the camera is right."""
    frames = sorted(poses)
    if len(frames) < 2:
        return {"frames": len(frames), "right": False}
    a, b = (each @ np.linalg.inv(each[0]) for each in (np.stack([poses[t] for t in frames]), truth[frames]))
    cosine = (np.einsum("tij,tij->t", a[:, :3, :3], b[:, :3, :3]) - 1) / 2
    scale = (a[:, :3, 3] * b[:, :3, 3]).sum() / max((a[:, :3, 3] ** 2).sum(), 1e-12)
    turn = float(np.degrees(np.arccos(cosine.clip(-1, 1))).max())
    way = float(np.linalg.norm(scale * a[:, :3, 3] - b[:, :3, 3]) / np.linalg.norm(b[:, :3, 3]))
    right = len(frames) == FRAMES and turn < TURN and way < WAY
    return {"frames": len(frames), "turn": turn, "way": way, "right": bool(right)}


def main() -> None:
    """Reconstruct all scenes both ways, print a table, write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", nargs="+", type=int, default=[1, 13, 21])
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0, 0.5])
    parser.add_argument("--mistakes", type=float, default=0.03, help="share of places that are moved anywhere, with any noise")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for number in given.scenes:
        exact, intrinsics, truth = make_scene(number)
        for noise in given.noise:
            tracks = add_noise(exact, noise, given.mistakes if noise else 0.0, seed=number)
            for name, work in WAYS.items():
                began = time.process_time()
                poses = work(tracks, intrinsics)
                cost = time.process_time() - began
                rows.append({"scene": number, "noise": noise, "by": name, "cpu_s": cost, **compare_poses(poses, truth)})
                print(" ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True)
                with whole_file(given.out) as temporary:
                    temporary.write_text(json.dumps({"mistakes": given.mistakes, "rows": rows}, indent=1) + "\n")
    for name in WAYS:
        own = [row for row in rows if row["by"] == name]
        right = sum(row["right"] for row in own)
        print(f"{name}: {right} of {len(own)} right, median {np.median([row['cpu_s'] for row in own]):.2f} CPU seconds")


if __name__ == "__main__":
    main()
