"""3D from tracks alone, on a rigid world with a travelling camera, whose truth is exact."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.adjust import adjusted
from tapetum.systems.tapvid3d.geometry import project, transform
from tapetum.types import Tracks

CAMERA = np.array([280.0, 280, 160, 120])
SIZE = 240, 320
FRAMES = 10


def world(seed: int, moving: int = 0, noise: float = 0.0, travel: float = 1.0) -> tuple[Tracks, np.ndarray, np.ndarray]:
    """Tracks of 80 points, `moving` of them by themselves; true positions in the cameras; which points stand still."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, FRAMES)[:, None]
    turns = Rotation.from_rotvec(time * [0.05, -0.25, 0.04]).as_matrix()
    way = travel * time * [1.5, 0.3, 0.6]
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = turns, -(turns @ way[..., None])[..., 0]
    points = np.repeat(rng.uniform([-3, -2, 3], [3, 2, 9], (80, 3))[None], FRAMES, 0)
    points[:, :moving] += time[:, None] * rng.uniform(-2, 2, (moving, 3))
    xyz = transform(poses, points).transpose(1, 0, 2)
    xy = project(xyz, CAMERA)
    visible = ((xy >= 0) & (xy < SIZE[::-1])).all(-1)
    xy = xy + rng.normal(0, noise, xy.shape)
    kept = visible.sum(1) >= 4
    first = visible[kept].argmax(1)
    queries = np.column_stack([first, xy[kept][np.arange(kept.sum()), first]])
    tracks = Tracks(xy=xy[kept], visible=visible[kept], confidence=visible[kept].astype(float), queries=queries)
    return tracks, xyz[kept], np.arange(80)[kept] >= moving


def error(tracks: Tracks, xyz: np.ndarray, still: np.ndarray, found: np.ndarray) -> float:
    """Median distance of visible still points from the truth, as a share of their depth, after one scale for all."""
    judged = tracks.visible & still[:, None]
    scale = np.median(xyz[judged][:, 2] / found[judged][:, 2])
    return float(np.median(np.linalg.norm(found * scale - xyz, axis=-1)[judged] / xyz[judged][:, 2]))


@pytest.mark.parametrize(("moving", "noise", "bound"), [(0, 0.0, 1e-4), (20, 0.0, 1e-2), (20, 0.5, 0.03)])
def test_a_rigid_world_is_found_up_to_its_scale(moving: int, noise: float, bound: float) -> None:
    tracks, xyz, still = world(1, moving, noise)
    found = adjusted(tracks, SIZE, CAMERA)
    assert error(tracks, xyz, still, found.xyz) < bound
    assert not found.metric
    assert found.extrinsics_w2c is not None
    assert found.visible[still].sum() > 0.9 * tracks.visible[still].sum()
    if moving:
        assert found.visible[~still].mean() < 0.4, "what moves by itself has no depth"
    z = found.xyz[found.visible][:, 2]
    assert abs(np.median(z) - 1) < 0.1


def test_the_focal_length_is_found_too() -> None:
    tracks, xyz, still = world(1)
    found = adjusted(tracks, SIZE)
    np.testing.assert_allclose(found.intrinsics, CAMERA, rtol=0.02)
    assert error(tracks, xyz, still, found.xyz) < 0.02


@pytest.mark.slow
def test_no_parallax_and_too_few_points_are_said_in_one_line() -> None:
    tracks, *_ = world(1, travel=0.0)
    with pytest.raises(BadInput, match=r"only turns .* give --depth") as caught:
        adjusted(tracks, SIZE, CAMERA)
    assert "\n" not in str(caught.value)
    few = Tracks(xy=tracks.xy[:5], visible=tracks.visible[:5], confidence=tracks.confidence[:5], queries=tracks.queries[:5])
    with pytest.raises(BadInput, match=r"5 points are seen .* needs 8"):
        adjusted(few, SIZE, CAMERA)
