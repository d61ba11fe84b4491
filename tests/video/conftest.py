"""Clips for the tests, encoded on the spot: a textured image that moves, with a mark that counts frames."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image


def _image(number: int, width: int, height: int) -> np.ndarray:
    """A smooth random texture that drifts, so that predicted frames differ from frame to frame."""
    coarse = np.random.default_rng(7).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((width + 80, height + 40), Image.Resampling.BICUBIC))
    x, y = number % 80, int(20 + 15 * np.sin(number / 4))
    return np.ascontiguousarray(texture[y : y + height, x : x + width])


@pytest.fixture
def image() -> Callable[[int, int, int], np.ndarray]:
    """(number, width, height) -> uint8 (h, w, 3)."""
    return _image


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Encode images 0..n-1 to a file in `tmp_path` and return its path."""

    def make(
        name: str,
        codec: str = "libx264",
        *,
        n: int = 30,
        size: tuple[int, int] = (96, 64),
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        muxer: dict[str, str] | None = None,
        pts: list[int] | None = None,
        time_base: Fraction = Fraction(1, 1000),
        rotate: tuple[float, bool] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=muxer or {}) as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            if pts:
                stream.codec_context.time_base = time_base
            if rotate:
                stream.set_display_rotation(rotate[0], hflip=rotate[1])
            for number in range(n):
                frame = av.VideoFrame.from_ndarray(_image(number, *size), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                if pts:
                    frame.pts, frame.time_base = pts[number], time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make
