"""Approximate search: it finds what exact search finds, and never what is gone; lists that are no good are not used."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import Remark
from tapetum.desk.search import approximate_search
from tapetum.desk.search.approximate_search import LISTS, InvertedLists
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex

CHANNELS = 20
"""No multiple of 8."""


@pytest.fixture(autouse=True)
def above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(approximate_search, "LIMIT", 1000)
    monkeypatch.setattr(approximate_search, "_BLOCK", 700)


def clustered(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((100, CHANNELS))
    return (centres[rng.integers(0, 100, count)] + 0.5 * rng.standard_normal((count, CHANNELS))).astype(np.float32)


def put(index: VectorIndex, name: str, vectors: np.ndarray) -> None:
    index.put(name, "f", [IndexedPiece(path=name, start_s=k, stop_s=k + 1) for k in range(len(vectors))], vectors)


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    """6,000 vectors of 60 files."""
    index = VectorIndex.create(tmp_path / "i", "net", CHANNELS)
    for k, vectors in enumerate(np.split(clustered(6000), 60)):
        put(index, f"{k:02d}.mp4", vectors)
    return index


def uses_lists(index: VectorIndex) -> bool:
    return index._approximate.nearest(index._matrix(), index.rows(), index.vectors(index.rows()[:1]), 3) is not None


def recall(index: VectorIndex, queries: np.ndarray, count: int = 10) -> float:
    found, exact = index.nearest(queries, count), index.nearest(queries, count, exact=True)
    np.testing.assert_allclose(found.mean, exact.mean, atol=2e-3)
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(found.rows, exact.rows, strict=True)]))


def test_it_finds_what_exact_search_finds(index: VectorIndex) -> None:
    queries = clustered(50, seed=1)
    assert not uses_lists(index)
    done: list[tuple[int, int]] = []
    line = index.prepare_search(lambda *at: done.append(at))
    assert line is not None
    assert line.startswith("the index has more than 1,000 vectors: built lists for approximate search in ")
    assert done[-1] == (6000, 6000)
    assert done == sorted(done)
    assert uses_lists(index)
    assert recall(index, queries) >= 0.95
    found, exact = index.nearest(queries, 10), index.nearest(queries, 10, exact=True)
    np.testing.assert_allclose(found.cosines[:, 0], exact.cosines[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.mean, exact.mean, atol=1e-5)
    np.testing.assert_allclose(found.deviation, exact.deviation, atol=1e-5)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_allclose(found.cosines, np.einsum("qkc,qc->qk", index.vectors()[found.rows], unit), atol=1e-6)
    assert (np.diff(found.cosines, axis=1) <= 0).all()


def test_lists_have_each_row_once_and_codes_near_its_vector(index: VectorIndex) -> None:
    import faiss

    index.remove(["03.mp4", "41.mp4"])
    index.prepare_search()
    lists = InvertedLists(index.folder / LISTS, CHANNELS)
    assert lists._index.nlist == round(4 * 5800**0.5)
    inverted, rows = lists._index.invlists, []
    for k in range(lists._index.nlist):
        size = inverted.list_size(k)
        if size:
            ids = faiss.rev_swig_ptr(inverted.get_ids(k), size).copy()
            codes = faiss.rev_swig_ptr(inverted.get_codes(k), size * CHANNELS).reshape(size, CHANNELS).copy()
            np.testing.assert_allclose(lists._index.sq.decode(codes), index.vectors(ids), atol=0.01)
            rows.append(ids)
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), index.rows())


@pytest.mark.parametrize("scanned", ["all", "few"])
def test_the_rest_is_exact_where_lists_cannot_do_it(index: VectorIndex, monkeypatch: pytest.MonkeyPatch, scanned: str) -> None:
    """All that are wanted come, whether the lists that are scanned have so many or not."""
    index.prepare_search()
    if scanned == "few":
        monkeypatch.setattr(approximate_search, "_LEAST_PROBED", 1)
        monkeypatch.setattr(approximate_search, "_PROBED", 1 << 20)
    query = clustered(1, seed=2)
    for count in (900, 1001, 7000):
        found, exact = index.nearest(query, count), index.nearest(query, count, exact=True)
        assert found.rows.shape == exact.rows.shape
        if scanned == "few" or count > 1000:
            np.testing.assert_array_equal(found.rows, exact.rows)
    among = np.arange(6000) % 2 == 1
    np.testing.assert_array_equal(index.search(query, 5, among)[0], index.search(query, 5, among.copy())[0])
    assert (index.search(query, 5, among)[0] % 2 == 1).all()


def test_removed_rows_never_come_back_and_new_ones_are_found(index: VectorIndex) -> None:
    index.prepare_search()
    gone = np.concatenate([index.rows_of("10.mp4"), index.rows_of("11.mp4")])
    queries = index.vectors(gone)
    index.remove(["10.mp4", "11.mp4"])
    added = clustered(100, seed=3)
    put(index, "new.mp4", added)
    assert uses_lists(index)
    assert index.prepare_search() is None  # still good
    found = index.nearest(queries, 50).rows
    assert not np.isin(found, gone).any()
    assert recall(index, queries) >= 0.95
    assert index.nearest(added, 1).rows[:, 0].tolist() == index.rows_of("new.mp4").tolist()


def test_an_open_index_forgets_at_once_what_is_removed(index: VectorIndex) -> None:
    index.prepare_search()
    best = int(index.nearest(index.vectors(index.rows()[:1]), 5).rows[0, 0])
    assert best == index.rows()[0]
    index.remove(["00.mp4"])
    assert uses_lists(index)
    assert np.isin(index.nearest(clustered(20, seed=4), 5).rows, index.rows()).all()
    assert not np.isin(index.nearest(clustered(100)[:20], 5).rows, np.arange(100)).any()


def test_of_equal_ones_the_earlier_come_first(index: VectorIndex) -> None:
    put(index, "same", np.repeat(clustered(1, seed=4), 3, 0))
    index.prepare_search()
    first = len(index) - 3
    put(index, "later", np.repeat(clustered(1, seed=4), 2, 0))
    assert index.search(clustered(1, seed=4), 4)[0].tolist() == [[first, first + 1, first + 2, first + 3]]


def changed_a_lot(index: VectorIndex) -> None:
    put(index, "much.mp4", clustered(700, seed=5))


def gone_a_lot(index: VectorIndex) -> None:
    index.remove([f"{k:02d}.mp4" for k in range(7)])


def end_removed(index: VectorIndex) -> None:
    index.remove(["59.mp4"])


def end_written_over(index: VectorIndex) -> None:
    index.remove(["59.mp4"])
    put(index, "59.mp4", clustered(150, seed=6))


def compacted(index: VectorIndex) -> None:
    index.remove(["00.mp4"])
    put(index, "more.mp4", clustered(150, seed=7))
    index.compact()


@pytest.mark.parametrize("change", [changed_a_lot, gone_a_lot, end_removed, end_written_over, compacted])
def test_lists_of_an_earlier_state_are_not_used_but_renewed(index: VectorIndex, change: Any) -> None:
    index.prepare_search()
    change(index)
    queries = clustered(3, seed=8)
    with pytest.warns(Remark, match="is older than the index, and is not used; tapetum index renews it"):
        found = index.nearest(queries, 10)
    np.testing.assert_array_equal(found.rows, index.nearest(queries, 10, exact=True).rows)
    assert index.prepare_search() is not None
    assert uses_lists(index)


def test_lists_of_another_model_are_not_used(index: VectorIndex) -> None:
    index.prepare_search()
    index._approximate = approximate_search.ApproximateSearch(index.folder, "other")
    with pytest.warns(Remark, match="older than the index"):
        assert not uses_lists(index)


def damaged(data: bytes) -> dict[str, bytes]:
    about = json.loads(data[-1024:])
    more = {"rows": 7, "head": 10**9, "covered": 10**30, "channels": CHANNELS + 1, "format": "x", "digest": "0", "stamp": None}
    changed = {name: data[:-1024] + json.dumps({**about, name: value}).encode().ljust(1024) for name, value in more.items()}
    parts = {"cut": data[:-9], "longer": data + b"x", "half": data[:1500], "empty": b"", "foreign": b"PK\3\4" * 999}
    head = data[:30] + bytes([data[30] ^ 1]) + data[31:]
    texts = data.replace(b'"rows": 6000', b'"rows": "60"')
    return {**changed, **parts, "list": data[:-1024] + b"[1, 2]".ljust(1024), "head bit": head, "texts": texts}


def test_a_damaged_or_foreign_file_is_left_alone_with_one_line(index: VectorIndex) -> None:
    index.prepare_search()
    path, queries = index.folder / LISTS, clustered(2, seed=9)
    exact = index.nearest(queries, 10, exact=True).rows
    for name, data in damaged(path.read_bytes()).items():
        path.write_bytes(data)
        index._approximate = approximate_search.ApproximateSearch(index.folder, index.model)
        with pytest.warns(Remark, match="is not used; tapetum index") as said:
            found = [index.nearest(queries, 10).rows for _ in range(2)]
        np.testing.assert_array_equal(found, [exact] * 2, err_msg=name)
        assert len(said) == 1, name
        assert "\n" not in str(said[0].message)
    path.unlink()
    os.mkfifo(path)
    index._approximate = approximate_search.ApproximateSearch(index.folder, index.model)
    with pytest.warns(Remark, match="a pipe"):
        index.nearest(queries, 10)
    path.unlink()
    assert index.prepare_search() is not None
    assert uses_lists(index)


def test_damaged_codes_cost_recall_and_no_cosine_is_wrong(index: VectorIndex) -> None:
    index.prepare_search()
    path = index.folder / LISTS
    data = bytearray(path.read_bytes())
    codes = slice(len(data) // 2, len(data) // 2 + 40_000)
    data[codes] = np.random.default_rng(0).bytes(40_000)
    path.write_bytes(data)
    assert uses_lists(index)
    queries = clustered(20, seed=10)
    found = index.nearest(queries, 10)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_allclose(found.cosines, np.einsum("qkc,qc->qk", index.vectors()[found.rows], unit), atol=1e-6)


BUILD = """
import sys, time
from tapetum.desk.search import approximate_search
from tapetum.desk.search.vector_index import VectorIndex

