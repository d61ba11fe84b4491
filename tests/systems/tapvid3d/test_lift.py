"""Lifting 2D tracks: exact tracks and depth give exact points; holes, hidden points and borders get what the docstring says."""

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.baselines import Lifted, interpolate_depth, lift, lift_static
from tapetum.systems.tapvid3d.geometry import project, unproject
from tapetum.systems.tapvid3d.metrics import tapvid3d_metrics
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.types import Tracks

CAMERA = np.array([20.0, 20, 16, 12])
SIZE = 24, 32


def tracks_of(xy: np.ndarray, visible: np.ndarray) -> Tracks:
    queries = np.concatenate([np.zeros((len(xy), 1)), xy[:, 0]], 1)
    return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=queries)


def test_points_under_a_map_by_hand() -> None:
    """One point over two frames; the second map has twice the resolution."""
    xy = np.array([[[4.5, 6.5], [5.5, 6.5]]], np.float32)
    near, far = np.full((24, 32), 7.0), np.full((48, 64), 7.0)
    near[6, 4], far[13, 11] = 2.0, 4.0
    found = lift(tracks_of(xy, np.ones((1, 2), bool)), [near, far], SIZE, CAMERA)
    np.testing.assert_allclose(found.xyz[0, 0], [(4.5 - 16) / 20 * 2, (6.5 - 12) / 20 * 2, 2], rtol=1e-6)
    np.testing.assert_allclose(found.xyz[0, 1], [(5.5 - 16) / 20 * 4, (6.5 - 12) / 20 * 4, 4], rtol=1e-6)
    assert found.metric
    assert found.intrinsics.tolist() == CAMERA.tolist()


def test_hidden_points_and_holes_go_evenly_in_inverse_depth() -> None:
    """Seen at Z = 2, hidden behind something at 1, a hole, seen at 4: 1/Z is 1/2, 5/12, 1/3, 1/4."""
    visible = np.array([[True, False, True, True]])
    maps = [np.full(SIZE, z) for z in (2.0, 1.0, 0.0, 4.0)]
    found = lift(tracks_of(np.full((1, 4, 2), 8.0), visible), maps, SIZE, CAMERA)
    np.testing.assert_allclose(1 / found.xyz[0, :, 2], [1 / 2, 5 / 12, 1 / 3, 1 / 4], rtol=1e-6)
    assert found.visible.tolist() == visible.tolist()
    np.testing.assert_allclose(project(found.xyz, CAMERA), 8.0, rtol=1e-6)


def test_a_point_that_is_never_known_has_the_median_depth() -> None:
    z, known = np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[True, True], [False, False]])
    np.testing.assert_allclose(interpolate_depth(z, known), [[1, 3], [2, 2]])


@pytest.mark.parametrize("maps", [[np.zeros(SIZE)] * 3, [np.full(SIZE, np.nan)] * 3])
def test_no_depth_at_all_is_refused(maps: list) -> None:
    with pytest.raises(BadInput, match="no visible point has a known depth"):
        lift(tracks_of(np.full((2, 3, 2), 5.0), np.ones((2, 3), bool)), maps, SIZE, CAMERA)


def test_another_number_of_maps_is_refused() -> None:
    with pytest.raises(BadInput, match="2 depth maps for tracks of 3 frames"):
        lift(tracks_of(np.full((2, 3, 2), 5.0), np.ones((2, 3), bool)), [np.ones(SIZE)] * 2, SIZE, CAMERA)


def test_static_points_keep_their_place() -> None:
    tracks = tracks_of(np.array([[[4.5, 6.5], [9, 9]], [[8.5, 8.5], [9, 9]]], np.float32), np.zeros((2, 2), bool))
    depth = np.full(SIZE, 3.0)
    depth[8, 8] = 0.0  # a hole: the median of the others
    found = lift_static(tracks, [depth, np.ones(SIZE)], SIZE, CAMERA)
    expected = unproject([[4.5, 6.5], [8.5, 8.5]], [3.0, 3.0], CAMERA)
    np.testing.assert_allclose(found.xyz, np.repeat(expected[:, None], 2, 1), rtol=1e-6)
    assert found.visible.all()
    assert found.metric
    blind = lift_static(tracks, None, SIZE, CAMERA)
    assert (blind.xyz[..., 2] == 1).all()
    assert not blind.metric


@pytest.mark.slow
def test_true_tracks_and_true_depth_give_true_points() -> None:
    """All but points near a depth edge, where half a pixel is another surface."""
    scores = []
    for seed in range(3):
        clip = make_clip(seed, SceneConfig(size=(96, 96), frames=8, zoom_share=0.0), points=100)
        truth, camera = clip.truth, clip.intrinsics[0]
        found = lift(tracks_of(truth.xy, truth.visible), clip.depth, (96, 96), camera)
        off = np.linalg.norm(found.xyz - truth.xyz, axis=-1)[truth.visible] / truth.xyz[..., 2][truth.visible]
        assert np.median(off) < 0.003
        scores.append(
            tapvid3d_metrics(
                gt_occluded=~truth.visible, gt_tracks=truth.xyz, pred_occluded=~found.visible, pred_tracks=found.xyz,
                intrinsics_params=camera * 256 / 96, scaling="none",
            )["average_pts_within_thresh"]
        )  # fmt: skip
    assert np.mean(scores) > 0.93


class Still:
    """A 2D tracker that answers with the queries."""

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        xy = np.repeat(queries[:, None, 1:], len(video), 1)
        return Tracks(xy=xy, visible=np.ones(xy.shape[:2], bool), confidence=np.ones(xy.shape[:2]), queries=queries)


def test_lifted_takes_queries_as_the_benchmark_has_them_and_needs_depth() -> None:
    video, depth = np.zeros((2, *SIZE, 3), np.uint8), np.full((2, *SIZE), 5.0, np.float32)
    found = Lifted(Still()).track(video, np.array([[10.0, 4.0, 1]]), CAMERA, depth)
    assert found.queries.tolist() == [[1, 10, 4]]
    np.testing.assert_allclose(found.xyz[0, 1], unproject([10.0, 4.0], 5.0, CAMERA), rtol=1e-6)
    with pytest.raises(BadInput, match="lifting to 3D needs depth"):
        Lifted(Still()).track(video, np.array([[10.0, 4.0, 1]]), CAMERA)
