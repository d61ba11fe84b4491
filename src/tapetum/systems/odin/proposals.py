"""Object discovery as Odin measures it (arXiv 2203.08777, section 4.4): k-means for every k, and each object's best match.

For k = 1 .. K the vectors of an image are clustered again: 1 + 2 + ... + K masks, 8,256 for K = 128.
`tapetum.systems.odin.metrics` has the scores. Overlaps are counted exactly at image size without enlarging masks: an object's
pixels are counted per cell once.

Differs from the paper, whose feature level and image size were not available: they are those of the feature map.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.clustering import Metric
from tapetum.systems.odin.sources import kmeans


def proposals(
    features: Float[Tensor, "d h w"], most: int, metric: Metric = "cosine", seed: int = 0
) -> Iterator[Int[np.ndarray, "h w"]]:
    """Compute the clusters of a map for 1 to `most` centres. Raises BadInput for more than there are cells."""
    vectors = features.flatten(1).T[None]
    if most > vectors.shape[1]:  # before all the others are made
        raise BadInput(f"{most} clusters are asked of {vectors.shape[1]} cells; give fewer, or larger images to the network")
    for clusters in range(1, most + 1):
        generator = torch.Generator(features.device).manual_seed(seed)
        ids = kmeans(vectors, clusters, metric=metric, generator=generator)[0]
        yield ids.view(features.shape[1:]).cpu().numpy()


def best_in_cells(objects: Bool[np.ndarray, "n h w"], proposed: Iterator[Int[np.ndarray, "h2 w2"]]) -> Float[np.ndarray, " n"]:
    """Find each object's best overlap with the regions of maps of cells, as `metrics.best_overlaps` of enlarged maps."""
    best = np.zeros(len(objects))
    inside: np.ndarray | None = None
    pixels = areas = np.zeros(0)
    for ids in proposed:
        if inside is None:
            inside, pixels = _counted(objects, ids.shape)
            areas = inside.sum(1)
        member = ids.reshape(-1)[:, None] == np.arange(int(ids.max()) + 1)
        shared, sizes = inside @ member, pixels @ member
        best = np.maximum(best, (shared / np.maximum(areas[:, None] + sizes - shared, 1)).max(1))
    return best


def _counted(objects: np.ndarray, cells: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of each object in each cell, and those of each cell."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(objects.shape[1:], cells, strict=True))
    cell = (rows[:, None] * cells[1] + columns).reshape(-1)
    count = cells[0] * cells[1]
    inside = np.stack([np.bincount(cell[mask.reshape(-1)], minlength=count) for mask in objects])
    return inside.astype(float), np.bincount(cell, minlength=count).astype(float)
