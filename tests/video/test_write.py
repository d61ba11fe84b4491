"""What is written can be read again, and is whole or not there."""

import os
import stat
import subprocess
import sys

import av
import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.video import open_video, write_video


def _blocks(frames: np.ndarray) -> np.ndarray:
    t, h, w, _ = frames.shape
    return frames.astype(float).reshape(t, h // 8, 8, w // 8, 8, 3).mean((2, 4))


@pytest.fixture
def frames(image) -> np.ndarray:
    return np.stack([image(number, 96, 64) for number in range(12)])


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_round_trip(tmp_path, frames, suffix):
    path = write_video(tmp_path / f"a.{suffix}", (frame for frame in frames), 20)
    video = open_video(path)
    assert (len(video), video.width, video.height) == (12, 96, 64)
    assert video.frame_rate == pytest.approx(20, rel=0.01)
    assert np.abs(_blocks(video[:]) - _blocks(frames)).mean() < 3
    assert video.check().damaged == 0
    assert os.listdir(tmp_path) == [path.name]


def test_mp4_is_what_players_want(tmp_path, frames):
    path = write_video(tmp_path / "a.mp4", frames, 30000 / 1001)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace, context.color_range) == ("h264", "yuv420p", 1, 1)
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.001)
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # it plays while it is being fetched
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (255, 255, 255), (10, 200, 120), (0, 0, 0)])
@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_colours_survive(tmp_path, suffix, colour):
    path = write_video(tmp_path / f"a.{suffix}", np.tile(np.array(colour, np.uint8), (3, 32, 32, 1)), 10)
    assert np.abs(open_video(path)[1].astype(int) - colour).max() <= 4


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (175, 143), (15, 16)])
@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_odd_sizes_get_one_more_row_or_column(tmp_path, size, suffix):
    width, height = size
    path = write_video(tmp_path / f"a.{suffix}", np.full((2, height, width, 3), 180, np.uint8), 25)
    video = open_video(path)
    grown = (width, height) if suffix == "gif" else (width + width % 2, height + height % 2)
    assert (video.width, video.height) == grown
    assert np.abs(video[1].astype(int) - 180).max() <= 4


def test_the_same_frames_give_the_same_bytes(tmp_path):
    steps = np.random.default_rng(1).integers(0, 255, (16, 14, 14, 3))
    frames = np.cumsum(steps, axis=0).repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    files = [write_video(tmp_path / f"{number}.mp4", frames, 2).read_bytes() for number in range(60)]
    assert len(set(files)) == 1


@pytest.mark.parametrize(
    ("name", "given", "frame_rate", "words"),
    [
        ("a.mp4", [], 25, "no frames"),
        ("a.gif", [], 25, "no frames"),
        ("a.xyz", [np.zeros((4, 4, 3), np.uint8)], 25, r"\.xyz"),
        ("a", [np.zeros((4, 4, 3), np.uint8)], 25, r"\(none\)"),
        ("a.mp4", [np.zeros((4, 4, 3))], 25, "float64"),
        ("a.mp4", [np.zeros((4, 4), np.uint8)], 25, r"shape \(4, 4\)"),
        ("a.mp4", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], 25, "frame 1 .* 6x4"),
        ("a.gif", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], 25, "frame 1 .* 6x4"),
        ("a.mp4", [np.zeros((4, 4, 3), np.uint8)], 0, "rate"),
        ("a.mp4", [np.zeros((4, 4, 3), np.uint8)], float("nan"), "rate"),
        ("no/such/a.mp4", [np.zeros((4, 4, 3), np.uint8)], 25, "no folder"),
    ],
)
def test_bad_input_leaves_nothing(tmp_path, name, given, frame_rate, words):
    with pytest.raises(BadInput, match=words) as caught:
        write_video(tmp_path / name, iter(given), frame_rate)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_an_error_while_frames_are_made_leaves_the_old_file(tmp_path, frames, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"old")

    def broken():
        yield from frames[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, broken(), 25)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, suffix):
    code = f"""
import resource, signal, sys
import numpy as np
from tapetum.core.errors import BadInput
from tapetum.video import write_video
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
noise = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
try:
    write_video({str(tmp_path / ("a." + suffix))!r}, noise, 25)
except BadInput as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert "the disk is full" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert os.listdir(tmp_path) == []
