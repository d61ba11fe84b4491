"""Every writer whose power is cut, or whose disk is full, at any call: its folder opens as the old or the new."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from support.power_cuts import Disk
from tapetum.core.errors import BadInput
from tapetum.core.files import results, write_json
from tapetum.core.reading import read_json
from tapetum.desk.search.index_database import DATABASE
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex
from tapetum.tracks.tracker import FrameTracks, load_state, save_state
from tapetum.train.checkpoint import CheckpointStore, load

Write, Read = Callable[[Path, int], None], Callable[[Path], int]


def save_checkpoint(folder: Path, number: int) -> None:
    store = CheckpointStore(folder)
    store.save(number, {"model": {"weight": torch.full((9,), float(number))}}, {"step": number})
    store.prune(1)


def load_checkpoint(folder: Path) -> int:
    newest = CheckpointStore(folder).latest()
    assert newest is not None
    tensors, state = load(newest)
    assert tensors["model"]["weight"].tolist() == [state["step"]] * 9
    return state["step"]


def write_results(folder: Path, number: int) -> None:
    with results(folder) as made:
        for name in ("a.txt", "b.txt"):
            (made.folder / name).write_text(f"{number:09}")
        made.commit()


def read_results(folder: Path) -> int:
    return min(int((folder / name).read_text()) for name in ("a.txt", "b.txt"))


def write_index(folder: Path, number: int) -> None:
    make = VectorIndex.open if (folder / DATABASE).exists() else VectorIndex.create
    with make(folder, *(("net", 3) if make == VectorIndex.create else (True,))) as index:
        index.put("a", str(number), [IndexedPiece(path="a")] * 9, np.full((9, 3), 1.0) + np.eye(3)[number % 3])
        index.compact()


def read_index(folder: Path) -> int:
    with VectorIndex.open(folder) as index:
        number = int(index.fingerprints()["a"])
        assert index.nearest(1.0 + np.eye(3)[number % 3 :][:1], 1).cosines[0, 0] == pytest.approx(1, abs=1e-3)
        return number


def tracks(number: int) -> FrameTracks:
    return FrameTracks(np.full((1, 2), number, np.float32), np.ones(1, bool), np.ones(1, np.float32), np.zeros(1, np.int64))


WRITERS: dict[str, tuple[Write, Read]] = {
    "a file": (
        lambda folder, number: write_json(folder / "a.json", {"number": number}),
        lambda folder: read_json(folder / "a.json")["number"],
    ),
    "results of a command": (write_results, read_results),
    "an index": (write_index, read_index),
    "a checkpoint": (save_checkpoint, load_checkpoint),
    "the state of a tracker": (
        lambda folder, number: save_state(tracks(number), folder / "live.state"),
        lambda folder: int(load_state(folder / "live.state").xy[0, 0]),
    ),
}
BOTH = pytest.mark.parametrize("name", WRITERS)


@BOTH
def test_a_power_cut_leaves_the_old_or_the_new(name: str, tmp_path: Path) -> None:
    write, read = WRITERS[name]
    (folder := tmp_path / "folder").mkdir()
    write(folder, 1)
    with Disk(folder, tmp_path / "copies") as disk:
        write(folder, 2)
    assert disk.calls
    found = [read(copy) for copy in sorted((tmp_path / "copies").iterdir())]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1, 2)


@BOTH
def test_a_call_that_fails_leaves_the_old_or_the_new(name: str, tmp_path: Path) -> None:
    write, read = WRITERS[name]
    (folder := tmp_path / "folder").mkdir()
    for number in itertools.count():
        old, new, next_one = range(3 * number + 1, 3 * number + 4)
        write(folder, old)
        with Disk(folder, tmp_path / f"copies {number}", number) as disk, suppress(BadInput, OSError):
            write(folder, new)
        assert read(folder) in (old, new)
        write(folder, next_one)
        assert read(folder) == next_one
        assert not [path for path in folder.rglob("*") if "tmp" in path.name]
        if disk.calls <= number:
            break
