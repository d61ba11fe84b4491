"""Fronts, intervals and crossings, beside their definitions written as loops and values found by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.core.errors import BadInput
from tapetum.metrics.masks import Confusion
from tapetum.systems.pretraining.study.fronts import crossing, front, group_rows, interval, mean_iou, resampled, seed_deviations

POINTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=8)


@pytest.mark.slow
@given(POINTS)
def test_a_front_is_what_nothing_cheaper_or_equal_beats(points: list[tuple[int, int]]) -> None:
    costs, scores = np.array(points, float).T
    found = front(costs, scores)
    for k, (cost, score) in enumerate(points):
        beaten = any(
            (c <= cost and s > score) or (s == score and (c < cost or (c == cost and j < k)))
            for j, (c, s) in enumerate(points)
            if j != k
        )
        assert found[k] == (not beaten)
    several = front(costs, np.stack([scores, -scores]))
    assert (several[0] == found).all()
    assert (several[1] == front(costs, -scores)).all()


def test_mean_iou_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    counted = Confusion(5)
    counted.add(rng.integers(0, 4, (9, 9)), rng.integers(0, 4, (9, 9)))  # class 4 is nowhere
    assert mean_iou(counted.counts) == pytest.approx(counted.mean_iou)


def rows_and_counts(scores: Sequence[tuple[str, int, float]]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Rows of methods and seeds, whose score on each of 50 images lies about a value."""
    rows, counts = [], []
    for k, (method, seed, share) in enumerate(scores):
        right = np.random.default_rng(k).binomial(100, share, 50)
        own = np.zeros((50, 2, 2), np.int64)
        own[:, 0, 0], own[:, 0, 1], own[:, 1, 1] = right, 100 - right, 100
        rows.append(
            {"size": "s", "method": method, "budget": 1e9, "variant": "curated", "seed": seed, "flops": 10}
            | {"miou": float(mean_iou(own.sum(0))), "cpu_seconds": 1.0 + seed, "knn": None}
        )
        counts.append(own)
    return rows, counts


def test_settings_take_seeds_together() -> None:
    rows, counts = rows_and_counts([("a", 1, 0.5), ("b", 1, 0.6), ("a", 2, 0.52)])
    a, b = group_rows(rows, counts, draws=4000).values()
    assert len(a.rows) == 2
    assert a.miou == pytest.approx((rows[0]["miou"] + rows[2]["miou"]) / 2)
    assert (a.cpu_seconds, a.method, a.knn) == (2.5, "a", None)
    deviation = abs(rows[0]["miou"] - rows[2]["miou"]) / np.sqrt(2)
    assert seed_deviations(rows)[0] == pytest.approx(deviation)
    images = resampled([counts[1]], np.random.default_rng(1), 4000)[0].std()
    assert b.samples.std() == pytest.approx(np.hypot(images, deviation), rel=0.06)
    assert abs(b.samples.mean() - b.miou) < 0.005
    low, high = interval(b.samples)
    assert low < b.miou < high
    with pytest.raises(AttributeError):
        _ = a.nothing


def test_differences_are_those_of_equal_seeds() -> None:
    rows, counts = rows_and_counts([("a", 1, 0.5), ("a", 2, 0.7), ("b", 1, 0.4), ("c", 3, 0.4)])
    a, b, c = group_rows(rows, counts, draws=500).values()
    value, samples = a.minus(b)
    assert value == rows[0]["miou"] - rows[2]["miou"]
    assert samples == pytest.approx(a.by_seed[0] - b.by_seed[0])
    value, samples = a.minus(c)  # no seed in common: the means
    assert value == pytest.approx((rows[0]["miou"] + rows[1]["miou"]) / 2 - rows[3]["miou"])
    assert samples == pytest.approx(a.samples - c.samples)


def test_what_a_seed_does_to_all_falls_out_of_differences() -> None:
    methods, seeds = "abcdefgh", (1, 2, 3, 4, 5, 6)
    rng = np.random.default_rng(3)
    luck = dict(zip(seeds, 0.1 * rng.standard_normal(6), strict=True))
    told = [(m, seed, 0.5 + luck[seed] + 0.01 * rng.standard_normal()) for m in methods for seed in seeds]
    rows, counts = rows_and_counts([(m, seed, 0.5) for m, seed, _ in told])
    for row, (_, _, value) in zip(rows, told, strict=True):
        row["miou"] = value
    pooled, own = seed_deviations(rows)
    assert own == pytest.approx(0.01, rel=0.3)
    assert pooled == pytest.approx(np.std(list(luck.values()), ddof=1), rel=0.2)
    a, b = [*group_rows(rows, counts, draws=4000).values()][:2]
    images = (resampled(counts[:6], np.random.default_rng(1), 4000).mean(0)).std()
    apart = np.hypot(images, own / np.sqrt(6))
    assert a.minus(b)[1].std() == pytest.approx(apart * np.sqrt(2), rel=0.15)
    assert a.samples.std() == pytest.approx(np.hypot(images, pooled / np.sqrt(6)), rel=0.15)


def test_too_few_rows_leave_all_to_the_row() -> None:
    rows, _ = rows_and_counts([("a", 1, 0.5), ("a", 2, 0.7), ("b", 1, 0.4)])
    deviation = pytest.approx(abs(rows[0]["miou"] - rows[1]["miou"]) / np.sqrt(2))
    assert seed_deviations(rows) == (deviation, deviation)
    assert seed_deviations(rows[1:]) == (None, None)


def test_resamples_are_the_same_images_for_all() -> None:
    _, counts = rows_and_counts([("a", 1, 0.5)])
    one, other = resampled([counts[0], counts[0]], np.random.default_rng(0), 100)
    assert (one == other).all()
    assert one.std() > 0


def test_an_interval_of_several_questions_is_wider() -> None:
    samples = np.random.default_rng(0).standard_normal(200_000)
    assert interval(samples) == pytest.approx((-1.96, 1.96), abs=0.03)
    assert interval(samples, 5) == pytest.approx((-2.576, 2.576), abs=0.05)


def test_crossings_by_hand() -> None:
    flops = np.array([1e10, 1e11, 1e12])
    assert crossing(flops, np.array([0.3, 0.3, 0.3]), np.array([0.2, 0.25, 0.35])) == pytest.approx(10**11.5)
    assert np.isnan(crossing(flops, np.array([0.1, 0.1, 0.1]), np.array([0.2, 0.2, 0.2])))  # ahead from the start
    assert np.isnan(crossing(flops, np.array([0.3, 0.2, 0.3]), np.array([0.2, 0.3, 0.2])))  # behind again
    two = crossing(flops, np.array([[0.3, 0.3, 0.3], [0.5, 0.5, 0.5]]), np.array([[0.2, 0.25, 0.35], [0.4, 0.6, 0.7]]))
    assert two == pytest.approx([10**11.5, 10**10.5])


def test_what_cannot_be_compared() -> None:
    with pytest.raises(BadInput, match="no finished point yet"):
        group_rows([], [])
    rows, counts = rows_and_counts([("a", 1, 0.5), ("b", 1, 0.5)])
    with pytest.raises(BadInput, match="different images"):
        group_rows(rows, [counts[0], counts[1][:40]])
