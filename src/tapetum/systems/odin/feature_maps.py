"""Maps of features of an image: of a network, or of colours and positions, which a network must beat.

Images are used whole, in their own shape (`tapetum.transfer.propagation`), so that every cell has its position in them.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from tapetum.encoders.features import Encoder
from tapetum.layers.clustering import Metric
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.sources import with_positions
from tapetum.transfer.propagation import Look, level_of, prepare_whole

_SIDE = 56
"""Cells along the longer side of a map of colours."""
_LEAST = 96
"""Pixels of the shorter side at least where none are asked for: things are smaller than the whole that a network learned."""


def rgb(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
    """Average the colours of cells."""
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float() / 255
    scale = _SIDE / max(image.shape[:2])
    size = [max(round(side * scale), 2) for side in image.shape[:2]]
    return F.interpolate(x, size=size, mode="area")[0]


def colours(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
    """Compute colours and positions, equally weighted: the baseline that a network must beat."""
    return with_positions(rgb(image)[None], 0.7)[0]


def positions(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
    """Compute positions only, regardless of the image content."""
    cells = rgb(image)
    rows, columns = (torch.arange(side) / max(cells.shape[1:]) for side in cells.shape[1:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


PLAIN: Mapping[str, Look] = {"colours": colours, "rgb": rgb, "xy": positions}
"""Those without a network, by name."""


def cluster_metric(look: Look) -> Metric:
    """Choose the metric in which maps are clustered: angles of features, distances of colours and positions."""
    return "l2" if look in PLAIN.values() else "cosine"


def network_map(model: Encoder | Odin, short_side: int | None = None, stride: int | None = None) -> Look:
    """Make the function that computes maps of images with a network.

    Args:
        model: an encoder, or a network with Odin's pyramid.
        short_side: shorter side of its input images in pixels; by default that of its preprocessing, and at least 96.
        stride: pixels to a cell. By default the finest of a pyramid, and of an encoder its last two maps together, the
            coarser one enlarged.
    """
    encoder = model.encoder if isinstance(model, Odin) else model
    short = short_side or max(min(encoder.preprocessing.size), _LEAST)

    @torch.no_grad()
    def look(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
        maps = encoder(prepare_whole(encoder, image, short)).maps
        if isinstance(model, Odin) and model.pyramid is not None:
            return model.levels(maps)[0 if stride is None else max(level_of(encoder, stride) - model.finest, 0)][0].float()
        return (_last_two(maps) if stride is None else maps[level_of(encoder, stride)])[0].float()

    return look


def _last_two(maps: tuple[Tensor, ...]) -> Tensor:
    """Concatenate the last two maps of an encoder, each channel-normalised, at the size of the finer one."""
    finer = maps[-2] if len(maps) > 1 else maps[-1]  # pyright: ignore[reportGeneralTypeIssues]
    parts = [F.normalize(F.interpolate(each, finer.shape[-2:], mode="bilinear"), dim=1) for each in maps[-2:]]
    return torch.cat(parts, 1)
