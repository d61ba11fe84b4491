"""The C++ loop of examples/live_cpp beside `KeyframeTracker`: the same tracks."""

import io
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import tapetum
from tapetum.systems.tap.export import live_program
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.tracks.programs import export
from tapetum.tracks.tracker import with_keyframes

SOURCE = Path(__file__).parents[3] / "examples" / "live_cpp" / "live.cpp"
SIZE = (272, 320)
POINTS = np.random.default_rng(3).uniform((20, 20), (300, 250), (40, 2)).round(1).astype(np.float32)
LATER = np.array([[120, 110]], np.float32)
"""A point of frame 6."""


def clip() -> np.ndarray:
    """Make a texture that drifts faster than patches follow without the coarse image, then back, and what crosses it."""
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(400, 460, 3)), (2, 2, 0))
    texture = np.uint8(255 * np.clip(noise / noise.std() / 6 + 0.5, 0, 1))
    crossing = np.uint8(255 * np.clip(gaussian_filter(rng.normal(size=(90, 60, 3)), (1, 1, 0)) + 0.5, 0, 1))
    frames = []
    for t in range(14):
        x, y = 90 - 8 * min(t, 11) + 8 * max(t - 11, 0), 60 + 2 * t
        frame = texture[y : y + SIZE[0], x : x + SIZE[1]].copy()
        frame[:40, :40] = 90
        frame[110:200, 20 * t : 20 * t + 60] = crossing[:, : max(0, 320 - 20 * t)]
        frames.append(frame)
    return np.stack(frames)


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
def model(program: Path, tracker: TapirTracker) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", partial(torch.onnx.export, optimize=False))
        return export(live_program(tracker, size=SIZE), program.with_name("live.onnx"))


def run(program: Path, *words: str, frames: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *words], input=frames, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 2, 4])
def test_the_loop_in_cpp_gives_the_tracks_of_the_keyframe_tracker(program, model, tracker, tmp_path, every):
    frames, points = clip(), tmp_path / "points.csv"
    if every == 4:
        frames[9] = 0  # between keyframes: in a black frame the network sees rounding errors alone, and remembers them
    rows = [*((0, *point) for point in POINTS), *((6, *point) for point in LATER)]
    points.write_text("t,x,y\n" + "".join(f"{t},{x},{y}\n" for t, x, y in rows))
    done = run(program, str(model), str(points), "--every", str(every), frames=frames.tobytes())
    assert done.returncode == 0, done.stderr.decode()[-500:]
    theirs = np.genfromtxt(io.BytesIO(done.stdout), delimiter=",", names=True)
    keyframes = with_keyframes(tracker, every, realtime=False)
    stream, hidden = keyframes.start(frames[0], POINTS), 0
    for number, frame in enumerate(frames):
        stream = keyframes.add(stream, frame, LATER) if number == 6 else stream
        stream, seen = keyframes.step(stream, frame)
        now = theirs[theirs["frame"] == number]
        np.testing.assert_allclose(np.stack([now["x"], now["y"]], 1), seen.xy, atol=0.02, rtol=0, err_msg=f"frame {number}")
        np.testing.assert_allclose(now["confidence"], seen.confidence, atol=0.01, rtol=0, err_msg=f"frame {number}")
        hidden += int((~seen.visible).sum())
    assert 0 < hidden < len(theirs) / 2


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
        ([str(model), str(points), "--every", "0"], frame, "usage: live"),
        ([str(points), str(points)], frame, "points.csv"),
    ):
        done = run(program, *words, frames=frames)
        assert done.returncode == 2, message
        assert message in done.stderr.decode().splitlines()[-1]
