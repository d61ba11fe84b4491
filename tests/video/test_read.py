"""What comes out of a file: sizes, colours, turns, times."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tapetum.video import open_video
from tapetum.video.images import read_reduced
from tapetum.video.read import read_image

BARS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 50, 100)])
LUMA = {"bt601": (0.299, 0.114, 5), "bt709": (0.2126, 0.0722, 1), "bt2020": (0.2627, 0.0593, 9)}


def test_behaves_like_a_list(clip):
    video = open_video(clip("a.mp4"))
    assert (len(video), video.height, video.width, video.frame_rate, video.name) == (30, 64, 96, 25.0, "a.mp4")
    assert video[3].shape == (64, 96, 3)
    assert video[3].dtype == np.uint8
    assert video[4:11:3].shape == (3, 64, 96, 3)
    assert video[5:5].shape == (0, 64, 96, 3)
    assert np.array_equal(video[-1], video[29])
    assert np.array_equal(video[[7, -30, 7]], np.stack([video[7], video[0], video[7]]))
    assert np.array_equal(video[np.array([2, 1])], video[2:0:-1])
    assert np.allclose(video.timestamps, np.arange(30) / 25)
    assert open_video(video) is video
    for beyond in (30, -31):
        with pytest.raises(IndexError, match="30 frames"):
            video[beyond]
    with pytest.raises(TypeError):
        video["3"]
    with pytest.raises(TypeError):
        video[2.0]


def test_iteration_is_lazy(clip):
    frames = iter(open_video(clip("a.mp4", n=200)))
    next(frames)
    video = open_video(clip("b.mp4", n=3))
    assert video.report.decoded < 3
    assert not video.report.complete
    video.check()
    assert (video.report.promised, video.report.decoded, video.report.damaged) == (3, 3, 0)
    assert video.report.complete


def _bars(matrix: str, full: bool, bits: int) -> av.VideoFrame:
    """A frame whose YUV is computed here, from the definition of the matrix."""
    red, blue, tag = LUMA[matrix]
    r, g, b = (BARS / 255).T
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    unit, top = 2 ** (bits - 8), 2**bits - 1
    planes = (
        (y * top, u * top + 128 * unit, v * top + 128 * unit)
        if full
        else ((16 + 219 * y) * unit, (128 + 224 * u) * unit, (128 + 224 * v) * unit)
    )
    frame = av.VideoFrame(16 * len(BARS), 32, "yuv420p" if bits == 8 else "yuv420p10le")
    number = np.uint8 if bits == 8 else np.uint16
    for plane, values in zip(frame.planes, planes, strict=True):
        row = np.zeros(plane.line_size // number().itemsize, number)
        row[: plane.width] = np.repeat(np.clip(np.rint(values), 0, top), plane.width // len(BARS))
        plane.update(np.tile(row, (plane.height, 1)).tobytes())
    frame.colorspace, frame.color_range = tag, 2 if full else 1
    return frame


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", LUMA)
def test_colours_are_those_of_the_tags(tmp_path, matrix, full, bits):
    path = tmp_path / "bars.mkv"
    frame = _bars(matrix, full, bits)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        stream.codec_context.colorspace, stream.codec_context.color_range = frame.colorspace, frame.color_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    decoded = open_video(path)[0][16, 8::16].astype(int)
    assert np.abs(decoded - BARS).max() <= 3


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mp4", "libx264", "yuvj420p"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mkv", "ffv1", "yuv420p12le"),
        ("a.avi", "mjpeg", "yuvj422p"),
        ("a.mkv", "ffv1", "gbrp10le"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.mkv", "libx265", "yuv422p10le"),
    ],
)
def test_pixel_formats_come_out_alike(clip, image, name, codec, pix_fmt):
    options = {"x265-params": "log-level=none:pools=1:frame-threads=1"} if codec == "libx265" else {"b": "3M"}
    video = open_video(clip(name, codec, pix_fmt=pix_fmt, n=3, options=options))
    difference = video[1].astype(float) - image(1, 96, 64)
    assert np.abs(difference.reshape(8, 8, 12, 8, 3).mean((1, 3))).max() < 16  # in blocks: 4:2:0 blurs the colours


@pytest.mark.parametrize(
    ("degrees", "mirrored", "expected"),
    [
        (90, False, lambda a: np.rot90(a)),
        (-90, False, lambda a: np.rot90(a, -1)),
        (180, False, lambda a: np.rot90(a, 2)),
        (0, True, lambda a: a[:, ::-1]),
        (89, False, lambda a: np.rot90(a)),
    ],
)
def test_rotation_is_applied(clip, image, degrees, mirrored, expected):
    make = {"codec": "libx264rgb", "options": {"qp": "0"}, "pix_fmt": "rgb24", "n": 2}
    video = open_video(clip("turned.mp4", rotate=(degrees, mirrored), **make))
    wanted = expected(image(1, 96, 64))
    assert (video.height, video.width) == wanted.shape[:2]
    assert np.array_equal(video[1], wanted)
    assert np.array_equal(list(video)[1], wanted)


def test_a_large_jpeg_is_read_at_a_fraction_that_is_large_enough(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    Image.fromarray(np.repeat(np.repeat(ramp[None], 400, 0)[..., None], 3, 2)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(np.zeros((400, 640, 3), np.uint8)).save(tmp_path / "a.png")
    assert [read_reduced(tmp_path / "a.jpg", least).shape for least in (400, 150, 90)] == [
        (400, 640, 3),
        (200, 320, 3),
        (100, 160, 3),
    ]
    half = read_image(tmp_path / "a.jpg").reshape(200, 2, 320, 2, 3).mean((1, 3))
    assert np.abs(read_reduced(tmp_path / "a.jpg", 200) - half).max() < 3
    assert read_reduced(tmp_path / "a.png", 10).shape == (400, 640, 3)
