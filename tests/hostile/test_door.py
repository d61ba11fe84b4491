"""The door of the command line: one line and exit code 2 whatever happens, whatever the streams are, whatever the signal."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.networks import save_tapir
from tapetum.bench.baselines import Static
from tapetum.core.errors import BadInput
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]

COMMAND = (sys.executable, "-m", "tapetum.app.shell.main")
PLAIN = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def shell(line: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in which "$@" is tapetum with the arguments."""
    words = ["sh", "-c", line, "sh", *COMMAND, *map(str, arguments)]
    whole = {**os.environ, **environment}
    return subprocess.run(words, env=whole, capture_output=True, text=True, encoding="utf-8", check=False, timeout=600)


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), AssertionError(), KeyError("x"), GeneratorExit()])
def test_an_unforeseen_error_is_one_line_that_names_it(run: Run, clip: Path, tmp_path: Path, monkeypatch, error) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Static, "track", fails)
    code, out, err = run("track", clip, "--model", "static", "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tapetum: unforeseen {type(error).__name__} in fails, line ")
    assert "TAPETUM_DEBUG=1" in err
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TAPETUM_DEBUG", "1")
    assert "Traceback" in run("track", clip, "--model", "static", "--out", tmp_path / "out")[2]


def test_an_unforeseen_error_says_what_was_kept(run: Run, clip: Path, tmp_path: Path, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr("tapetum.systems.tapvid3d.lifting.Lifting.lift", fails)
    code, _, err = run("track", clip, "--model", "static", "--3d", "--out", tmp_path / "out")
    assert code == 2
    assert err.endswith(f"; the tracks are in {tmp_path / 'out'}\n")
    assert Tracks.load(tmp_path / "out" / "tracks.npz").frames == 6


def test_no_memory_is_said_as_such(run: Run, clip: Path, tmp_path: Path, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Static, "track", fails)
    code, _, err = run("track", clip, "--model", "static", "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("tapetum: out of memory (")


def test_an_error_in_a_thread_is_one_line(run: Run, clip: Path, tmp_path: Path, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise BadInput("done")

    monkeypatch.setattr(Static, "track", fails)
    _, _, err = run("track", clip, "--model", "static", "--out", tmp_path / "out")
    first, second = err.splitlines()
    assert first.startswith("tapetum: ZeroDivisionError beside the work: ")
    assert second == "tapetum: done"


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}, PLAIN])
def test_any_encoding_will_do(environment: dict[str, str], tmp_path: Path) -> None:
    done = shell('"$@"', "track", tmp_path / "日本.mp4", **environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no file" in done.stderr
    done = shell('"$@"', "show", "--help", "all", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u" not in done.stdout
    assert "----" in done.stdout  # the frames of boxes
    if environment.get("PYTHONIOENCODING") != "cp1252":
        assert "rainbow" in done.stdout


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('"$@" >&-', 0, ""),
        ('"$@" <&- >&- 2>&-', 0, ""),
        ('"$@" > /dev/full', 2, "No space left on device"),
        ('"$@" > /dev/full 2> /dev/full', 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(line: str, code: int, said: str) -> None:
    done = shell(line, "weights", "list")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)


@pytest.mark.parametrize(
    "line", ['"$@" 2>&-', '"$@" 2> /dev/full', '"$@" 2>&- >&-', '("$@"; echo $? >&3) 3>&1 2>&1 >/dev/null | :']
)
def test_errors_that_nobody_can_hear(line: str, tmp_path: Path) -> None:
    done = shell(line, "track", tmp_path / "nothing.mp4")
    assert done.returncode in (0, 2)  # of a pipe, that of its end
    assert (done.stdout.strip(), done.stderr) in (("", ""), ("2", ""))


@pytest.mark.slow
def test_a_closed_stdout_is_not_taken_for_a_file(clip: Path, tmp_path: Path) -> None:
    done = shell('"$@" >&-', "track", clip, "--model", "static", "--grid", 1, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert Tracks.load(tmp_path / "out" / "tracks.npz").frames == 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_command_and_leaves_nothing(number: int, code: int, clip: Path, tmp_path: Path) -> None:
    words = ["track", str(clip), "--model", "static", "--grid", "1000", "--out", str(tmp_path / "out")]
    # a shell starts background jobs deaf to interrupts, and their children inherit that: not so here
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **hears)
    deadline = time.monotonic() + 600
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (code, "", "tapetum: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_nohup_is_heeded(clip: Path, tmp_path: Path) -> None:
    words = ["track", str(clip), "--model", "static", "--grid", "30", "--out", str(tmp_path / "out")]
    process = subprocess.Popen([*COMMAND, *words], preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    deadline = time.monotonic() + 600
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(600) == 0


@pytest.mark.parametrize("device", ["fpga", "cuda:99"])
@pytest.mark.parametrize("verb", [("track", "CLIP"), ("train", "tap-nano"), ("serve", ".")])
def test_a_device_that_is_not_there(run: Run, clip: Path, tmp_path: Path, device: str, verb: tuple[str, ...]) -> None:
    out = [] if verb[0] == "serve" else ["--out", tmp_path / "out"]
    code, _, err = run(*(str(clip) if word == "CLIP" else word for word in verb), "--device", device, *out)
    assert (code, err.count("\n")) == (2, 1)
    assert f"there is no device '{device}' to compute on; this machine has cpu" in err
    assert not list(tmp_path.iterdir())


def test_compiling_without_a_compiler(run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "nocxx")
    model = save_tapir(tmp_path / "model.safetensors")
    code, _, err = run("track", clip, "--model", model, "--compile", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no nocxx" in err


@pytest.mark.parametrize("words", [("track", "LOOP"), ("track", "CLIP", "--out", "LOOP"), ("convert", "LOOP", "LOOP")])
def test_links_that_lead_in_a_circle(run: Run, clip: Path, tmp_path: Path, monkeypatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    code, out, err = run(*(str(clip) if word == "CLIP" else word.replace("LOOP", "loop") for word in words))
    assert (code, out) == (2, "")
    assert "unforeseen" not in err
    assert err.splitlines()[-1].startswith("tapetum: ")
    assert os.listdir() == ["loop"]


def test_a_stream_of_no_points(tmp_path: Path) -> None:
    tracker = tapetum.load(save_tapir(tmp_path / "model.safetensors", causal=True))
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    stream, _ = tracker.step(tracker.start(frame, [[5, 5], [9, 9]]), frame)
    stream = tracker.keep(stream, [])
    stream, seen = tracker.step(stream, frame)
    assert (len(stream), seen.xy.shape) == (0, (0, 2))
    stream, seen = tracker.step(tracker.add(stream, frame, [[7, 8]]), frame)
    _, alone = tracker.step(tracker.start(frame, [[7, 8]]), frame)
    assert np.array_equal(seen.xy, alone.xy)


def test_what_systems_put_beside_images_is_passed_over(run: Run, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    code, _, err = run("embed", tmp_path / "images", "--out", tmp_path / "e.npz")
    assert (code, err) == (0, "")


def test_a_table_of_one_row(run: Run, tmp_path: Path) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (32, 32)).save(data, "PNG")
    pq.write_table(pa.table({"image": [{"bytes": data.getvalue(), "path": ""}], "label": [0]}), tmp_path / "one.parquet")
    code, _, err = run("train", "hip", "--layout", "parquet", "--data", tmp_path / "one.parquet", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "has 1 rows" in err
    code, _, err = run("train", "tap-nano", "--textures", tmp_path / "one.parquet", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds 1 images" in err
    assert not (tmp_path / "out").exists()
