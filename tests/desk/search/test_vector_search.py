"""Search by a first pass in float16 finds what float32 finds."""

import numpy as np
import pytest

from tapetum.desk.search import vector_search
from tapetum.desk.search.vector_search import cosines_of, find_nearest


def unit(count: int, channels: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, channels)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def first_pass_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_search, "_MANY", 0)
    monkeypatch.setattr(vector_search, "_BLOCK", 64)


@pytest.mark.usefixtures("first_pass_of_torch")
def test_two_passes_find_what_one_in_float32_finds() -> None:
    matrix, queries = unit(1000, 32, 0).astype(np.float16), unit(5, 32, 1)
    matrix[500:560] = matrix[3]  # a first pass cannot tell these apart
    queries[0] = matrix[3]
    rows = np.flatnonzero(np.random.default_rng(2).random(1000) < 0.7)
    cosines = queries @ matrix[rows].astype(np.float32).T
    order = np.lexsort((np.broadcast_to(rows, cosines.shape), -cosines), axis=1)[:, :20]
    found = find_nearest(matrix, rows, queries, 20)
    np.testing.assert_array_equal(found.rows, rows[order])
    np.testing.assert_allclose(found.cosines, np.take_along_axis(cosines, order, 1), atol=1e-6)
    np.testing.assert_allclose(found.mean, cosines.mean(1), atol=1e-3)
    np.testing.assert_allclose(found.deviation, cosines.std(1), atol=1e-3)


@pytest.mark.usefixtures("first_pass_of_torch")
def test_what_a_first_pass_orders_wrongly_is_ordered_by_float32() -> None:
    queries = unit(1, 64, 0)
    others = np.random.default_rng(3).standard_normal((3000, 64)).astype(np.float32)
    others -= (others @ queries.T) * queries
    across = others / np.linalg.norm(others, axis=1, keepdims=True)
    rows, misordered = np.arange(3000), 0
    for top in np.linspace(0.26, 0.2605, 8):  # float16 rounds in steps of 0.00024 there
        cosines = np.random.default_rng(4).uniform(0.25, top, (3000, 1)).astype(np.float32)
        matrix = (cosines * queries + np.sqrt(1 - cosines**2) * across).astype(np.float16)
        about = vector_search._first_pass(matrix, rows, queries[0])
        order = np.argsort(-cosines_of(matrix, rows, queries)[0], kind="stable")[:20]
        misordered += about[order].min() < np.sort(about)[-20]
        assert find_nearest(matrix, rows, queries, 20).rows.tolist() == [order.tolist()]
    assert misordered


@pytest.mark.usefixtures("first_pass_of_torch")
@pytest.mark.parametrize("count", [1, 20, 50, 300])
def test_of_equal_rows_the_earlier_come_first(count: int) -> None:
    matrix = np.ones((1, 16), np.float16).repeat(300, 0) / 4
    found = find_nearest(matrix, np.arange(300), unit(1, 16, 0), count)
    assert found.rows.tolist() == [[*range(count)]]


@pytest.mark.usefixtures("first_pass_of_torch")
@pytest.mark.parametrize("channels", [8, 512, 2048])
def test_the_first_pass_errs_by_less_than_its_bound(channels: int) -> None:
    matrix, queries = unit(200, channels, 0).astype(np.float16), unit(4, channels, 1)
    queries[0], queries[1] = matrix[0], -matrix[1].astype(np.float32)  # the largest cosines, which are rounded the most
    rows = np.arange(200)
    exact = matrix.astype(np.float64) @ queries.astype(np.float64).T
    for query, wanted in zip(queries, exact.T, strict=True):
        error = np.abs(vector_search._first_pass(matrix, rows, query) - wanted).max()
        assert 0 < error < vector_search._ERROR / 2


def test_of_no_rows_nothing_is_found() -> None:
    found = find_nearest(np.zeros((0, 4), np.float16), np.zeros(0, np.int64), unit(2, 4, 0), 3)
    assert found.rows.shape == found.cosines.shape == (2, 0)
    assert cosines_of(unit(3, 4, 0).astype(np.float16), np.arange(0), unit(2, 4, 0)).shape == (2, 0)
