"""Bundle adjustment and two views: derivatives against differences, answers against exact truth and against OpenCV."""

import cv2
import numpy as np
import pytest

from tapetum.systems.tapvid3d.bundle import (
    Bundle,
    Problem,
    adjust,
    five_point,
    homogeneous,
    left_jacobian,
    poses_of,
    poses_of_plane,
    refined,
    rotation,
    sampson,
    tangents_at,
    triangulate,
)

CAMERA = np.array([280.0, 290, 160, 120])


def some_bundle(seed: int = 0, n: int = 30, t: int = 6) -> tuple[Bundle, np.ndarray, np.ndarray]:
    """A bundle, where its points are seen, and in which frames."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform([-2, -2, 4], [2, 2, 9], (n, 3)), np.ones((n, 1))], 1)
    poses = np.concatenate([rotation(rng.normal(0, 0.1, (t, 3))), rng.normal(0, 0.4, (t, 3, 1))], 2)
    poses[0] = np.eye(3, 4)
    rays = np.einsum("tij,nj->nti", poses, points)
    return Bundle(poses, points, CAMERA), rays[..., :2] / rays[..., 2:] * CAMERA[:2] + CAMERA[2:], rng.random((n, t)) < 0.8


def problem_of(bundle: Bundle, xy: np.ndarray, visible: np.ndarray, scale: float, prior: float, free: np.ndarray) -> Problem:
    points = bundle.points / np.linalg.norm(bundle.points, axis=1, keepdims=True)
    point, frame = np.nonzero(visible)
    start = Bundle(bundle.poses, points, bundle.intrinsics)
    return Problem(start, point, frame, xy[point, frame], free, tangents_at(points), scale, prior, 0.1)


@pytest.mark.parametrize("step", [0.0, 1e-7, 0.03])
def test_the_jacobian_is_that_of_the_errors(step: float) -> None:
    bundle, xy, visible = some_bundle()
    rng = np.random.default_rng(1)
    free = np.ones(6 * 6 + 3 * 30 + 1, bool)
    free[:6] = False
    problem = problem_of(bundle, xy + rng.normal(0, 2, xy.shape), visible, 1.5, 3.0, free)
    at = rng.normal(0, 1, free.sum()) * step
    nudges = 1e-6 * np.eye(int(free.sum()))
    differences = np.stack([(problem.errors(at + d) - problem.errors(at - d)) / 2e-6 for d in nudges], axis=1)
    np.testing.assert_allclose(problem.jacobian(at).toarray(), differences, atol=1e-5, rtol=1e-6)


def test_the_loss_is_cauchys() -> None:
    bundle, xy, visible = some_bundle()
    problem = problem_of(bundle, xy + np.array([3.0, -4.0]), visible, 2.0, 0.0, np.zeros(6 * 6 + 3 * 30 + 1, bool))
    loss = 0.5 * (problem.errors(np.zeros(0)) ** 2).sum()
    assert loss == pytest.approx(visible.sum() * 0.5 * 4 * np.log1p(25 / 4))


@pytest.mark.parametrize("focal", [None, 0.5])
def test_a_disturbed_bundle_comes_back_though_some_tracks_are_wrong(focal: float | None) -> None:
    bundle, xy, visible = some_bundle(n=60)
    rng = np.random.default_rng(2)
    poses, points = bundle.poses.copy(), bundle.points.copy()
    poses[1:, :, :3] = rotation(rng.normal(0, 0.004, (5, 3))) @ poses[1:, :, :3]
    far = int(np.linalg.norm(poses[:, :, 3], axis=1).argmax())
    points[:, 3] *= np.exp(rng.normal(0, 0.02, 60))
    wrong = rng.random((*visible.shape, 1)) < 0.05
    tracked = np.where(wrong, xy + rng.normal(0, 40, xy.shape), xy)
    camera = CAMERA * [1.03, 1.03, 1, 1] if focal else CAMERA
    found = adjust(Bundle(poses, points, camera), tracked, visible, scale=1.0, fixed=(0, far), focal_prior=focal, steps=100)
    errors = found.errors(xy)[visible]
    assert np.median(errors) < 0.01
    assert np.percentile(errors, 90) < 0.1
    np.testing.assert_array_equal(found.poses[0], np.eye(3, 4))
    np.testing.assert_allclose(found.intrinsics, CAMERA, rtol=1e-3)


def test_turns_are_those_of_opencv() -> None:
    for vector in np.random.default_rng(0).normal(0, 1, (5, 3)) * [[1], [0.1], [1e-3], [1e-6], [3]]:
        np.testing.assert_allclose(rotation(vector), cv2.Rodrigues(vector)[0], atol=1e-12)
        nudge = np.array([1e-6, -2e-6, 1.5e-6])
        moved = rotation(left_jacobian(vector) @ nudge) @ rotation(vector)
        np.testing.assert_allclose(rotation(vector + nudge), moved, atol=1e-10)


def pair(flat: bool, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places in two views in normalised coordinates, the turn and the way between them."""
    rng = np.random.default_rng(3)
    points = rng.uniform([-2, -2, 4], [2, 2, 8], (80, 3))
    if flat:
        points[:, 2] = 6 + 0.4 * points[:, 0] - 0.2 * points[:, 1]
    turn, way = rotation(np.array([0.1, -0.2, 0.05])), np.array([0.8, -0.1, 0.3])
    other = points @ turn.T + way
    a, b = points[:, :2] / points[:, 2:], other[:, :2] / other[:, 2:]
    return a, b + rng.normal(0, noise, b.shape), turn, way


