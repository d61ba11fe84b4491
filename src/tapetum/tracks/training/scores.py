"""Scores of a tracker under training: those of TAP-Vid (arXiv 2211.03726), query-first, on clips with exact tracks."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tapetum.tracks.metrics import mean_metrics, tapvid_metrics
from tapetum.tracks.training.clips import TrackedClip

CONFIDENCES = 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9
"""Above which a point may be called visible; 0.5 is the papers'."""

Track = Callable[[Float[Tensor, "1 t h w 3"], Float[Tensor, "1 n 3"]], tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]]
"""Tracks points (t, x, y) through a video in -1..1: positions in its pixels, and confidence that a point is visible."""


def score_clips(
    track: Track, clips: Sequence[TrackedClip], *, size: int, points: int, scored_size: int | None = None
) -> dict[str, float]:
    """Compute TAP-Vid scores on the clips at size x size pixels, for the first `points` points that are ever visible.

    `best_average_jaccard` uses the visibility threshold that suits the network best. Distances are in pixels of an image of
    `scored_size`, by default `size`.
    """
    rows: dict[float, list[dict[str, float]]] = {threshold: [] for threshold in CONFIDENCES}
    for clip in clips:
        for threshold, scores in _scores(track, clip, size, points, scored_size or size).items():
            rows[threshold].append(scores)
    means = {threshold: mean_metrics(row)[0] for threshold, row in rows.items()}
    return {
        **{k: means[0.5][k] for k in ("average_jaccard", "average_pts_within_thresh", "occlusion_accuracy")},
        "best_average_jaccard": max(scores["average_jaccard"] for scores in means.values()),
    }


def _scores(track: Track, clip: TrackedClip, size: int, points: int, scored_size: int) -> dict[float, dict[str, float]]:
    frames = clip.video[:]
    visible_rows = np.flatnonzero(clip.visible.any(1))[:points]
    scale = size / np.array([frames.shape[2], frames.shape[1]], np.float32)
    xy, visible = clip.xy[visible_rows] * scale, clip.visible[visible_rows]
    frame = visible.argmax(1)
    queries = np.concatenate([frame[:, None], xy[np.arange(len(xy)), frame]], 1).astype(np.float32)
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    video = F.interpolate(images, (size, size), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    predicted, confidence = (part.float().cpu().numpy() for part in track(video[None], torch.from_numpy(queries)[None]))
    larger = scored_size / size
    queries[:, 1:] *= larger
    return {
        threshold: tapvid_metrics(
            queries, ~visible, xy * np.float32(larger), confidence <= threshold, predicted * np.float32(larger), "first"
        )
        for threshold in CONFIDENCES
    }
