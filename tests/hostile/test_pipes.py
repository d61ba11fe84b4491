"""A pipe that nobody writes into, as any option that names a file: one line at once, and no signal is needed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def commands() -> Iterator[str]:
    """Command lines in which PIPE stands for a file; DIR is a folder in which each file that is looked for is a pipe."""
    for model in ("PIPE", "DIR"):
        yield f"track CLIP --model {model}"
        yield f"classify CLIP --model {model}"
        yield f"embed CLIP --model {model} --out OUT.npz"
        yield f"ask CLIP what? --model {model}"
        yield f"detect CLIP cat --model {model}"
        yield f"segment CLIP cat --model {model}"
        yield f"answer CLIP what? --options a b --model {model}"
        yield f"discover CLIP --model {model} --out OUT"
        yield f"account {model}"
        yield f"weights convert {model} --out OUT"
        yield f"export {model} OUT.onnx"
        yield f"eval tapvid --data CLIP --model {model}"
        yield f"eval paligemma --data {model}"
        yield f"eval longvideo --task nextqa --data {model} --model mcvit-films"
        yield f"probe {model} --data CLIP"
        yield f"adapt verify {model}"
        yield f"ledger {model}"
    for file in ("PIPE.npz", "PIPE.csv", "PIPE.json", "PIPE.parquet", "PIPE.pkl", "DIR"):
        yield f"show {file} CLIP --out OUT.mp4"
        yield f"convert {file} OUT.npz"
        yield f"track CLIP --model static --3d --depth {file}"
        yield f"track CLIP --model static --points {file}"
        yield f"search cat --index {file}"
        yield f"eval tapvid --data {file} --model static"
        yield f"data shards {file} --out OUT"
        yield f"data show {file}"
        yield f"tapvid3d check {file}"
    for ending in ("mp4", "png", "npy", "npz", "wav", "gif"):
        yield f"track PIPE.{ending} --model static"
        yield f"classify PIPE.{ending}"
        yield f"embed PIPE.{ending} --out OUT.npz"
        yield f"track CLIP --model static --region PIPE.{ending}"
        yield f"track CLIP --model static --reference PIPE.{ending} --query 0,1,1"
    yield "train tap-nano --config PIPE --out OUT"
    yield "train tap-nano --textures PIPE.parquet --out OUT"
    yield "pretrain mae --config PIPE --out OUT"
    yield "pretrain mae --data PIPE --out OUT"
    yield "study run --plan PIPE --out OUT"
    yield "study run --plan PIPE --out OUT --dry"
    yield "eval perception-test --task point --annotations PIPE.json --predictions PIPE.json"
    yield "eval perception-test --task point --annotations DIR --predictions PIPE.json"
    yield "submit perception-test --task point --annotations PIPE.json --predictions PIPE.json --out OUT"
    yield "eval tapvid3d --gt DIR --predictions PIPE"
    yield "track CLIP --model static --3d --intrinsics PIPE"
    yield "track CLIP --model static --tracks PIPE.npz --correct 0,1,1"
    yield "bootstrap PIPE.mp4 --out OUT"
    yield "scenes make OUT --n 1 --textures PIPE.parquet"
    yield "adapt learn PIPE --task classify --out OUT"


NAMES = "config.json", "tokenizer.model", "model.safetensors", "tracker.safetensors", "encoder.safetensors", "log.jsonl"
NAMES += "ledger.json", "a.png", "a.json", "a.npz", "train.csv", "settings.toml", "0.tar", "adapter_config.json"


@pytest.mark.parametrize("line", list(commands()))
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


def test_sockets_are_no_files(run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.npz")
        for words in (["show", "s.npz", clip], ["track", clip, "--model", "s.npz"], ["convert", "s.npz", "o.csv"]):
            code, _, err = run(*words)
            assert (code, err.count("\n")) == (2, 1)