def off(pose: np.ndarray, turn: np.ndarray, way: np.ndarray) -> float:
    """The largest difference of a pose from the truth, the ways taken at unit length."""
    ways = pose[:, 3] / np.linalg.norm(pose[:, 3]) - way / np.linalg.norm(way)
    return float(max(abs(pose[:, :3] - turn).max(), abs(ways).max()))


@pytest.mark.parametrize("flat", [False, True])
def test_five_points_give_the_pose_in_a_flat_scene_too(flat: bool) -> None:
    a, b, turn, way = pair(flat)
    samples = np.random.default_rng(4).permuted(np.tile(np.arange(80), (20, 1)), axis=1)[:, :5]
    essential = five_point(a[samples], b[samples])
    assert min(off(pose, turn, way) for e in essential for pose in poses_of(e)) < 1e-9
    right = essential[sampson(essential, a, b).max(1) < 1e-9]
    assert len(right) >= 19
    assert flat or all(min(off(pose, turn, way) for pose in poses_of(e)) < 1e-6 for e in right)
    assert abs(np.einsum("ni,kij,nj->kn", homogeneous(b), right, homogeneous(a))).max() < 1e-9


def test_a_noisy_pose_is_as_opencvs_or_better() -> None:
    a, b, turn, way = pair(flat=False, noise=0.5 / 280)
    samples = np.random.default_rng(4).permuted(np.tile(np.arange(80), (100, 1)), axis=1)[:, :5]
    found = refined(five_point(a[samples], b[samples]), a, b, np.ones(80), 1 / 280)
    ours = min(off(pose, turn, way) for pose in poses_of(found[sampson(found, a, b).mean(1).argmin()]))
    essential, mask = cv2.findEssentialMat(a, b, np.eye(3), method=cv2.RANSAC, prob=0.999, threshold=1.5 / 280)
    _, their_turn, their_way, _ = cv2.recoverPose(essential, a, b, np.eye(3), mask=mask)
    assert ours < 0.05
    assert ours < 1.5 * off(np.column_stack([their_turn, their_way]), turn, way) + 0.005


def test_a_plane_allows_two_poses_those_of_opencv() -> None:
    turn, way, normal = rotation(np.array([0.1, -0.2, 0.05])), np.array([0.3, -0.1, 0.2]), np.array([0.3, -0.2, 0.933])
    homography = -2.5 * (turn + np.outer(way, normal / np.linalg.norm(normal)))
    found = poses_of_plane(homography)
    assert min(abs(pose - np.column_stack([turn, way])).max() for pose in found) < 1e-9
    _, turns, ways, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
    theirs = [np.column_stack(pose) for pose in zip(turns, ways, strict=True)]
    assert all(min(abs(pose - other).max() for other in theirs) < 1e-9 for pose in found)
    assert len(poses_of_plane(turn)) == 0, "a mere turn"


def test_points_from_several_views_and_from_one_place() -> None:
    bundle, xy, visible = some_bundle()
    places = (xy - CAMERA[2:]) / CAMERA[:2]
    points = triangulate(bundle.poses, places, visible.astype(float))
    np.testing.assert_allclose(points[:, :3] / points[:, 3:], bundle.points[:, :3], atol=1e-8)
    far = triangulate(bundle.poses[[0, 0]], places[:, [0, 0]], np.ones((30, 2)))
    np.testing.assert_allclose(far[:, :2] / far[:, 2:3], places[:, 0], atol=1e-6)


@pytest.mark.parametrize("weight", [1e-6, 1.0, 1e6])
def test_a_single_ray_ends_in_the_distance_whatever_it_weighs(weight: float) -> None:
    pose = np.column_stack([rotation(np.array([0.1, -0.2, 0.3])), [1.0, 2.0, 3.0]])[None]
    place = np.array([[[0.3, -0.2]]])
    [point] = triangulate(pose, place, np.array([[weight]]))
    ray = pose[0, :, :3].T @ [0.3, -0.2, 1.0]
    np.testing.assert_allclose(point[:3], ray / np.linalg.norm(ray), atol=2e-3)
    assert abs(point[3]) < 1e-3
