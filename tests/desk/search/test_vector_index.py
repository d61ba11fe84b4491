"""An index of vectors: exact, renewed file by file, whole after a kill."""

import multiprocessing
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.desk.search import index_database, vector_search
from tapetum.desk.search.index_database import DATABASE, OTHER_VECTORS, VECTORS, refusing_damage
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex

MAGIC = bytes.fromhex("d9d505f920a163d7")


def put(index: VectorIndex, name: str, vectors: np.ndarray, mark: str = "f") -> None:
    index.put(name, mark, [IndexedPiece(path=name, start_s=float(k), stop_s=k + 1.0) for k in range(len(vectors))], vectors)


def search(index: VectorIndex, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    found = index.nearest(queries, count)
    return found.rows, found.cosines


def filled(folder: Path, count: int = 50, channels: int = 8, seed: int = 0) -> tuple[VectorIndex, np.ndarray]:
    vectors = np.random.default_rng(seed).standard_normal((count, 3, channels)).astype(np.float32)
    index = VectorIndex.create(folder, "net", channels)
    for k, rows in enumerate(vectors):
        put(index, f"{k:03d}.mp4", rows)
    return index, vectors.reshape(-1, channels)


@pytest.mark.parametrize("block", [7, 1 << 16])
@pytest.mark.parametrize("count", [1, 5, 149, 1000])
def test_search_is_a_sort_of_all_cosines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, count: int) -> None:
    monkeypatch.setattr(vector_search, "_BLOCK", block)
    index, vectors = filled(tmp_path / "i")
    queries = np.random.default_rng(1).standard_normal((4, 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float64)
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ unit.T
    rows, found = search(index, queries, count)
    order = np.argsort(-cosines, 1, kind="stable")[:, :count]
    np.testing.assert_allclose(found, np.take_along_axis(cosines, order, 1), atol=1e-5)
    assert (rows == order).mean() > 0.98  # float32 may order cosines otherwise that are equal to six digits
    piece = index.pieces(rows[0])[0]
    assert (piece.path, piece.start_s) == (f"{rows[0, 0] // 3:03d}.mp4", float(rows[0, 0] % 3))


def test_files_are_replaced_removed_and_compacted(tmp_path: Path) -> None:
    index, vectors = filled(tmp_path / "i", 6)
    put(index, "002.mp4", vectors[:2], "g")
    assert index.remove(["000.mp4", "no"]) == 1
    assert len(index) == 3 * 4 + 2
    assert index.fingerprints() == {f"{k:03d}.mp4": "g" if k == 2 else "f" for k in range(1, 6)}
    before = search(index, vectors[:5], 4)
    paths = [[(p.path, p.start_s) for p in index.pieces(row)] for row in before[0]]
    index.compact()
    after = search(index, vectors[:5], 4)
    assert [[(p.path, p.start_s) for p in index.pieces(row)] for row in after[0]] == paths
    np.testing.assert_array_equal(after[1], before[1])
    assert [path.stat().st_size for path in (tmp_path / "i").glob("*.f16")] == [2 * 8 * len(index)]
    index.close()
    with VectorIndex.open(tmp_path / "i") as again:
        assert len(again) == 14


def test_compacting_that_is_cut_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, vectors = filled(tmp_path / "i", 6)
    index.remove(["000.mp4", "003.mp4"])
    before = search(index, vectors[:5], 4)
    whole = VectorIndex._transaction

    @contextmanager
    def cut_off(self: VectorIndex) -> Iterator[None]:
        with whole(self):
            yield
            raise KeyboardInterrupt  # all is written but the last word

    with monkeypatch.context() as patch:
        patch.setattr(VectorIndex, "_transaction", cut_off)
        with pytest.raises(KeyboardInterrupt):
            index.compact()
    index.close()
    with VectorIndex.open(tmp_path / "i", writes=True) as again:
        np.testing.assert_array_equal(search(again, vectors[:5], 4), before)
        again.compact()
        again.compact()
        np.testing.assert_array_equal(search(again, vectors[:5], 4)[1], before[1])


ADD_FOR_EVER = """
import sys
import numpy as np
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex

with VectorIndex.open(sys.argv[1], writes=True) as index:
    for k in range(1_000_000):
        pieces = [IndexedPiece(path=f"{k % 40}.png")] * 2
        index.put(f"{k % 40}.png", str(k), pieces, np.full((2, 8), k + 1.0))
        print(k, flush=True)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_a_whole_index(tmp_path: Path) -> None:
    VectorIndex.create(tmp_path / "i", "net", 8).close()
    for wait_s in (0.05, 0.15, 0.3, 0.4):
        line = [sys.executable, "-c", ADD_FOR_EVER, str(tmp_path / "i")]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"0\n"
            time.sleep(wait_s)
            process.kill()
        with VectorIndex.open(tmp_path / "i", writes=wait_s > 0.2) as index:  # readers too take back what is half written
            assert len(index) == 2 * len(index.fingerprints()) > 0
            np.testing.assert_allclose(index.vectors(), 8**-0.5, atol=1e-3)


def test_readers_see_what_another_process_has_changed(tmp_path: Path) -> None:
    filled(tmp_path / "i", 2)[0].close()
    with VectorIndex.open(tmp_path / "i") as reader:
        assert len(search(reader, np.ones((1, 8)), 99)[0][0]) == 6
        with VectorIndex.open(tmp_path / "i", writes=True) as writer:
            put(writer, "new.mp4", np.ones((2, 8)))
            writer.remove(["000.mp4"])
            writer.compact()
        rows, cosines = search(reader, np.ones((1, 8)), 99)
        assert len(rows[0]) == 5
        np.testing.assert_allclose(cosines[0, :2], 1, atol=1e-3)
        assert {piece.path for piece in reader.pieces(rows[0, :2])} == {"new.mp4"}


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((1, 3)), r"shape \(1, 3\)"),
        (np.zeros((1, 2)), "of length 0"),
        (np.array([[1.0, np.nan]]), "not finite"),
        (np.ones((2, 2)), "1 pieces of a and 2 vectors"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path: Path, vectors: np.ndarray, message: str) -> None:
    with VectorIndex.create(tmp_path / "i", "net", 2) as index:
        with pytest.raises(BadInput, match=message):
            index.put("a", "f", [IndexedPiece(path="a")], vectors)
        assert len(index) == 0


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no index"):
        VectorIndex.open(tmp_path)
    filled(tmp_path / "i")[0].close()
    with pytest.raises(BadInput, match="an index already"):
        VectorIndex.create(tmp_path / "i", "net", 8)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / VECTORS).write_bytes(b"somebody's")
    with pytest.raises(BadInput, match=r"is there, and no index\.sqlite"):
        VectorIndex.create(tmp_path / "own", "net", 8)
    (tmp_path / "i" / VECTORS).write_bytes(b"x" * 100)
    with pytest.raises(BadInput, match="shorter than its 150 rows"):
        VectorIndex.open(tmp_path / "i")
    (tmp_path / "i" / DATABASE).write_bytes(b"no database at all" * 99)
    with pytest.raises(BadInput, match="is no index of this version, or is damaged"):
        VectorIndex.open(tmp_path / "i")


def begin_together(folder: Path, name: str, together: Any, said: Any) -> None:
    """Make indexes in many folders, each at the same time as the other processes, and put a file into each."""
    wrong = []
    for k in range(15):
        together.wait(600)
        try:
            with VectorIndex.create(folder / str(k), "net", 4, exist_ok=True) as index:
                put(index, name, np.ones((1, 4)))
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
    said.put(wrong)


@pytest.mark.slow
def test_processes_that_begin_together_share_one_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_database, "_WAIT_S", 120)  # a busy disk takes seconds to write what is to be kept
    fork = multiprocessing.get_context("fork")
    together, said = fork.Barrier(3), fork.SimpleQueue()
    processes = [fork.Process(target=begin_together, args=(tmp_path, name, together, said)) for name in "abc"]
    for process in processes:
        process.start()
    assert [said.get() for _ in processes] == [[], [], []]
    for process in processes:
        process.join()
    for folder in tmp_path.iterdir():
        assert {path.name for path in folder.iterdir()} == {DATABASE, VECTORS}
        with VectorIndex.open(folder) as index:
            assert index.fingerprints().keys() == {"a", "b", "c"}


ENDLESS = "with recursive r(x) as (select 1 union all select x + 1 from r) select "
PLANTED = {
    "a view for about": f"alter table about rename to a; create view about as {ENDLESS} 'name', 'value' from r where x < 0",
    "a view for pieces": "alter table pieces rename to p; create view pieces as "
    + ENDLESS
    + "x as row, 1 file from r where x < 0",
    "a trigger": "create trigger t after delete on files begin delete from about; end",
    "a computed column": "alter table files add x as (zeroblob(1000000000))",
    "a row below 0": "update pieces set row = -5 where row = 3",
    "no file": "pragma foreign_keys = off; delete from files where id = 2",
    "no path": "update files set path = x'ff00' where id = 2",
    "a time that is none": "update pieces set start_s = 'now'",
    "no channels": "update about set value = '0' where name = 'channels'",
}


@pytest.mark.parametrize("planted", PLANTED)
def test_nothing_in_an_index_is_trusted(tmp_path: Path, planted: str) -> None:
    filled(tmp_path / "i", 4)[0].close()
    with closing(sqlite3.connect(tmp_path / "i" / DATABASE)) as database:
        database.executescript(PLANTED[planted])
    with pytest.raises(
        BadInput, match=r"^[^\n]* is (no index of this version, or is )?damaged \([^\n]*; remove it, and make it"
    ):
        look_everywhere(tmp_path / "i")


def look_everywhere(folder: Path) -> None:
    with refusing_damage(folder), VectorIndex.open(folder) as index:
        assert search(index, np.ones((1, 8)), 99)[0].max() < 12
        index.pieces(index.rows())
        index.rows_of("002.mp4")


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_vectors_that_are_damaged_are_never_compared(tmp_path: Path, value: float) -> None:
    filled(tmp_path / "i", 4)[0].close()
    stored = np.memmap(tmp_path / "i" / VECTORS, np.float16, "r+", shape=(12, 8))
    stored[5, 2] = value
    stored.flush()
    with VectorIndex.open(tmp_path / "i") as index:
        for compare in (lambda: index.nearest(np.ones((1, 8)), 2), index.vectors):
            with pytest.raises(BadInput, match=r"not finite, or not of length 1; make .* again"):
                compare()


def test_a_journal_never_deletes_another_file(tmp_path: Path) -> None:
    filled(tmp_path / "i", 4)[0].close()
    other, path = tmp_path / "letter.txt", tmp_path / "i" / DATABASE
    other.write_text("precious")
    name, pages = bytes(other), path.stat().st_size // 4096
    header = MAGIC + struct.pack(">5I", 0, 1, pages, 512, 4096)
    end = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">2I", len(name), sum(name)) + MAGIC
    Path(f"{path}-journal").write_bytes(header.ljust(512, b"\0") + end)
    for writes in (False, True):
        with pytest.raises(BadInput, match=r"-journal names another file"):
            VectorIndex.open(tmp_path / "i", writes=writes)
        assert other.read_text() == "precious"


@pytest.mark.parametrize("name", [DATABASE, VECTORS, OTHER_VECTORS])
def test_an_index_is_not_written_through_links(tmp_path: Path, name: str) -> None:
    filled(tmp_path / "i", 4)[0].close()
    (tmp_path / "other").write_bytes((tmp_path / "i" / name).read_bytes() if name != OTHER_VECTORS else b"precious")
    (tmp_path / "i" / name).unlink(missing_ok=True)
    (tmp_path / "i" / name).symlink_to(tmp_path / "other")
    with pytest.raises(BadInput, match=f"{name} is a link, and an index is not written through one"):
        VectorIndex.open(tmp_path / "i", writes=True)
    with VectorIndex.open(tmp_path / "i") as index:
        assert len(index) == 12
