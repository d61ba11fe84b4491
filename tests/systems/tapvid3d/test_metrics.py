"""TAPVid-3D metrics: the public implementation's recorded answers, axes, degenerate clips, refusals; see also tests/twins."""

import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from support.scripts import GOLDEN
from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.metrics import tapvid3d_metrics

SCALINGS = ("none", "median", "mean", "median_on_queries", "per_trajectory", "local_neighborhood", "reproduce_2d")
CASES = 24
CAMERA = np.array([128.0, 128, 64, 64])


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "tapvid3d_metrics.npz") as file:
        return dict(file)


def recorded(golden: dict[str, np.ndarray], case: int) -> dict[str, Any]:
    q: dict[str, Any] = {
        name.split("/")[1]: value
        for name, value in golden.items()
        if name.startswith(f"{case}/") and name.split("/")[1] not in ("clean", "clip", "tracks")
    }
    return q | {name: q[name].item() for name in ("use_fixed_metric_threshold", "local_neighborhood_thresh")}


@pytest.mark.parametrize("scaling", SCALINGS)
def test_equals_the_public_implementation(golden: dict[str, np.ndarray], scaling: str) -> None:
    number, compared = SCALINGS.index(scaling), 0
    for case in range(CASES):
        q = recorded(golden, case)
        for kind, tracks in (("clip", False), ("tracks", True)):
            wanted = golden[f"{case}/{kind}"][number]
            ways: list[dict[str, Any]] = []
            if golden[f"{case}/clean"][number]:
                ways.append({})
            if scaling != "local_neighborhood" or tracks:
                batch = {"query_points": q["query_points"][None]} if scaling == "per_trajectory" else {}
                ways.append({"compat": "tapnet"} | batch)
            for way in ways:
                scores = tapvid3d_metrics(**q | way, scaling=scaling, get_trackwise_metrics=tracks)
                assert set(scores) == set(golden["names"])
                ours = [np.ravel(scores[name]) for name in golden["names"]]
                np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-9, equal_nan=True, err_msg=f"{case} {kind} {way}")
                compared += not way
    assert compared >= 20


# ---- clips


def crowd(n: int, t: int, size: float, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-size / 2, size / 2, (n, t, 3)) + np.array([0, 0, 2])
    occluded = rng.random((n, t)) < 0.3
    occluded[:, 0] = False
    return {
        "gt_occluded": occluded,
        "gt_tracks": truth,
        "pred_occluded": occluded ^ (rng.random((n, t)) < 0.2),
        "pred_tracks": truth * rng.uniform(0.98, 1.02, (n, 1, 1)) + rng.normal(0, 0.02, truth.shape),
        "intrinsics_params": CAMERA,
        "query_points": np.zeros((n, 3)),
    }


# ---- axes


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("trackwise", [False, True])
def test_every_order_of_axes_and_batches(scaling: str, trackwise: bool) -> None:
    clips = [crowd(4, 6, 0.1, seed) for seed in range(4)]  # as many clips as tracks, where the public function mixes them up
    for scale, clip in enumerate(clips, 1):
        clip["pred_tracks"] = clip["pred_tracks"] * scale
        clip["intrinsics_params"] = CAMERA / scale
    single = [tapvid3d_metrics(**clip, scaling=scaling, get_trackwise_metrics=trackwise) for clip in clips]
    assert np.shape(single[0]["jaccard_4"]) == ((4,) if trackwise else ())
    batch = {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}
    names = ("gt_occluded", "gt_tracks", "pred_occluded", "pred_tracks")
    for axes in itertools.permutations(range(3)):
        turned = {name: batch[name].transpose(*axes, *range(3, batch[name].ndim)) for name in names}
        order = " ".join("bnt"[axis] for axis in axes)
        scores = tapvid3d_metrics(**batch | turned, scaling=scaling, get_trackwise_metrics=trackwise, order=order)
        for name, values in scores.items():
            np.testing.assert_array_equal(values, [one[name] for one in single])
    turned = {name: clips[1][name].swapaxes(0, 1) for name in names} | {"query_points": clips[1]["query_points"][None]}
    scores = tapvid3d_metrics(**clips[1] | turned, scaling=scaling, get_trackwise_metrics=trackwise, order="t n")
    for name, values in scores.items():
        np.testing.assert_array_equal(values, single[1][name])


def test_one_camera_and_one_set_of_queries_serve_a_batch() -> None:
    clip = crowd(4, 6, 0.1)
    batch = {name: np.stack([clip[name]] * 3) for name in ("gt_occluded", "gt_tracks", "pred_occluded", "pred_tracks")}
    scores = tapvid3d_metrics(**clip | batch, scaling="per_trajectory", order="b n t")
    assert scores["average_jaccard"].tolist() == [tapvid3d_metrics(**clip, scaling="per_trajectory")["average_jaccard"]] * 3


# ---- degenerate clips


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_no_tracks_or_no_frames(scaling: str, shape: tuple[int, int]) -> None:
    n, t = shape
    none, nowhere = np.zeros(shape, bool), np.zeros((*shape, 3))
    if t == 0 and n > 0 and scaling in ("median_on_queries", "per_trajectory", "local_neighborhood"):
        with pytest.raises(BadInput, match="of a clip of 0 frames"):
            tapvid3d_metrics(none, nowhere, none, nowhere, CAMERA, scaling=scaling, query_points=np.zeros((n, 3)))
        return
    scores = tapvid3d_metrics(none, nowhere, none, nowhere, CAMERA, scaling=scaling, query_points=np.zeros((n, 3)))
    assert all(math.isnan(value) for value in scores.values())


