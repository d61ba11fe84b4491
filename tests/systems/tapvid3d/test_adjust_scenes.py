"""3D from tracks alone, on synthetic worlds with things that move by themselves, flat backdrops and rooms; truth is exact."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from tapetum.systems.tapvid3d.adjust import adjusted, reconstruct, split_support, support_queries
from tapetum.tracks.facets import SceneConfig
from tapetum.tracks.facets.ground_truth import FacetGroundTruth, FacetTracks
from tapetum.tracks.facets.sampling import sample_world
from tapetum.types import Tracks, Tracks3D

FRAMES = 16
SIZE = 256, 256


@cache
def scene(number: int) -> tuple[Tracks, FacetTracks, np.ndarray, np.ndarray]:
    """Exact tracks of the support grid, the truth, intrinsics, and poses of the camera as the background sees it."""
    world = sample_world(replace(SceneConfig(), zoom_share=0.0, frames=FRAMES), (0, number))
    oracle = FacetGroundTruth(world)
    queries = support_queries(FRAMES, SIZE)
    points, met = oracle.pick(queries[:, 0].astype(int), queries[:, 1:].astype(np.float64))
    assert met.all()
    truth = oracle.follow(points)
    poses = np.tile(np.eye(4), (2, FRAMES, 1, 1))
    poses[0, :, :3, :3], poses[0, :, :3, 3] = world.world_to_camera(oracle.times)
    wall = next(thing for thing in world.things if thing.wall)  # a backdrop may drift: what it sees is what counts
    poses[1, :, :3, :3], poses[1, :, :3, 3] = wall.path(oracle.times)
    tracks = Tracks(xy=truth.xy, visible=truth.visible, confidence=truth.visible, queries=queries)
    return tracks, truth, oracle.intrinsics[0], poses[0] @ poses[1]


def noisy(tracks: Tracks, noise: float, mistakes: float = 0.0) -> Tracks:
    rng = np.random.default_rng(1)
    xy = tracks.xy + rng.normal(0, noise, tracks.xy.shape)
    return replace(tracks, xy=np.where(rng.random((*tracks.visible.shape, 1)) < mistakes, rng.uniform(0, 256, xy.shape), xy))


def off(found: Tracks3D, poses: np.ndarray) -> tuple[float, float]:
    """Largest error of the turns since the first frame, in degrees, and of the ways, as a share of all, after one scale."""
    assert found.extrinsics_w2c is not None
    a, b = (each @ np.linalg.inv(each[0]) for each in (found.extrinsics_w2c, poses))
    cosine = (np.einsum("tij,tij->t", a[:, :3, :3], b[:, :3, :3]) - 1) / 2
    scale = (a[:, :3, 3] * b[:, :3, 3]).sum() / (a[:, :3, 3] ** 2).sum()
    way = np.linalg.norm(scale * a[:, :3, 3] - b[:, :3, 3]) / np.linalg.norm(b[:, :3, 3])
    return float(np.degrees(np.arccos(cosine.clip(-1, 1))).max()), float(way)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 13, 21])
def test_exact_tracks_give_the_camera_and_the_background(number: int) -> None:
    tracks, truth, camera, poses = scene(number)
    found = adjusted(tracks, SIZE, camera)
    turn, way = off(found, poses)
    assert turn < 0.1
    assert way < 0.01
    wall, moves = truth.instance == 0, truth.instance > 0
    still = wall[:, None] & tracks.visible & (tracks.visible.sum(1) > 3)[:, None]
    ratio = np.linalg.norm(found.xyz, axis=-1) / np.linalg.norm(truth.xyz, axis=-1)
    assert (abs(ratio / np.median(ratio[still]) - 1)[still] < 0.01).mean() > 0.95, "depths up to one factor"
    assert found.visible[still].mean() > 0.95
    assert found.visible[moves].sum() < 0.5 * tracks.visible[moves].sum()
    pixels = found.xyz[..., :2] / found.xyz[..., 2:] * camera[:2] + camera[2:]
    assert np.median(np.linalg.norm(pixels - tracks.xy, axis=-1)[still]) < 0.01


@pytest.mark.slow
def test_noise_and_mistakes() -> None:
    tracks, _, camera, poses = scene(21)
    turn, way = off(adjusted(noisy(tracks, 0.5, 0.03), SIZE, camera), poses)
    assert turn < 1.5
    assert way < 0.15


@pytest.mark.slow
def test_the_focal_length_is_estimated() -> None:
    tracks, _, camera, _ = scene(1)
    assert adjusted(tracks, SIZE).intrinsics[0] == pytest.approx(camera[0], rel=0.01)


@pytest.mark.slow
def test_opencv_places_the_cameras_where_we_do() -> None:
    tracks, _, camera, _ = scene(21)
    tracks = noisy(tracks, 0.3)
    found = reconstruct(tracks, SIZE, camera)
    mapping = found.mapping
    matrix = np.array([[camera[0], 0, camera[2]], [0, camera[1], camera[3]], [0, 0, 1]])
    for frame in range(0, FRAMES, 5):
        use = mapping.still & tracks.visible[:, frame] & (found.depth_deviation < 0.1)
        points, pose = mapping.points[use], mapping.poses[frame]
        ok, turn, way, inliers = cv2.solvePnPRansac(
            points, tracks.xy[use, frame].astype(np.float64), matrix, None, reprojectionError=1.5
        )
        assert ok
        assert len(inliers) > 0.8 * use.sum()
        turned = cv2.Rodrigues(turn)[0] @ pose[:3, :3].T
        assert np.degrees(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1))) < 0.3
        assert np.linalg.norm(way[:, 0] - pose[:3, 3]) < 0.05 * abs(points).max()


@pytest.mark.slow
def test_frames_between_the_mapped_ones_are_placed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks, _, camera, poses = scene(21)
    monkeypatch.setattr("tapetum.systems.tapvid3d.mapping.KEYS", 6)
    turn, way = off(adjusted(tracks, SIZE, camera), poses)
    assert turn < 0.1
    assert way < 0.01


@pytest.mark.slow
def test_few_points_lean_on_the_support_and_the_same_seed_gives_the_same() -> None:
    tracks, _, camera, poses = scene(21)
    few, support = split_support(tracks, 3)
    found = adjusted(few, SIZE, camera, support=support)
    assert found.points == 3
    assert off(found, poses)[0] < 0.1
    np.testing.assert_array_equal(adjusted(few, SIZE, camera, support=support).xyz, found.xyz)
