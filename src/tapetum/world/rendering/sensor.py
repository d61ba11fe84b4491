"""Settings of the renderer; sensor and codec: shot noise, tone curve, JPEG or MPEG-4, a frame at a time. Imports no torch."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from PIL import Image

from tapetum.core.fields import check_fields
from tapetum.world.types import F32, U8


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Config of the rendering. What happens in an episode, its light and its lens are the episode's own."""

    edges: bool = True
    """Four rays in every pixel in which two surfaces meet; without it, edges are stairs."""
    shadows: bool = True
    """Shadows of the sun, and darker corners where little of the sky is seen."""
    blur: bool = True
    """Motion blur and depth of field, where the camera has a shutter and an aperture."""
    blur_taps: int = 9
    """Places looked at for each blurred pixel."""
    noise: float = 0.012
    """Standard deviation of the sensor's noise in a full white, as a fraction of it; shot noise, so dark parts have less."""
    compress: Literal["no", "jpeg", "mpeg4"] = "jpeg"
    """Codec that the frames pass through."""
    quality: int = 85
    """Of JPEG, 1 to 95; MPEG-4's quantiser (2 good to 31 bad) is derived from it."""

    def __post_init__(self) -> None:
        check_fields(self, noise="[0, inf)", blur_taps="[2, inf)", quality="[1, 95]")


def random_render_config(rng: np.random.Generator) -> RenderConfig:
    """Draw the settings of one film, varied as cameras are: mostly little noise and JPEG, sometimes much noise or a codec."""
    codec = rng.choice(["no", "jpeg", "mpeg4"], p=[0.3, 0.5, 0.2])
    return RenderConfig(noise=float(0.002 + 0.04 * rng.uniform() ** 2), compress=codec, quality=int(rng.integers(45, 96)))


STEPS = 4096


def _curve() -> U8:
    """8-bit values by square root of light, 0..1.25: sRGB's curve with a soft shoulder instead of a hard clip."""
    light = (np.arange(STEPS) / STEPS * np.sqrt(4.0)) ** 2
    bent = np.where(light < 0.7, light, 0.7 + 0.3 * (1 - np.exp(-(light - 0.7) / 0.3)))
    value = np.where(bent <= 0.0031308, 12.92 * bent, 1.055 * np.maximum(bent, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(np.clip(value, 0, 1) * 255).astype(np.uint8)


_TONES = _curve()


def develop(light: F32, size: tuple[int, int], noise: float, rng: np.random.Generator) -> U8:
    """Develop linear light (3, h * w) into an image (h, w, 3).

    Noise is added to the square root of light, where photon noise has the same strength everywhere.
    """
    root = np.sqrt(np.maximum(light, 0))
    if noise > 0:
        root += rng.standard_normal(root.shape, np.float32) * np.float32(noise / 2)
    root *= np.float32(STEPS / np.sqrt(4.0))
    np.clip(root, 0, STEPS - 1, out=root)
    return np.ascontiguousarray(_TONES.take(root.astype(np.int16)).reshape(3, *size).transpose(1, 2, 0))


def codec(config: RenderConfig, size: tuple[int, int], frame_rate: float) -> Callable[[U8], U8]:
    """Build a function that passes frames, in order, through the configured codec."""
    if config.compress == "no":
        return lambda frame: frame
    if config.compress == "jpeg" or size[0] % 2 or size[1] % 2:
        return lambda frame: _jpeg(frame, config.quality)
    return _Mpeg4(size, frame_rate, int(np.clip(2 + (95 - config.quality) / 3, 2, 31)))


def _jpeg(frame: U8, quality: int) -> U8:
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


class _Mpeg4:
    """Encoder and decoder in sequence, one frame in, one out (no frame is predicted from a later one)."""

    def __init__(self, size: tuple[int, int], frame_rate: float, quantiser: int):
        import av

        self._frame = av.VideoFrame.from_ndarray
        options = {"qmin": str(quantiser), "qmax": str(quantiser)}
        self.encoder = av.CodecContext.create("mpeg4", "w")
        self.encoder.height, self.encoder.width = size
        self.encoder.pix_fmt, self.encoder.thread_count, self.encoder.options = "yuv420p", 1, options
        self.encoder.framerate = Fraction(frame_rate).limit_denominator(60000)
        self.encoder.time_base = 1 / self.encoder.framerate
        self.decoder = av.CodecContext.create("mpeg4", "r")
        self.decoder.thread_count = 1
        self.last: U8 | None = None

    def __call__(self, frame: U8) -> U8:
        for packet in self.encoder.encode(self._frame(frame, format="rgb24")):
            for decoded in self.decoder.decode(packet):
                self.last = decoded.to_ndarray(format="rgb24")  # pyright: ignore[reportAttributeAccessIssue]
        if self.last is None:
            return frame
        return self.last