# ---- bad input

GOOD = crowd(2, 3, 0.1)
FLAGS, POINTS = np.zeros((2, 3), bool), np.zeros((2, 3, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "medain"}, "scaling is 'medain'; it must be one of none, median, mean, median_on_queries"),
        ({"compat": "tapir"}, "compat is 'tapir'; it must be one of None, tapnet"),
        ({"order": "n x"}, "order is 'n x'; name the axes with n, t"),
        ({"order": "b n t"}, r"gt_occluded has shape \(2, 3\); with order 'b n t' it must be \(b, n, t\)"),
        ({"gt_tracks": POINTS[:, :2]}, r"gt_tracks has shape \(2, 2, 3\); .* it must be \(2, 3, 3\)"),
        ({"pred_occluded": FLAGS.T}, r"pred_occluded has shape \(3, 2\); .* it must be \(2, 3\)"),
        ({"pred_tracks": POINTS.astype(str)}, "pred_tracks holds <U32; give an array of numbers"),
        ({"pred_tracks": POINTS.astype(object)}, "pred_tracks holds object; give an array of numbers"),
        ({"pred_occluded": FLAGS + 0.3}, "pred_occluded holds float64 that is not all 0 or 1"),
        ({"gt_tracks": np.where(FLAGS[..., None], 0, np.nan)}, "gt_tracks has shape"),
        ({"gt_tracks": POINTS + np.nan}, "gt_tracks is not finite at a point that gt_occluded calls visible"),
        ({"intrinsics_params": [1, 2, 3]}, r"intrinsics_params has shape \(3,\); give fx, fy, cx, cy"),
        ({"intrinsics_params": [0, 100, 1, 1]}, r"fx, fy are \[0.0, 100.0\] in intrinsics_params; give focal lengths"),
        ({"intrinsics_params": [np.nan, 100, 1, 1]}, "in intrinsics_params; give focal lengths"),
        ({"scaling": "per_trajectory", "query_points": None}, r"scaling 'per_trajectory' needs query_points, \(n, 3\)"),
        ({"scaling": "median_on_queries", "query_points": np.zeros((3, 3))}, r"query_points has shape \(3, 3\)"),
        (
            {"scaling": "per_trajectory", "query_points": [[0, 1, 1], [3, 1, 1]]},
            r"frame 3 of a clip of 3 frames \(0..2\); the frame",
        ),
        ({"scaling": "per_trajectory", "query_points": [[-1, 1, 1], [0, 1, 1]]}, "a query is at frame -1"),
        ({"scaling": "per_trajectory", "query_points": [[np.nan, 1, 1], [0, 1, 1]]}, "a query is at frame nan"),
        ({"scaling": "local_neighborhood", "local_neighborhood_thresh": 0}, "local_neighborhood_thresh is 0; give a radius"),
        (
            {"scaling": "local_neighborhood", "local_neighborhood_thresh": np.nan},
            "local_neighborhood_thresh is nan; give a radius",
        ),
        (
            {"scaling": "local_neighborhood", "local_neighborhood_thresh": None},
            "local_neighborhood_thresh is None; give a radius",
        ),
    ],
)
def test_wrong_input_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        tapvid3d_metrics(**GOOD | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "per_trajectory"}, "with query_points without an axis for the batch"),
        ({"scaling": "local_neighborhood"}, "'local_neighborhood' unless get_trackwise_metrics, where its driver records 0"),
    ],
)
def test_compat_refuses_what_the_public_function_fails_at(change: dict[str, Any], message: str) -> None:
    tapvid3d_metrics(**GOOD | change)
    with pytest.raises(BadInput, match=message):
        tapvid3d_metrics(**GOOD | change, compat="tapnet")


@pytest.mark.parametrize("scaling", SCALINGS)
def test_compat_and_batches(scaling: str) -> None:
    batch = {name: np.stack([value] * 2) for name, value in GOOD.items()} | {"scaling": scaling, "order": "b n t"}
    if scaling in ("none", "per_trajectory", "reproduce_2d"):
        assert tapvid3d_metrics(**batch, compat="tapnet")["jaccard_1"].shape == (2,)
        return
    with pytest.raises(BadInput, match="the public function fails at"):
        tapvid3d_metrics(**batch, compat="tapnet")


def test_float64_within_and_float32_for_compat() -> None:
    # Errors (x, y) of float32 whose squared length is below one pixel's, 2**-12, but not when added up in float32.
    x = np.linspace(2**-9, 2**-6.5, 1000, dtype=np.float32)
    y = np.sqrt(np.float32(2**-12) - x * x)
    found = (x.astype(float) ** 2 + y.astype(float) ** 2 < 2**-12) & (x * x + y * y >= np.float32(2**-12))
    truth = np.tile(np.float32([0, 0, 2]), (1, int(found.sum()), 1))
    predicted = truth + np.stack([x[found], y[found], 0 * x[found]], -1)
    seen = np.zeros(truth.shape[:2], bool)
    assert found.sum() > 10
    assert tapvid3d_metrics(seen, truth, seen, predicted, CAMERA, scaling="none")["pts_within_1"] == 1
    assert tapvid3d_metrics(seen, truth, seen, predicted, CAMERA, scaling="none", compat="tapnet")["pts_within_1"] == 0


def test_no_torch() -> None:
    code = "import sys, tapetum.systems.tapvid3d.metrics; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
