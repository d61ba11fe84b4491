"""TAP-Vid metrics: the public implementation's recorded answers, and small cases worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.scripts import GOLDEN
from tapetum.bench.tapvid import sample_queries
from tapetum.core.errors import BadInput
from tapetum.tracks.metrics import (
    GAPS,
    PUBLISHED,
    STRICT,
    THRESHOLDS,
    RedetectionRules,
    evaluated_frames,
    mean_metrics,
    reappearances,
    redetection_metrics,
    tapvid_metrics,
)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "tapvid_metrics.npz") as file:
        return dict(file)


@pytest.mark.parametrize("mode", ["first", "strided"])
@pytest.mark.parametrize("case", range(16))
def test_equals_the_public_implementation(golden: dict[str, np.ndarray], case: int, mode: str) -> None:
    points, occluded = golden[f"{case}/points"], golden[f"{case}/occluded"]
    scores = tapvid_metrics(
        golden[f"{case}/queries"],
        occluded,
        points * 256,
        golden[f"{case}/predicted_occluded"],
        golden[f"{case}/predicted"],
        mode,
    )
    assert set(scores) == set(golden["names"])
    ours = [scores[name] for name in golden["names"]]
    np.testing.assert_allclose(ours, golden[f"{case}/{mode}/scores"], rtol=0, atol=1e-9, equal_nan=True)
    if not occluded.all():
        sampled = sample_queries(points * np.array([256, 256]), occluded, mode)
        for name in ("queries", "tracks", "occluded"):
            np.testing.assert_array_equal(getattr(sampled, name), golden[f"{case}/{mode}/sampled/{name}"])


def one_track(occluded: list[int], predicted_occluded: list[int], errors: list[float], query: float, mode: str) -> dict:
    truth = np.stack([np.linspace(50, 90, len(errors)), np.full(len(errors), 30.0)], axis=-1)[None]
    predicted = truth + np.stack([np.array(errors), np.zeros(len(errors))], axis=-1)
    return tapvid_metrics(
        np.array([[query, 0, 0]]), np.array([occluded], bool), truth, np.array([predicted_occluded], bool), predicted, mode
    )


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_distance_of_exactly_the_threshold_is_too_far(threshold: int) -> None:
    assert one_track([0, 0], [0, 0], [0, threshold], 0, "first")[f"pts_within_{threshold}"] == 0
    assert one_track([0, 0], [0, 0], [0, threshold - 1e-6], 0, "first")[f"pts_within_{threshold}"] == 1


def test_nothing_to_count_is_nan() -> None:
    last = one_track([0, 0, 0], [0, 0, 0], [0, 0, 0], 2, "first")
    assert all(math.isnan(value) for value in last.values())
    hidden = one_track([0, 1, 1], [0, 1, 1], [0, 0, 0], 0, "first")
    assert hidden["occlusion_accuracy"] == 1
    assert math.isnan(hidden["average_jaccard"])
    assert math.isnan(hidden["average_pts_within_thresh"])
    false_alarm = one_track([0, 1, 1], [0, 1, 0], [0, 0, 0], 0, "first")
    assert false_alarm["average_jaccard"] == 0
    assert math.isnan(false_alarm["average_pts_within_thresh"])


def test_fractional_queries_round_half_to_even() -> None:
    starts = [evaluated_frames(np.array([t]), 5, "first")[0].argmax() for t in (0.5, 1.5, 2.5, 2.6)]
    assert starts == [1, 3, 3, 4]


def test_mean_leaves_nan_out_and_says_so() -> None:
    nan = float("nan")
    rows = [
        {"average_jaccard": 0.2, "occlusion_accuracy": 1.0, "jaccard_1": nan},
        {"average_jaccard": nan, "occlusion_accuracy": 0.5, "jaccard_1": 0.5},
        {"average_jaccard": 0.4, "occlusion_accuracy": nan, "jaccard_1": nan},
    ]
    means, dropped = mean_metrics(rows)
    assert means == pytest.approx({"average_jaccard": 0.3, "occlusion_accuracy": 0.75, "jaccard_1": 0.5})
    assert dropped == {"average_jaccard": 1, "occlusion_accuracy": 1}
    means, dropped = mean_metrics([{"average_jaccard": nan}])
    assert math.isnan(means["average_jaccard"])


def test_wrong_input_is_named() -> None:
    seen, tracks = np.zeros((2, 3), bool), np.zeros((2, 3, 2))
    with pytest.raises(BadInput, match=r"pred_tracks has shape \(2, 2, 2\)"):
        tapvid_metrics(np.zeros((2, 3)), seen, tracks, seen, tracks[:, :2], "first")
    with pytest.raises(BadInput, match=r"frame 3 of a video of 3 frames"):
        tapvid_metrics(np.array([[0, 1, 1], [3, 1, 1]]), seen, tracks, seen, tracks, "first")
    with pytest.raises(BadInput, match="frame nan"):
        tapvid_metrics(np.array([[0, 1, 1], [np.nan, 1, 1]]), seen, tracks, seen, tracks, "first")
    with pytest.raises(BadInput, match="must be 'first' or 'strided'"):
        tapvid_metrics(np.zeros((2, 3)), seen, tracks, seen, tracks, "last")  # pyright: ignore


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["first", "strided"]))
def test_bounds_and_a_perfect_tracker(seed: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    n, t = rng.integers(1, 6), rng.integers(1, 9)
    occluded = rng.random((n, t)) < 0.4
    tracks = rng.uniform(0, 256, (n, t, 2))
    queries = np.concatenate([rng.integers(0, t, (n, 1)), np.zeros((n, 2))], axis=1)
    perfect = tapvid_metrics(queries, occluded, tracks, occluded, tracks, mode)
    assert all(value == 1 or math.isnan(value) for value in perfect.values())
    noisy = tapvid_metrics(queries, occluded, tracks, rng.random((n, t)) < 0.5, tracks + rng.normal(0, 4, (n, t, 2)), mode)
    for threshold in THRESHOLDS:
        jaccard, within = noisy[f"jaccard_{threshold}"], noisy[f"pts_within_{threshold}"]
        assert math.isnan(within) or 0 <= jaccard <= within <= 1


def by_definition(gt_hidden, gt_xy, hidden, xy, closed, first):
    """Frame by frame, threshold by threshold, with sets of frames in place of arrays."""
    n, frames = gt_hidden.shape
    result = []
    for least in GAPS:
        of_thresholds = []
        for threshold in (1, 2, 4, 8, 16):
            of_events = []
            for p in range(n):
                record = 0
                for t in range(frames):
                    before = [s for s in range(t) if not gt_hidden[p, s]]
                    since = before[-1] + 1 if before else 0
                    d = t - since
                    if gt_hidden[p, t] or d == 0 or (not before and not first) or d <= record:
                        continue
                    record = d
                    if d < least:
                        continue
                    rest = range(t, frames)
                    visible = {s for s in rest if not gt_hidden[p, s]}
                    shown = {s for s in rest if not hidden[p, s]}
                    away = {s: float(np.hypot(*(xy[p, s] - gt_xy[p, s]))) for s in rest}
                    near = {s for s in rest if away[s] < threshold or (closed and away[s] == threshold)}
                    hits = visible & shown & near
                    of_events.append(len(hits) / (len(visible) + len(shown - hits)))
            of_thresholds.append(np.mean(of_events) if of_events else np.nan)
        result.append(np.mean(of_thresholds))
    known = [score for score in result if not np.isnan(score)]
    return (np.mean(known) if known else np.nan), result


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_equals_the_definition(closed: bool, first: bool) -> None:
    rng = np.random.default_rng(5)
    frames = 90
    runs = rng.integers(1, 24, (6, 40))
    gt_hidden = np.stack([np.repeat(np.arange(40) % 2 == k % 2, runs[k])[:frames] for k in range(6)])
    gt_xy = rng.integers(0, 40, (6, frames, 2)).astype(float)
    xy = gt_xy + rng.choice([0, 1, 2, 3, 4, 8, 20], (6, frames, 1)) * np.array([1.0, 0.0])  # many exactly at a threshold
    hidden = gt_hidden ^ (rng.random(gt_hidden.shape) < 0.3)
    rules = RedetectionRules(closed=closed, first_appearance=first)
    ours = redetection_metrics(gt_hidden, gt_xy, hidden, xy, rules)
    mean, by_gap = by_definition(gt_hidden, gt_xy, hidden, xy, closed, first)
    np.testing.assert_allclose([ours[f"aj_rd_{least}"] for least in GAPS], by_gap)
    np.testing.assert_allclose(ours["aj_rd"], mean)
    assert np.isnan(by_gap[-1]), "no gap of 256 frames here, so that leaving out is tested"


def test_only_longer_gaps_than_all_before_count() -> None:
    hidden = np.array([0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0], bool)
    assert reappearances(hidden) == [(4, 3), (17, 5)]


def test_the_two_conventions_make_the_difference_that_they_should() -> None:
    hidden, truth = np.array([[1, 0, 0, 1, 1, 0]], bool), np.zeros((1, 6, 2))
    exactly_one = truth + np.array([1.0, 0.0])
    assert redetection_metrics(hidden, truth, hidden, exactly_one, PUBLISHED)["aj_rd_1"] == 1.0
    assert redetection_metrics(hidden, truth, hidden, exactly_one, STRICT)["aj_rd_1"] == 0.8
    lost_later = hidden.copy()
    lost_later[0, 5] = True  # right until the gap, lost after it: 2/3 for the first appearance, 0 for the reappearance
    assert redetection_metrics(hidden, truth, lost_later, truth, PUBLISHED)["aj_rd_1"] == pytest.approx(1 / 3)
    assert redetection_metrics(hidden, truth, lost_later, truth, STRICT)["aj_rd_1"] == 0.0
