"""Predicted errors of tracks: how far a place is off in the median, and the chance that it is off by more than `WRONG` pixels.

Not part of TAPIR, whose confidence does not say by how much a place is off. A small network looks at the cues that tracking
leaves behind (`cues`), frame by frame and then along each track. It belongs to one tracker, whose weights its file names:

    cues (n, t, c) --> linear --> 2 x (7 frames of each channel --> linear) --> log(1 + median error), log-odds of an error > 8

`python evidence/tap-doubt/train.py` trains it on clips with exact tracks, by the pinball loss (Koenker and Bassett,
Econometrica 46, 1978) and by binary cross-entropy. How good it is: docs/evidence/tap-doubt.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.hub.headed import load_headed, save_headed
from tapetum.systems.tap.tracking.cues import AT_A_TIME, TrackCues, cue_array

WRONG = 8.0
"""Pixels of an image whose shorter side has 256; a place is wrong where it is off by more."""
TAPS, DILATIONS = 7, (1, 4)
"""Frames that a block looks at, and how far apart."""
_KEY = "error_model"
_FARTHEST = 6.0
"""Most that log(1 + error) is predicted to be."""


class ErrorModel(nn.Module):
    """Predicts errors of the tracks of one tracker."""

    def __init__(self, weights: str, cues: int, width: int = 32):
        super().__init__()
        self.weights, self.width = weights, width
        """SHA-256 of the tracker's weights."""
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(cues))
        self.register_buffer("scale", torch.ones(cues))
        self.inward = nn.Linear(cues, width)
        self.taps = nn.ModuleList(
            [nn.Conv1d(width, width, TAPS, padding=d * (TAPS // 2), dilation=d, groups=width) for d in DILATIONS]
        )
        self.mix = nn.ModuleList([nn.Linear(width, width) for _ in DILATIONS])
        self.outward = nn.Linear(width, 2)

    def forward(self, cues: Float[Tensor, "n t c"]) -> Float[Tensor, "n t 2"]:
        """Compute log(1 + median error in pixels of 256) and the log-odds of an error above `WRONG`; a NaN cue is no cue."""
        x = F.gelu(self.inward(((cues - self.centre) / self.scale).clamp(-5, 5).nan_to_num(0.0)))
        for taps, mix in zip(self.taps, self.mix, strict=True):
            x = x + mix(F.gelu(taps(x.mT).mT))
        length, odds = self.outward(x).unbind(-1)
        return torch.stack([F.softplus(length), odds], -1)

    @torch.inference_mode()
    def predict(
        self,
        cues: TrackCues,
        xy: Float[np.ndarray, "n t 2"],
        confidence: Float[np.ndarray, "n t"],
        queries: Float[np.ndarray, "n 3"],
    ) -> tuple[Float32[np.ndarray, "n t"], Float32[np.ndarray, "n t"]]:
        """Predict the median error in pixels of the video, and the chance that it is above `WRONG`; 0 at queries on a frame."""
        arrays = torch.from_numpy(xy), torch.from_numpy(confidence), torch.from_numpy(queries)
        parts = [slice(first, first + AT_A_TIME) for first in range(0, len(xy), AT_A_TIME)]
        length, odds = torch.cat([self(cue_array(cues, *arrays, part)) for part in parts]).unbind(-1)
        error, chance = length.clamp(max=_FARTHEST).expm1().numpy() * cues.pixel, odds.sigmoid().numpy()
        known = np.arange(xy.shape[1]) == queries[:, :1]
        return np.where(known, np.float32(0), error), np.where(known, np.float32(0), chance)

    def save(self, path: Path) -> None:
        """Write the model to a safetensors file, or nothing."""
        about = {"weights": self.weights, "cues": self.inward.in_features, "width": self.width}
        save_headed(self, path, _KEY, about)


def load_error_model(path: Path, weights: str) -> ErrorModel:
    """Load the error model of the tracker whose weights have the SHA-256 `weights`.

    Raises BadInput if the file holds none, or that of another tracker.
    """

    def maker(about: Mapping[str, Any]) -> Any:
        if about["weights"] != weights:
            raise BadInput(f"{path} predicts errors of another tracker; train one for this: evidence/tap-doubt/train.py")
        return lambda: ErrorModel(str(about["weights"]), int(about["cues"]), int(about["width"]))

    model = load_headed(path, _KEY, "error model", maker)
    assert isinstance(model, ErrorModel)
    return model
