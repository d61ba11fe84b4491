"""The loops of examples/live_cpp and examples/live_browser beside `step` of Python: the same tracks."""

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import tapetum
from support.page import CHROMIUM
from support.scripts import script
from tapetum.systems.tap.export import live_program
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.tracks.programs import export

SOURCE = Path(__file__).parents[3] / "examples" / "live_cpp" / "live.cpp"
SIZE = (272, 320)
POINTS = np.random.default_rng(3).uniform((20, 20), (300, 250), (40, 2)).round(1).astype(np.float32)
LATER = np.array([[120, 110]], np.float32)
"""A point of frame 6."""


def clip() -> np.ndarray:
    """Make a smooth texture that drifts faster than patches follow without the coarse image, then back; what crosses it; and
    what shines through in three frames, so that patches fit less."""
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(400, 460, 3)), (4, 4, 0))
    texture = np.uint8(255 * np.clip(noise / noise.std() / 6 + 0.5, 0, 1))
    crossing = np.uint8(255 * np.clip(gaussian_filter(rng.normal(size=(90, 60, 3)), (1, 1, 0)) + 0.5, 0, 1))
    frames = []
    for t in range(14):
        x, y = 90 - 8 * min(t, 11) + 8 * max(t - 11, 0), 60 + 2 * t
        frame = texture[y : y + SIZE[0], x : x + SIZE[1]].copy()
        frame[:40, :40] = 90
        frame[110:200, 20 * t : 20 * t + 60] = crossing[:, : max(0, 320 - 20 * t)]
        frames.append(np.uint8(0.6 * frame + 0.4 * texture[: SIZE[0], : SIZE[1]]) if t in (5, 9, 10) else frame)
    return np.stack(frames)


def interrupted() -> np.ndarray:
    """Make the clip with a dim frame that counts as flat; in a black one a network sees rounding errors, and remembers them."""
    frames = clip()
    frames[9] //= 4
    frames[9, ::8, ::8] = 0
    return frames


@pytest.fixture(scope="module")
def tracker() -> TapirTracker:
    """The bundled network, which finds points, in its smallest form, which is exported in less time."""
    tracker = tapetum.load("causal-tapir-nano")
    tracker.model.config = replace(tracker.model.config, iterations=1, refine_at_least=(256, 256), refine_at_most=(256, 256))
    return tracker


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled loop."""
    if not (shutil.which("g++") and shutil.which("pkg-config")):
        pytest.skip("no g++ or pkg-config here")
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "libonnxruntime"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("no onnxruntime for C++ here; Debian's libonnxruntime-dev is enough")
    path = tmp_path_factory.mktemp("live") / "live"
    subprocess.run(["g++", "-std=c++17", "-O2", "-Wall", "-Werror", SOURCE, "-o", path, *found.stdout.split()], check=True)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tracker: TapirTracker) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", partial(torch.onnx.export, optimize=False))
        return export(live_program(tracker, size=SIZE), tmp_path_factory.mktemp("model") / "live.onnx")


def run(program: Path, *words: str, frames: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *words], input=frames, capture_output=True, check=False)


QUERIES = np.concatenate([np.insert(POINTS, 0, 0, 1), np.insert(LATER, 0, 6, 1)])
CLIPS = pytest.mark.parametrize("frames", [clip(), interrupted()], ids=["whole", "flat"])


def same_as_python(tracker: TapirTracker, frames: np.ndarray, theirs: list[np.ndarray]) -> None:
    """Compare x, y, visible and confidence of each point by frame with those of `step`."""
    stream, hidden = tracker.start(frames[0], POINTS), 0
    for number, (frame, now) in enumerate(zip(frames, theirs, strict=True)):
        stream = tracker.add(stream, frame, LATER) if number == 6 else stream
        stream, seen = tracker.step(stream, frame)
        np.testing.assert_allclose(now[:, :2], seen.xy, atol=0.02, rtol=0, err_msg=f"frame {number}")
        np.testing.assert_allclose(now[:, 3], seen.confidence, atol=0.01, rtol=0, err_msg=f"frame {number}")
        hidden += int((~seen.visible).sum())
    assert 0 < hidden < sum(map(len, theirs)) / 2


@pytest.mark.slow
@CLIPS
def test_the_loop_in_cpp_gives_the_tracks_of_python(program, model, tracker, tmp_path, frames):
    points = tmp_path / "points.csv"
    points.write_text("t,x,y\n" + "".join(f"{t:g},{x},{y}\n" for t, x, y in QUERIES))
    done = run(program, str(model), str(points), frames=frames.tobytes())
    assert done.returncode == 0, done.stderr.decode()[-500:]
    rows = np.genfromtxt(io.BytesIO(done.stdout), delimiter=",", skip_header=1)
    same_as_python(tracker, frames, [rows[rows[:, 0] == number, 2:] for number in range(len(frames))])


BROWSER = script("evidence/live/browser.py")


@pytest.fixture
def page(model: Path, tmp_path: Path) -> Iterator[Any]:
    """The example, open in Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    if not (BROWSER.EXAMPLE / "node_modules").is_dir():
        pytest.skip("onnxruntime-web is not here; npm ci in examples/live_browser installs it")
    with api.sync_playwright() as playwright, BROWSER.served(tmp_path, model) as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.goto(address)
        yield page
        browser.close()


@pytest.mark.slow
@CLIPS
def test_the_loop_in_a_browser_gives_the_tracks_of_python(page, tracker, tmp_path, frames):
    theirs, _ = BROWSER.in_browser(page, tmp_path, frames, QUERIES)
    same_as_python(tracker, frames, theirs)


@pytest.mark.slow
def test_what_the_loop_cannot_use_is_said_in_one_line(program, model, tmp_path):
    points, outside = tmp_path / "points.csv", tmp_path / "outside.csv"
    points.write_text("t,x,y\n0,60,70\n")
    outside.write_text("t,x,y\n0,60,70\n0,330,70\n")
    frame = clip()[0].tobytes()
    for words, frames, message in (
        ([str(model), str(points)], frame + frame[:100], "ends within frame 1"),
        ([str(model), str(points)], b"", "no frame came"),
        ([str(model), str(outside)], frame, "'0,330,70'"),
        ([str(model), str(tmp_path / "none.csv")], frame, "header t,x,y"),
        ([str(model), str(points), "--threads", "0"], frame, "usage: live"),
        ([str(points), str(points)], frame, "points.csv"),
    ):
        done = run(program, *words, frames=frames)
        assert done.returncode == 2, message
        assert message in done.stderr.decode().splitlines()[-1]
