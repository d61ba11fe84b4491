"""Decoding of the localiser's outputs: anchors and distances to segments in seconds, then non-maximum suppression.

Soft-NMS (Bodla et al., arXiv 1704.04503; Gaussian), class by class.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.metrics.localisation import temporal_iou
from tapetum.systems.perception_test.localiser.config import LocaliserConfig

SHORTEST_S = 0.05
"""Seconds below which nothing is a segment."""


def decode_segments(
    logits: Float[Tensor, "p k"],
    distances: Float[Tensor, "p 2"],
    anchors: Float[Tensor, "p 4"],
    config: LocaliserConfig,
    seconds: float,
) -> list[tuple[int, float, float, float]]:
    """Decode (class, score, start, end) in seconds of a video that is `seconds` long, best first."""
    probabilities = logits.sigmoid().flatten().double().numpy()
    order = np.argsort(-probabilities, kind="stable")[: config.before]
    order = order[probabilities[order] > config.least_score]
    anchor, label = np.divmod(order, logits.shape[1])
    reach = distances.double().numpy()[anchor] * anchors.double().numpy()[anchor, 3:]
    place = anchors.double().numpy()[anchor, 0]
    spans = np.stack([place - reach[:, 0], place + reach[:, 1]], 1).clip(0, config.length) * (seconds / config.length)
    long = spans[:, 1] - spans[:, 0] > SHORTEST_S
    spans, scores, label = spans[long], probabilities[order][long], label[long]
    segments = []
    for k in np.unique(label):
        mine = np.flatnonzero(label == k)
        kept, reduced = soft_nms(spans[mine], scores[mine], config.sigma, config.least_score)
        segments += [
            (int(k), float(s), *map(float, spans[mine[i]])) for i, s in zip(kept.tolist(), reduced.tolist(), strict=True)
        ]
    return sorted(segments, key=lambda row: -row[1])[: config.most]


def soft_nms(
    spans: Float[np.ndarray, "n 2"], scores: Float[np.ndarray, " n"], sigma: float, least: float
) -> tuple[np.ndarray, Float[np.ndarray, " m"]]:
    """Suppress overlapping segments: those that stay, best first, and their lowered scores; those that fall below `least` go.

    >>> kept, scores = soft_nms(np.array([[0.0, 2], [0, 2], [5, 6]]), np.array([0.9, 0.8, 0.5]), 0.5, 0.01)
    >>> kept.tolist(), scores.round(3).tolist()
    ([0, 2, 1], [0.9, 0.5, 0.108])
    """
    weights = np.exp(-np.square(temporal_iou(spans, spans)) / sigma)
    scores, left = np.array(scores, np.float64), np.ones(len(scores), bool)
    kept: list[int] = []
    while left.any():
        best = int(np.where(left, scores, -np.inf).argmax())
        kept.append(best)
        left[best] = False
        scores = np.where(left, scores * weights[best], scores)
        left &= scores >= least
    return np.array(kept, np.int64), scores[kept]


def resample(features: Float[np.ndarray, "t d"], steps: int) -> Float[Tensor, "steps d"]:
    """Resize features over time, linearly, to a number of steps (torch's interpolate without aligned corners)."""
    rows = torch.from_numpy(np.ascontiguousarray(features, np.float32)).T[None]
    return torch.nn.functional.interpolate(rows, size=steps, mode="linear", align_corners=False)[0].T.contiguous()
