"""AJ_RD beside a loop written from its definition, and on cases worked out by hand."""

import numpy as np
import pytest

from tapetum.tracks.redetection import GAPS, PUBLISHED, STRICT, RedetectionRules, reappearances, redetection_metrics


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


def test_nothing_that_comes_back_gives_no_score() -> None:
    visible = np.zeros((2, 4), bool)
    assert np.isnan(redetection_metrics(visible, np.zeros((2, 4, 2)), visible, np.zeros((2, 4, 2)))["aj_rd"])
