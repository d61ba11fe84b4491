"""Long commands that a signal stops: state saved, the shell's exit code, nothing that follows begins, exact resume."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from systems.pretraining.study.sweep_script import LONG, TINY
from tapetum.encoders import build, save

Run = Callable[..., tuple[int, str, str]]
CALM = ("--workers", "0", "--threads", "1")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for k in range(16):
        path = tmp_path / "photos" / "train" / "ab"[k % 2] / f"{k:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 30, 3), dtype=np.uint8)).save(path)
    small = build("vit-nano", image_size=(16, 16), patch=4, width=16, depth=1, heads=2, mlp_width=32)
    save(small, tmp_path / "encoder.safetensors")
    return tmp_path / "photos"


def words_of(command: str, photos: Path, out: Path) -> list[object]:
    if command == "study":
        (plan := photos.parent / "plan.toml").write_text(TINY.format(minutes=2) + LONG)
        return ["study", "run", "--plan", plan, "--out", out]
    if command == "adapt":
        encoder = photos.parent / "encoder.safetensors"
        return ["adapt", photos / "train", "--task", "classify", "--trunk", encoder, "--out", out, "--steps", 60, *CALM]
    small = ("--size", "16", "--batch-size", "4", "--steps", "60", "--hidden", "16")
    change = ("--change", "stem=3x3", "stem_width=4", "depths=(1,1,1,1)")
    return ["pretrain", "simclr", "--data", photos, "--out", out, *small, *CALM, *change]


@contextmanager
def signalled(number: int, log: Callable[[], bool]) -> Iterator[None]:
    """Send a signal to this process once there is something in the log, if the block has not ended before."""
    ended = threading.Event()

    def wait() -> None:
        while not (ready := log()) and not ended.wait(0.001):
            pass
        if ready and not ended.is_set():
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number"), [("adapt", signal.SIGTERM), ("study", signal.SIGHUP), ("pretrain", signal.SIGINT)]
)
def test_a_stopped_command_has_the_shells_exit_code(command: str, number: int, photos: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    with signalled(number, lambda: any(file.stat().st_size for file in out.rglob("log.jsonl"))):
        code, _, err = run(*words_of(command, photos, out))
    assert code == CODES[number], err
    assert err.splitlines()[-1] == f"tapetum: interrupted; the same command goes on from {out}"
    assert list(out.rglob("checkpoints/step*"))


@pytest.mark.slow
def test_nothing_follows_and_the_run_goes_on_exactly(photos: Path, tmp_path: Path, run: Run) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    line = [sys.executable, "-m", "tapetum.app.shell.main", *map(str, words_of("pretrain", photos, out))]
    shell = subprocess.Popen(
        ["bash", "-c", '"$@" && echo next', "bash", *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not (out / "log.jsonl").exists():
        time.sleep(0.005)
    [child] = map(int, Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split())
    os.kill(child, signal.SIGTERM)
    told, err = shell.communicate(timeout=600)
    assert (shell.returncode, "next" in told) == (143, False), err
    assert err.endswith(f"tapetum: interrupted; the same command goes on from {out}\n")
    assert not (out / "encoder.safetensors").exists()
    for place in (out, whole):
        assert run(*words_of("pretrain", photos, place))[0] == 0
    assert (out / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()
