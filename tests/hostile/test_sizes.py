"""Frames too large to be read: refused before a byte of memory is taken for them, whatever they are stored in."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from support.files import black_png
from support.scripts import ROOT
from tapetum.video.types import MAX_PIXELS

HUGE = 30_000
"""Side of an image of 900 megapixels."""
BEYOND = 11_600
"""Side of an image just over the limit, to show that it is this limit that counts and not one of FFmpeg or Pillow."""


def jpeg(side: int) -> bytes:
    """A small image whose header says that it is large."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG")
    data, size = file.getvalue(), struct.pack(">HH", 48, 64)
    assert data.count(size) == 1
    return data.replace(size, struct.pack(">HH", side, side))


def mux(path: Path, codec: str, packet: bytes) -> Path:
    """A file that says its frames are 64x48 and holds three times `packet`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray" if codec == "png" else "yuvj420p"
        container.start_encoding()
        for number in range(3):
            frame = av.Packet(packet)
            frame.pts = frame.dts = number
            frame.time_base, frame.is_keyframe, frame.stream = Fraction(1, 25), True, stream
            container.mux(frame)
    return path


def said(path: Path, shape: str, side: int) -> Path:
    """The file with the size in its own header, where it is written as `shape`, made as large."""
    data, size = path.read_bytes(), struct.pack(shape, 64, 48)
    assert size in data
    path.write_bytes(data.replace(size, struct.pack(shape, side, side)))
    return path


def folder(path: Path, *images: bytes) -> Path:
    path.mkdir()
    for number, image in enumerate(images):
        (path / f"{number}.png").write_bytes(image)
    return path


def file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def stack(path: Path, side: int) -> Path:
    Image.new("1", (64, 48)).save(path, save_all=True, append_images=[Image.new("1", (128, 48))])
    data, width = path.read_bytes(), struct.pack("<HHII", 256, 4, 1, 128)
    assert data.count(width) == 1, "the page's width is not where it was"
    path.write_bytes(data.replace(width, struct.pack("<HHII", 256, 4, 1, -(-side * side // 48))))
    return path


def array(path: Path, side: int) -> Path:
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1, side, side))
    return path


MAKE: dict[str, Callable[[Path, int], Path]] = {
    "folder": lambda path, side: folder(path / "a", black_png(side)),
    "second of a folder": lambda path, side: folder(path / "b", black_png(100), black_png(side)),
    "png": lambda path, side: file(path / "a.png", black_png(side)),
    "jpg": lambda path, side: file(path / "a.jpg", jpeg(side)),
    "tiff": lambda path, side: stack(path / "a.tiff", side),
    "npy": lambda path, side: array(path / "a.npy", side),
    "png named mp4": lambda path, side: file(path / "a.mp4", black_png(side)),
    "png in avi": lambda path, side: mux(path / "a.avi", "png", black_png(side)),
    "png in mov": lambda path, side: mux(path / "a.mov", "png", black_png(side)),
    "png in avi that says so": lambda path, side: said(mux(path / "b.avi", "png", black_png(side)), "<ii", side),
    "png in mov that says so": lambda path, side: said(mux(path / "b.mov", "png", black_png(side)), ">HH", side),
    "mjpeg in avi": lambda path, side: mux(path / "c.avi", "mjpeg", jpeg(side)),
    "mjpeg in mkv": lambda path, side: mux(path / "c.mkv", "mjpeg", jpeg(side)),
    "mjpeg that says so": lambda path, side: said(mux(path / "d.avi", "mjpeg", jpeg(side)), "<ii", side),
    "bare mjpeg": lambda path, side: file(path / "a.mjpeg", 3 * jpeg(side)),
}

READ = """
import json, sys
sys.path.append(sys.argv[1])
from videos import peak_megabytes
from tapetum.core.errors import BadInput
from tapetum.video import open_video
for name, path in json.load(sys.stdin).items():
    before = peak_megabytes()
    try:
        with open_video(path) as video:
            said = f"read {len([None for _ in video])} frames"
    except BadInput as error:
        said = str(error)
    print(json.dumps([name, said, peak_megabytes() - before]))
"""


def read(paths: dict[str, Path]) -> dict[str, tuple[str, int]]:
    """What is said of each file, and by how many megabytes the peak memory of a process that reads one after another rises."""
    given = json.dumps({name: str(path) for name, path in paths.items()})
    command = [sys.executable, "-c", READ, str(ROOT / "evidence" / "hostile-videos")]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=600, check=True)
    return {name: (said, rise) for name, said, rise in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("side", [HUGE, BEYOND])
def test_too_large_a_frame_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    assert side * side > MAX_PIXELS
    found = read({name: make(tmp_path, side) for name, make in MAKE.items()})
    assert set(found) == set(MAKE)
    for name, (said, rise) in found.items():
        assert f"more than {MAX_PIXELS} pixels" in said, (name, said)
        assert "\n" not in said
        assert rise < 30, (name, rise)
    if side == BEYOND:  # FFmpeg never tells the size, and Pillow not that of a larger one
        for name in ("folder", "second of a folder", "png", "jpg", "npy"):
            assert f"has frames of {side}x{side}" in found[name][0], (name, found[name])


@pytest.mark.slow
def test_a_large_frame_within_the_limit_is_read(tmp_path: Path) -> None:
    """Shows that the files above are sound, and that memory would have risen."""
    found = read({name: MAKE[name](tmp_path, 4000) for name in ("folder", "png in avi")})
    assert found["folder"][0] == "read 1 frames"
    assert found["png in avi"][0] == "read 3 frames"
    assert found["folder"][1] > 40
