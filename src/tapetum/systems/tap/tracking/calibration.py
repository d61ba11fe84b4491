"""Calibrated confidence of tracks: of the positions with 0.8, about eight in ten are correct.

Not part of TAPIR. A position is correct if the point is visible and at most 8 pixels away, in a frame of 256x256. Inputs are
the confidence and the number of frames since the nearest click:

    log-odds of being right  =  bias  +  a piecewise linear, rising function of the confidence's log-odds
                                      -  age * log(1 + frames)

`python evidence/tapir-nano/calibration.py` fits the numbers. Only tapir-nano has them. Where errors are predicted
(`error_model`), 1 - `chance_wrong` takes their place at points called visible.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32

from tapetum.types import Tracks

KNOTS = (-2.0, 0.0, 2.0, 4.0)
"""Log-odds at which the slope changes."""
_LEAST = 1e-4


@dataclass(frozen=True)
class Calibration:
    """Numbers of one tracker."""

    bias: float
    slopes: tuple[float, float, float, float, float]
    """Below the first knot, between two, above the last; none is negative."""
    age: float
    """None is negative either."""

    def apply(self, confidence: Float[np.ndarray, "*s"], frames: Float[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
        """Compute the probability of being correct from a confidence and the frames since the nearest click."""
        odds = features_of(confidence, frames) @ np.array([self.bias, *self.slopes, self.age])
        return (1 / (1 + np.exp(-odds))).astype(np.float32)


CALIBRATIONS: dict[str, Calibration] = {
    "tapir-nano": Calibration(bias=2.231, slopes=(1.065, 0.384, 0.79, 0.0, 0.334), age=0.364)
}


def features_of(confidence: Float[np.ndarray, "*s"], frames: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s 7"]:
    """Compute the terms whose weighted sum is the log-odds: 1, the parts of the confidence's log-odds, and -log(1 + frames)."""
    near = np.clip(np.asarray(confidence, np.float64), _LEAST, 1 - _LEAST)
    odds = np.log(near / (1 - near))
    lows, highs = (0.0, *KNOTS), (*KNOTS, np.inf)
    parts = [
        np.minimum(odds, KNOTS[0]),
        *(np.clip(odds, low, high) - low for low, high in zip(lows[1:], highs[1:], strict=True)),
    ]
    return np.stack([np.ones_like(odds), *parts, -np.log1p(frames)], axis=-1)


def calibrated_confidence(tracks: Tracks, model: str | None) -> Float32[np.ndarray, "n t"] | None:
    """Compute the probability that each position is correct, 1 at clicks; None without predicted errors and a calibration of
    `model`."""
    calibration = CALIBRATIONS.get(str(model))
    if calibration is None and tracks.chance_wrong is None:
        return None
    clicked, chance = _clicked(tracks), tracks.confidence
    if calibration is not None:
        chance = calibration.apply(chance, _frames_since(clicked))
    if tracks.chance_wrong is not None:
        chance = np.where(tracks.confidence > 0.5, 1 - tracks.chance_wrong, chance)
    return np.where(clicked, np.float32(1), chance)


def mark_visible(tracks: Tracks, model: str | None, least: float) -> Tracks:
    """Mark points as visible where their probability of being correct, or else the tracker's confidence, is at least `least`;
    clicks and queries always are."""
    chance = calibrated_confidence(tracks, model)
    if chance is None:
        chance = np.where(_clicked(tracks), np.float32(1), tracks.confidence)
    return replace(tracks, visible=chance >= least)


def _clicked(tracks: Tracks) -> Bool[np.ndarray, "n t"]:
    """Where a user placed the point: in the frames of its query and its clicks."""
    clicked = np.zeros(tracks.visible.shape, bool) if tracks.clicked is None else tracks.clicked.copy()
    if tracks.frames:
        first = np.rint(tracks.queries[:, 0]).astype(int).clip(0, tracks.frames - 1)
        clicked[np.arange(tracks.points), first] = True
    return clicked


def _frames_since(clicked: np.ndarray) -> Float[np.ndarray, "n t"]:
    """Number of frames to the nearest click of the point, before or after."""
    numbers = np.arange(clicked.shape[1], dtype=float)
    before = np.maximum.accumulate(np.where(clicked, numbers, -np.inf), axis=1)
    after = np.minimum.accumulate(np.where(clicked, numbers, np.inf)[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(numbers - before, after - numbers)
