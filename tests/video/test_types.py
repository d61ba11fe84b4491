"""Parts of videos, and videos at another size."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.video import open_video
from tapetum.video.types import ResizedVideo, VideoSubset, parse_frame_range, parse_size, resize_frame

TIMES = [0.0, 0.04, 0.08, 0.5, 0.54, 1.0, 2.0, 2.02]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of eight grey frames, each brighter, at times that are not even."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25, width=64, height=48, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 25 * number, np.uint8)).reformat(format="yuv420p")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ((None, None, 3), [0, 3, 6]),
        (("2", "5", 1), [2, 3, 4]),
        (("0.5s", None, 1), [3, 4, 5, 6, 7]),
        (("0.05s", "1s", 1), [2, 3, 4]),
        ((4, "100", 2), [4, 6]),
        ((".5s", "2.01s", 2), [3, 5]),
    ],
)
def test_frames_and_seconds(uneven: Path, asked: tuple, numbers: list[int]) -> None:
    video = open_video(uneven)
    video.check()
    assert parse_frame_range(video, *asked) == numbers
    part = VideoSubset(video, numbers)
    assert part.timestamps == pytest.approx([TIMES[number] for number in numbers], abs=1e-6)
    grey = [20 + 25 * number for number in numbers]
    for frames in (list(part), list(part[:])):
        assert [int(frame[20, 30, 0]) for frame in frames] == pytest.approx(grey, abs=4)
    assert int(part[-1][3, 3, 0]) == pytest.approx(grey[-1], abs=4)


def test_smaller_frames_are_means_of_what_they_cover() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    small = ResizedVideo(open_video(frames), 8, 6)
    means = frames.reshape(2, 6, 2, 8, 2, 3).mean((2, 4))
    assert np.abs(small[:] - means).max() <= 1  # Pillow rounds twice: along rows, then along columns
    assert np.array_equal(np.stack(list(small)), small[:])
    assert np.array_equal(resize_frame(frames[0], 16, 12), frames[0])
    for text in ("", "7", "-5", "12x", "axb", "4x4", "1e3"):
        with pytest.raises(BadInput, match="--resize"):
            parse_size(text, 640, 360)
