"""A pipe that nobody writes into, as any option that names a file: one line at once, and no signal is needed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


LINES = """
track CLIP --model PIPE
track CLIP --model DIR
answer CLIP what? --options a b --model DIR
eval longvideo --task nextqa --data DIR --model mcvit-films
eval tapvid --data PIPE.pkl --model static
eval tapvid3d --gt DIR --predictions PIPE
adapt verify PIPE
ledger DIR
show PIPE.npz CLIP --out OUT.mp4
convert PIPE.json OUT.npz
track CLIP --model static --3d --depth PIPE.npz
track CLIP --model static --points PIPE.csv
search DIR cat
track PIPE.mp4 --model static
classify PIPE.png
embed PIPE.wav --out OUT.npz
train tap-nano --config PIPE --out OUT
pretrain mae --data PIPE --out OUT
"""
"""A command line for each function that reads; PIPE stands for its file, DIR for a folder in which each file is a pipe."""

NAMES = "config.json", "tokenizer.model", "model.safetensors", "tracker.safetensors", "encoder.safetensors", "log.jsonl"
NAMES += "ledger.json", "a.png", "a.json", "a.npz", "train.csv", "settings.toml", "0.tar", "adapter_config.json"


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_pipes_are_refused(run: Run, clip: Path, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    for name in NAMES:
        os.mkfifo(tmp_path / "DIR" / name)
    for ending in ("", ".npz", ".csv", ".json", ".parquet", ".pkl", ".mp4", ".png", ".npy", ".wav", ".gif"):
        os.mkfifo(tmp_path / f"PIPE{ending}")
    before = set(os.listdir())
    signal.signal(signal.SIGALRM, _waits)
    signal.alarm(600)
    try:
        code, _, err = run(*(str(clip) if word == "CLIP" else word for word in line.split()))
    finally:
        signal.alarm(0)
    assert code == 2, err
    assert "unforeseen" not in err
    assert "has no option" not in err
    assert set(os.listdir()) - {"clip-tracks"} == before  # what was tracked before depth was read is kept, and said


def _waits(*_: object) -> None:
    raise AssertionError("it waits for a pipe")


def times_open(process: int, target: str) -> int:
    count = 0
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed meanwhile
            count += os.readlink(file) == target
    return count


@pytest.mark.slow
def test_sigterm_ends_a_command_that_waits_for_what_may_be_waited_for(clip: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    words = (sys.executable, "-m", "tapetum.app.shell.main", "track", clip, "--model", "static", "--points", f"/dev/fd/{read}")
    process = subprocess.Popen(words, pass_fds=[read], stderr=subprocess.PIPE, text=True)
    pipe = os.readlink(f"/proc/self/fd/{read}")
    until = time.monotonic() + 600
    while times_open(process.pid, pipe) < 2 and time.monotonic() < until:
        time.sleep(0.05)  # it has yet to open what it then waits for
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=600)[1] == "tapetum: interrupted\n"
    assert process.returncode == 143
    os.close(read)
    os.close(write)
