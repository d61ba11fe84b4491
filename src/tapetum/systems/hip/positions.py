"""Position codes of elements: learned, Fourier features, or frozen random numbers.

Source: HiP (arXiv 2202.10890): codes of few channels, learned by masked auto-encoding; Fourier features as in Perceiver IO
(arXiv 2107.14795). A code is added to the embedded element, and is the query that reconstructs it.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.systems.hip.config import HipConfig, Modality
from tapetum.systems.hip.layers import Linear, variance_scaling


def fourier_features(shape: tuple[int, ...], bands: int) -> Float[np.ndarray, "n f"]:
    """Encode coordinates in -1..1 by sines and cosines at `bands` frequencies up to Nyquist's; elements in row-major order.

    >>> fourier_features((2, 3), 4).shape
    (6, 18)
    """
    grids = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    places = np.stack([grid.reshape(-1) for grid in grids], -1)
    waves = [places[:, axis, None] * np.linspace(1, max(n / 2, 1), bands) * np.pi for axis, n in enumerate(shape)]
    phases = np.concatenate(waves, 1)
    return np.concatenate([places, np.sin(phases), np.cos(phases)], 1).astype(np.float32)


class PositionCodes(nn.Module):
    """The codes of one modality, with `channels` channels."""

    def __init__(self, modality: Modality, channels: int, config: HipConfig, *, projected: bool):
        super().__init__()
        kind = config.positions
        if kind == "fourier":
            self.register_buffer(
                "table", torch.from_numpy(fourier_features(modality.shape, config.fourier_bands)), persistent=False
            )
        elif kind == "random":
            self.register_buffer("table", torch.randn(modality.length, channels))
        else:
            self.table = nn.Parameter(variance_scaling(modality.length, channels))
        width = self.table.shape[1]
        self.projection = Linear(width, channels, bias=False) if projected or kind != "learned" else None

    def forward(self) -> Float[Tensor, "n c"]:
        return self.table if self.projection is None else self.projection(self.table)