approximate_search.LIMIT, approximate_search._BLOCK = 1000, 700

def wait(done, total):
    if done >= total * 3 // 4:
        print("half", flush=True)
        time.sleep(60)

VectorIndex.open(sys.argv[1], writes=True).prepare_search(wait)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_a_usable_index(index: VectorIndex) -> None:
    folder = index.folder
    index.close()
    with subprocess.Popen([sys.executable, "-c", BUILD, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.kill()
    assert not list(folder.glob("*.faiss"))
    with VectorIndex.open(folder, writes=True) as again:
        assert not uses_lists(again)
        assert again.search(clustered(1), 3)[0].shape == (1, 3)
        assert again.prepare_search() is not None
        assert uses_lists(again)
    assert [path.name for path in folder.iterdir() if path.suffix == ".faiss"] == [LISTS]


def test_without_faiss_search_is_exact(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.prepare_search()
    queries = clustered(3, seed=11)
    exact = index.nearest(queries, 10, exact=True).rows
    monkeypatch.setitem(sys.modules, "faiss", None)
    index._approximate = approximate_search.ApproximateSearch(index.folder, index.model)
    np.testing.assert_array_equal(index.nearest(queries, 10).rows, exact)
    assert index.prepare_search() == (
        "the index has more than 1,000 vectors; approximate search is faster: "
        "pip install '.[index]' in a clone, or pip install 'tapetum[index]' from an index; then index again"
    )
    monkeypatch.undo()
    assert index.prepare_search() is None  # of a small index nothing is said


def test_a_faiss_that_maps_no_lists_is_as_none(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.prepare_search()
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace())
    assert not uses_lists(index)


def test_a_full_disk_is_a_line_and_no_error(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("Error in ~BufferedIOWriter at io.cpp: write error: No space left on device")

    monkeypatch.setattr("faiss.write_index", full)
    line = index.prepare_search()
    assert line is not None
    assert "could not be prepared: " in line
    assert not uses_lists(index)
