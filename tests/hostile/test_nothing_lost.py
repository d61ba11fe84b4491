"""What was worked for stays: tracks where drawing fails, old results where new ones cannot be put in place, live runs."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.files import listed
from tapetum.core.errors import BadInput
from tapetum.core.files import results
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]


def test_tracks_stay_where_the_overlay_cannot_be_drawn(run: Run, clip: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 40, 20000, 3), np.uint8))
    out = tmp_path / "out"
    tapetum.track(clip, model="static", grid=1, out=out)
    assert "overlay.mp4" in listed(out)
    code, stdout, stderr = run("track", tmp_path / "wide.npy", "--model", "static", "--grid", 2, "--out", out, "--json")
    assert code == 0
    assert stderr.startswith("tapetum: there is no overlay.mp4: ")
    assert stderr.count("\n") == 1
    assert json.loads(stdout)["overlay"] is None
    assert listed(out) == ["tracks.csv", "tracks.npz"]
    assert Tracks.load(out / "tracks.npz").points == 4


def test_tracks_stay_where_the_video_goes_while_it_is_drawn(clip: Path, tmp_path: Path, monkeypatch) -> None:
    def gone(*_: object) -> None:
        raise BadInput("the video is gone")

    monkeypatch.setattr("tapetum.app.track.track_files.write_overlay", gone)
    with pytest.warns(UserWarning, match=r"there is no overlay\.mp4: the video is gone.* the tracks are in "):
        done = tapetum.track(clip, model="static", grid=1, out=tmp_path / "out")
    assert done.overlay is None
    assert Tracks.load(tmp_path / "out" / "tracks.csv").frames == 6


def test_an_interrupt_while_drawing_says_where_the_tracks_are(run: Run, clip: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tapetum.app.track.track_files.write_overlay", interrupted)
    code, _, stderr = run("track", clip, "--model", "static", "--out", tmp_path / "out")
    assert (code, stderr) == (130, f"tapetum: interrupted; the tracks are in {tmp_path / 'out'}\n")
    assert Tracks.load(tmp_path / "out" / "tracks.npz").frames == 6


def test_a_folder_in_the_place_of_a_result_is_said_before_the_work(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "od" / "overlay.mp4").mkdir(parents=True)
    (tmp_path / "od" / "tracks.npz").write_text("mine")
    code, stdout, stderr = run("track", clip, "--model", "static", "--out", tmp_path / "od")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert "overlay.mp4: it is a folder" in stderr
    assert sorted(path.name for path in (tmp_path / "od").iterdir()) == ["overlay.mp4", "tracks.npz"]
    assert (tmp_path / "od" / "tracks.npz").read_text() == "mine"


def test_results_come_together_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    with pytest.raises(BadInput, match=r"the results are in .*out-\d+"), results(out) as made:  # noqa: PT012
        for name in "abc":
            (made.folder / name).write_text("new")
        (out / "b").mkdir()  # while the work was done
        made.commit()
    assert (out / "a").read_text() == "old"
    assert (out / "b").is_dir()
    [kept] = out.glob("out-*")
    assert sorted(path.name for path in kept.iterdir()) == ["a", "b", "c"]


def test_two_commands_that_make_one_folder_leave_nothing_beside_it(tmp_path: Path) -> None:
    with results(tmp_path / "out") as first, results(tmp_path / "out") as second:
        second._temporary = tmp_path / ".out.1.tmp"  # as if of another process
        for made in (first, second):
            (made.folder / "a").write_text("a")
            made.commit()
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").is_file()


def test_a_live_run_goes_on_when_its_disk_fills(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overlay of 6 frames is larger than 3 kB, the tracks are not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.warns(UserWarning, match=r"there is no overlay\.mp4: .*full.*; following goes on without"):
            done = tapetum.track_live(str(clip), model="static", grid=2, out=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (done.overlay, done.tracks.frames) == (None, 6)
    assert listed(tmp_path / "out") == ["tracks.csv", "tracks.npz"]


def test_a_live_run_whose_source_fails_keeps_what_it_has(run: Run, clip: Path, tmp_path: Path, monkeypatch) -> None:
    from tapetum.video import LiveVideo

    frames = LiveVideo.__iter__

    def failing(self: LiveVideo):
        for moment in frames(self):
            if moment.number == 4:
                raise BadInput("the camera has gone")
            yield moment

    monkeypatch.setattr(LiveVideo, "__iter__", failing)
    code, _, stderr = run("track", clip, "--online", "--model", "static", "--grid", 1, "--out", tmp_path / "out")
    out = tmp_path / "out"
    assert (code, stderr) == (2, f"tapetum: the camera has gone; what was followed until then, 4 frames, is in {out}\n")
    assert Tracks.load(out / "tracks.npz").frames == 4


TRAINER = """
import sys
from pathlib import Path
import torch
from torch import nn
from tapetum.train import Task, TrainConfig, fit

class Line(Task):
    def model(self):
        return nn.Linear(3, 1)
    def dataset(self):
        class Numbers:
            def __getitem__(self, number):
                return torch.ones(3)
        return Numbers()
    def loss(self, model, batch, moment):
        return model(batch).square().mean(), {}

many = 10**7
config = TrainConfig(steps=many, batch_size=1, checkpoint_minutes=0.01, checkpoint_every=many, log_every=many)
fit(Line(), config, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_checkpoints_come_by_time_and_a_rerun_says_what_it_found(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", TRAINER, str(out)]

    def killed_after_a_checkpoint() -> str:
        seen = set(out.glob("checkpoints/step_*"))
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 600
        while not set(out.glob("checkpoints/step_*")) - seen and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        return process.communicate()[1]

    out.mkdir()
    (out / ".lock").touch()  # of a run that was killed before it had saved anything
    assert "nothing was saved, begins anew" in killed_after_a_checkpoint()
    step = max(int(path.name.removeprefix("step_")) for path in out.glob("checkpoints/step_*"))
    assert f"goes on after step {step} of 10000000" in killed_after_a_checkpoint()


@pytest.mark.slow
def test_a_run_saves_when_its_terminal_goes_away(tmp_path: Path) -> None:
    read, write = os.pipe()  # stderr, whose reader goes away too
    process = subprocess.Popen([sys.executable, "-c", TRAINER, str(tmp_path)], stderr=write)
    deadline = time.monotonic() + 600
    while not (seen := max(tmp_path.glob("checkpoints/step_*"), default=None)) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.close(read)
    os.close(write)
    process.send_signal(signal.SIGHUP)
    assert process.wait(600) == 0
    saved = max(tmp_path.glob("checkpoints/step_*"))
    assert seen is not None
    assert saved > seen


def test_a_run_that_cannot_begin_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    for arguments in [("--textures", "nowhere"), ("--steps", "0"), ("--seed", "-1"), ("--device", "fpga")]:
        code, _, stderr = run("train", "tap-nano", "--out", tmp_path / "deep" / "run", "--minutes", "0", *arguments)
        assert (code, stderr.count("\n")) == (2, 1)
        assert not list(tmp_path.iterdir())
