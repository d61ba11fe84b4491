"""Distance of an image from the images that paligemma-nano-2 was trained on: images of `tapetum scenes`.

    of a token x of the vision encoder: sqrt((x - m)' S^-1 (x - m) / channels);   of an image: the median of its tokens'

m and S are the mean and covariance of the tokens of the world's images, with S shrunk towards a multiple of the identity
(Ledoit and Wolf, J. Multivariate Analysis 88, 2004). The limit is the distance that 95 of 100 other images of the world stay
below. `python evidence/paligemma-photo/claims.py familiarity` fits the bundled file and measures how well photographs are
detected.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe
from tapetum.systems.paligemma.images import prepare
from tapetum.systems.paligemma.model import PaliGemma

BUNDLED = Path(__file__).parent / "bundled" / "paligemma-nano-2-world.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Familiarity:
    """Statistics of the world's images, and the limit of what is like them."""

    mean: Float[Tensor, " c"]
    precision: Float[Tensor, "c c"]
    """Inverse of the covariance."""
    limit: float

    def distances(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, " n"]:
        """Compute the distance of each image from the world's images."""
        apart = (tokens - self.mean).double()
        squares = (apart @ self.precision.double() * apart).sum(-1) / len(self.mean)
        return squares.clamp_min(0).sqrt().median(1).values.float()


@torch.no_grad()
def image_tokens(model: PaliGemma, frames: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n t c"]:
    """Compute the vision encoder's tokens of images."""
    pixels = prepare(frames, model.config.image_size).to(model.projector.weight)
    return model.vision_encoder(pixels).tokens.float().cpu()


def fit_familiarity(tokens: Float[Tensor, "n t c"], others: Float[Tensor, "m t c"]) -> Familiarity:
    """Compute the statistics of the world's images, and the limit from other ones."""
    x = tokens.flatten(0, 1).double()
    mean = x.mean(0)
    covariance = ledoit_wolf(x - mean)
    made = Familiarity(mean=mean.float(), precision=torch.linalg.inv(covariance).float(), limit=float("inf"))
    limit = float(torch.quantile(made.distances(others), 0.95))
    return Familiarity(mean=made.mean, precision=made.precision, limit=limit)


def ledoit_wolf(centred: Float64[Tensor, "n c"]) -> Float64[Tensor, "c c"]:
    """Compute the shrunk covariance of rows of mean 0 (Ledoit and Wolf 2004, section 3)."""
    n, c = centred.shape
    sample = centred.T @ centred / n
    scale = sample.trace() / c
    spread = (sample - scale * torch.eye(c, dtype=sample.dtype)).square().sum() / c
    each = (centred.square().sum(1).square().sum() - n * sample.square().sum()) / c  # sum of |x x' - sample|^2
    error = torch.minimum(each / n**2, spread)
    return error / spread * scale * torch.eye(c, dtype=sample.dtype) + (spread - error) / spread * sample


def save_familiarity(familiarity: Familiarity, path: Path) -> None:
    """Write statistics and limit to a safetensors file."""
    from safetensors.torch import save_file

    state = {"mean": familiarity.mean, "precision": familiarity.precision, "limit": torch.tensor([familiarity.limit])}
    with whole_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)


def load_familiarity(path: str | os.PathLike[str] = BUNDLED) -> Familiarity:
    """Read a file that `save_familiarity` wrote; by default the bundled one. Raises BadInput for any other file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(no_pipe(path))
        return Familiarity(mean=state["mean"], precision=state["precision"], limit=float(state["limit"][0]))
    except (OSError, SafetensorError, KeyError, IndexError) as error:
        raise BadInput(
            f"{path} cannot be read as statistics of the world's images ({str(error)[:100]}); install tapetum again"
        ) from error
