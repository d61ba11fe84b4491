"""Calibrated confidence of tracks: of places with 0.8, about eight of ten are right.

No part of TAPIR, whose confidence ranks places well but is not the share of right ones. A place is right where the point is
visible and at most 8 pixels away, in a frame of 256x256. Two things go in: the confidence, and the frames since the nearest
click, for points drift:

    log-odds of being right  =  bias  +  a piecewise linear, rising function of the confidence's log-odds
                                      -  age * log(1 + frames)

`python evidence/tapir-nano/calibration.py` fits the numbers on training episodes and prints how well they fit on others. They
belong to bundled weights; other trackers have none.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32

from tapetum.types import Tracks

KNOTS = (-2.0, 0.0, 2.0, 4.0)
"""Log-odds at which the slope changes."""
_LEAST = 1e-4
"""Least distance of a confidence from 0 and 1."""


@dataclass(frozen=True)
class Calibration:
    """Numbers of one tracker."""

    bias: float
    slopes: tuple[float, float, float, float, float]
    """Below the first knot, between two, above the last; none is negative."""
    age: float
    """None is negative either."""

    def apply(self, confidence: Float[np.ndarray, "*s"], frames: Float[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
        """Compute the chance of being right from a confidence and the frames since the nearest click."""
        odds = features_of(confidence, frames) @ np.array([self.bias, *self.slopes, self.age])
        return (1 / (1 + np.exp(-odds))).astype(np.float32)


CALIBRATIONS: dict[str, Calibration] = {
    "tapir-nano": Calibration(bias=2.231, slopes=(1.065, 0.384, 0.79, 0.0, 0.334), age=0.364)
}
"""By name of the weights."""


def features_of(confidence: Float[np.ndarray, "*s"], frames: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s 7"]:
    """Compute what the log-odds are a weighted sum of: 1, the parts of the confidence's log-odds, and -log(1 + frames)."""
    near = np.clip(np.asarray(confidence, np.float64), _LEAST, 1 - _LEAST)
    odds = np.log(near / (1 - near))
    lows, highs = (0.0, *KNOTS), (*KNOTS, np.inf)
    parts = [
        np.minimum(odds, KNOTS[0]),
        *(np.clip(odds, low, high) - low for low, high in zip(lows[1:], highs[1:], strict=True)),
    ]
    return np.stack([np.ones_like(odds), *parts, -np.log1p(frames)], axis=-1)


def calibrated_confidence(tracks: Tracks, model: str | None) -> Float32[np.ndarray, "n t"] | None:
    """Compute the chance that each place is right; 1 where somebody clicked. None where `model` has no calibration."""
    calibration = CALIBRATIONS.get(str(model))
    if calibration is None:
        return None
    clicked = _clicked(tracks)
    chance = calibration.apply(tracks.confidence, _frames_since(clicked))
    return np.where(clicked, np.float32(1), chance)


def hide_unsure(tracks: Tracks, model: str | None, least: float) -> Tracks:
    """Hide the points in each frame in which they are right with a chance below `least`, by the tracker's own confidence where
    `model` has no calibration. Clicks and queries stay visible."""
    chance = calibrated_confidence(tracks, model)
    if chance is None:
        chance = np.where(_clicked(tracks), np.float32(1), tracks.confidence)
    return replace(tracks, visible=tracks.visible & (chance >= least))


def _clicked(tracks: Tracks) -> Bool[np.ndarray, "n t"]:
    """Where somebody said that a point is: in the frame of its query, and of its clicks."""
    clicked = np.zeros(tracks.visible.shape, bool) if tracks.clicked is None else tracks.clicked.copy()
    if tracks.frames:
        first = np.rint(tracks.queries[:, 0]).astype(int).clip(0, tracks.frames - 1)
        clicked[np.arange(tracks.points), first] = True
    return clicked


def _frames_since(clicked: np.ndarray) -> Float[np.ndarray, "n t"]:
    """Frames to the nearest click of the point, before or after."""
    numbers = np.arange(clicked.shape[1], dtype=float)
    before = np.maximum.accumulate(np.where(clicked, numbers, -np.inf), axis=1)
    after = np.minimum.accumulate(np.where(clicked, numbers, np.inf)[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(numbers - before, after - numbers)
