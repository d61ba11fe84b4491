"""Metrics of masks found without labels (Odin, arXiv 2203.08777, section 4.4; CorLoc: Deselaers et al., 2010).

    proposals   the masks of k-means for every k in 1..K: 1 + 2 + ... + K of them, 8,256 for K = 128
    BO          of an object: its best intersection over union with a proposal
    ABO         mean of BO over the objects of an image, then over images
    OR          share of objects with BO above 0.5, averaged alike
    CorLoc      share of images in which the one predicted box has an IoU of 0.5 or more with some object's box

Overlaps are counted exactly at image size without enlarging masks: an object's
pixels are counted per cell once.

Differs from the paper, whose feature level and image size were not available: they are those of the feature map.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.clustering import Metric
from tapetum.metrics.boxes import box_iou
from tapetum.systems.odin.masks import kmeans


def best_overlaps(objects: np.ndarray, proposals: Iterable[np.ndarray]) -> np.ndarray:
    """Find the best overlap (n,) of each of the objects, bool (n, h, w), with the regions of maps of ids (h, w).

    Ids below 0 belong to no region; an object without a pixel has 0.
    """
    flat = np.asarray(objects, bool).reshape(len(objects), -1)
    areas = flat.sum(1)
    best = np.zeros(len(flat))
    for ids in proposals:
        if ids.shape != objects.shape[1:]:
            raise BadInput(f"a map of ids is {ids.shape} for objects of {objects.shape[1:]}; bring it to their size first")
        known = np.asarray(ids).reshape(-1)
        count = int(known.max(initial=-1)) + 1
        if not count:
            continue
        inside = known >= 0
        sizes = np.bincount(known[inside], minlength=count)
        for k, mask in enumerate(flat):
            shared = np.bincount(known[inside & mask], minlength=count)
            union = areas[k] + sizes - shared
            best[k] = max(best[k], float((shared / np.maximum(union, 1)).max()))
    return best


def discovery_scores(best: Sequence[np.ndarray]) -> dict[str, float]:
    """Average the best overlaps of the objects of each image; images without objects are left out.

    >>> discovery_scores([np.array([0.6, 0.4]), np.array([1.0]), np.array([])])
    {'abo': 0.75, 'object_recovery': 0.75}
    """
    counted = [overlaps for overlaps in best if len(overlaps)]
    if not counted:
        raise BadInput("no image has an object to be found; give images with masks")
    return {
        "abo": float(np.mean([overlaps.mean() for overlaps in counted])),
        "object_recovery": float(np.mean([(overlaps > 0.5).mean() for overlaps in counted])),
    }


def corloc(predictions: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    """Compute the share of images whose one box (4,) as x1, y1, x2, y2 has an IoU of 0.5 or more with a true box of (n, 4)."""
    if len(predictions) != len(truth) or not len(predictions):
        raise BadInput(f"{len(predictions)} boxes for {len(truth)} images; give one for each, and an image or more")
    ious = (box_iou(np.asarray(box)[None], np.asarray(boxes)) for box, boxes in zip(predictions, truth, strict=True))
    return float(np.mean([bool((iou >= 0.5).any()) for iou in ious]))


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
