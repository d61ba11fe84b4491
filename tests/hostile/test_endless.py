"""Nothing waits for ever, and nothing asks for what no machine has: one line at once."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.networks import TAPIR, tracker
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.core.jobs import run_jobs
from tapetum.data.layouts import listing
from tapetum.data.textures import open_textures
from tapetum.hub.unpickle import load_pickle
from tapetum.systems.tapvid3d.depth import DepthNetwork, reachable
from tapetum.tracks import tracker as blocks
from tapetum.train import TrainConfig
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return make


def test_help_in_a_narrow_terminal_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ["1", "5"]:
        for verb in ["track", "show"]:
            monkeypatch.setenv("COLUMNS", columns)
            for words in (["--help"], ["--help", "all"]):
                code, said, _ = run(*verb.split(), *words)
                assert code == 0
                assert "--out" in said


def test_pipes_are_no_files(tmp_path: Path, pipe: Callable[[str], Path]) -> None:
    for read in (
        lambda: listing("kinetics", pipe("train.csv").parent, "train"),
        lambda: listing("parquet", pipe("train.parquet").parent, "train"),
        lambda: load_pickle(pipe("b.pkl")),
    ):
        with pytest.raises(BadInput, match="it is a pipe, not a file"):
            read()
    pipe("c.png")
    with pytest.raises(BadInput, match="holds no image"):
        open_textures(tmp_path)


def test_points_from_a_command_are_read(run: Run, clip: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"t,x,y\n0,5,6\n")
    os.close(write)
    code, _, stderr = run("track", clip, "--model", "static", "--points", f"/dev/fd/{read}", "--out", tmp_path / "out")
    os.close(read)
    assert (code, stderr) == (0, "")
    assert Tracks.load(tmp_path / "out" / "tracks.npz").queries.tolist() == [[0, 5, 6]]


def test_more_workers_than_a_machine_can_run() -> None:
    with pytest.raises(BadInput, match=r"asked for 9999999 workers on a machine of \d+ processors; give \d+ or fewer"):
        list(run_jobs(print, [1, 2, 3], print, workers=9_999_999))
    with pytest.raises(BadInput, match="9999999 workers"):
        TrainConfig(steps=1, batch_size=1, workers=9_999_999)


def test_a_class_numbered_10_to_the_12(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"image": {"bytes": b"x", "path": "a.png"}, "label": label} for label in (0, 10**12)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    with pytest.raises(BadInput, match="the class 1000000000000"):
        listing("parquet", tmp_path, "train")


def test_a_depth_network_out_of_reach_is_one_line_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing answers there
    begin = time.perf_counter()
    with pytest.raises(BadInput, match=r"depth network no/such-net is not on this machine, and http://127.0.0.1:9 cannot be"):
        DepthNetwork("no/such-net")
    assert time.perf_counter() - begin < 200  # most of it imports


def test_a_look_up_that_never_ends_counts_as_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:9")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait(600) or [])
    begin = time.perf_counter()
    assert not reachable(0.2)
    assert time.perf_counter() - begin < 300
    never.set()


class Heard(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        self.done.append(done)


def test_many_points_in_blocks_are_tracked_as_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PROBE", 4)
    monkeypatch.setattr(blocks, "_LONG", 0.0)
    small = tracker(TAPIR, initial_resolution=(32, 32), iterations=1, mixer_blocks=1)
    video = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
    queries = np.random.default_rng(1).uniform(0, [2, 48, 40], (19, 3)).astype(np.float32)
    heard = Heard()
    found, wanted = blocks.in_blocks(small, video, queries, 6, heard), small.track(video, queries)
    assert heard.done == [0, 4, 10, 16, 19]
    assert len(heard.notes) == 1
    assert heard.notes[0].startswith("19 points through 3 frames take up to ")
    assert "MiB of memory" in heard.notes[0]
    assert np.abs(found.xy - wanted.xy).max() < 1e-3
    assert np.abs(found.confidence - wanted.confidence).max() < 1e-5
    assert np.array_equal(found.queries, wanted.queries)


def test_points_that_do_not_fit_in_memory_are_refused_before_any_is_tracked(run: Run, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"1000000 points through 10000000 frames takes about [\d,.]+ GiB of memory"):
        blocks.check_memory(10**6, 10**7)
    blocks.check_memory(100, 100)
