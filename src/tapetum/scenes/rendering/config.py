"""Settings of the film: how finely things are drawn and what the sensor does to them; imports no torch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """How an episode is drawn. What happens in it, its light and its lens are the episode's own."""

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
        if self.noise < 0 or self.blur_taps < 2:
            raise BadInput(f"noise {self.noise} and {self.blur_taps} blur taps; wanted noise of 0 or more and two taps or more")
        if self.compress not in ("no", "jpeg", "mpeg4") or not 1 <= self.quality <= 95:
            raise BadInput(f"compress is {self.compress!r} at quality {self.quality}; wanted no, jpeg or mpeg4 at 1 to 95")


def random_render_config(rng: np.random.Generator) -> RenderConfig:
    """Draw the settings of one film as cameras differ: mostly little noise and JPEG, sometimes much noise or a video codec."""
    codec = rng.choice(["no", "jpeg", "mpeg4"], p=[0.3, 0.5, 0.2])
    return RenderConfig(noise=float(0.002 + 0.04 * rng.uniform() ** 2), compress=codec, quality=int(rng.integers(45, 96)))
