"""Tasks 3 and 4 by priors alone: the most common segments of each class in the train split, without the video.

Of a class, windows (as shares of the length of a video) are chosen one after the other among its own segments: each time the
one that matches most videos' segments which no earlier window has matched, by an overlap of a half or more. Its score is the
share of all videos of which that is so: the chance that it is right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from tapetum.core.errors import BadInput
from tapetum.metrics.localisation import temporal_iou
from tapetum.systems.perception_test.baselines.content import VideoContent
from tapetum.systems.perception_test.submission import segment_row
from tapetum.systems.perception_test.types import AnnotatedVideo

OVERLAP, MOST, MOST_SEGMENTS = 0.5, 10, 1500
"""Overlap of a match; windows of a class; segments of a class that are looked at."""


class PriorWindows:
    """Says the same of every video."""

    def __init__(self, train: Mapping[str, AnnotatedVideo], most: int = MOST):
        """Choose `most` windows of each class. Raises BadInput for annotations without segments."""
        self.windows = {task: _windows(train, task, most) for task in ("action", "sound")}

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Predict the windows for a video."""
        predictions: dict[str, Any] = {}
        for task in tasks:
            if not self.windows[task]:
                raise BadInput(
                    f"the annotations to learn from have no segment of the task {task}; give those of its train split"
                )
            predictions[task] = [
                segment_row(label, f"{score:.6g}", *(np.array(window) * video.metadata.seconds).tolist())
                for label, score, window in self.windows[task]
            ]
        return predictions


def _windows(train: Mapping[str, AnnotatedVideo], task: str, most: int) -> list[tuple[int, float, tuple[float, float]]]:
    by_class: dict[int, list[tuple[int, float, float]]] = {}
    for number, video in enumerate(train.values()):
        length = video.metadata.seconds
        for s in video.segments(task):
            by_class.setdefault(s.label_id, []).append((number, s.start_s / length, min(1.0, s.end_s / length)))
    windows = []
    for label in sorted(by_class):
        rows = np.array(by_class[label])
        rows = rows[:: -(-len(rows) // MOST_SEGMENTS)]
        for window, share in _chosen(rows[:, 1:], rows[:, 0].astype(int), most):
            windows.append((label, share / len(train), window))
    return windows


def _chosen(spans: Float[np.ndarray, "n 2"], owners: np.ndarray, most: int) -> list[tuple[tuple[float, float], int]]:
    """Windows, and how many videos each is the first to match."""
    matches = temporal_iou(spans, spans) >= OVERLAP
    _, owners = np.unique(owners, return_inverse=True)
    left, chosen = np.ones(len(spans), bool), []
    while left.any() and len(chosen) < most:
        by_video = np.zeros((len(spans), owners.max() + 1), bool)
        rows, columns = np.nonzero(matches & left)
        by_video[rows, owners[columns]] = True
        counts = by_video.sum(1)
        best = int(counts.argmax())
        if not counts[best]:
            break
        chosen.append(((float(spans[best, 0]), float(spans[best, 1])), int(counts[best])))
        left &= ~matches[best]
    return chosen
