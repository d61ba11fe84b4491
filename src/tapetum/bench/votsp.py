"""VOTSp, the point tracking challenge of VOT: d_avg, the share of points within 1, 2, 4, 8 and 16 pixels of the ground truth.

Distances are measured as if the frame were 256x256. Each point is queried in the first frame where its ground truth has a
position, and that frame is not scored; nor are frames where ground truth or track has none, so visibility does not count. All
frames of all points of all sequences weigh the same. Source: github.com/votchallenge/toolkit, `vot/analysis/point.py` (0.9).

Unusual, as in the toolkit: for a point queried in frame 0, frame 1 is not scored either. (The toolkit stores no position for
frame 0, and then skips the first frame that has one.)
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tapetum.bench.baselines import load_tracker
from tapetum.bench.own import Benchmark
from tapetum.core.errors import BadInput
from tapetum.tracks.points import support_points
from tapetum.tracks.tracker import Tracker
from tapetum.tracks.votsp import VotspSequence, VotspTask, read_sequence, read_sequences

THRESHOLDS = (1, 2, 4, 8, 16)
"""Pixels of a frame of 256x256; a distance of exactly that is too far."""


def scored_frames(truth: Float[np.ndarray, "t 2"], predicted: Float[np.ndarray, "t 2"]) -> Bool[np.ndarray, " t"]:
    """Find the frames that count for one point, queried where its `truth` begins; NaN means no position.

    >>> places = np.zeros((4, 2))
    >>> scored_frames(places, places).tolist(), scored_frames(np.array([[np.nan] * 2, *places[1:]]), places).tolist()
    ([False, False, True, True], [False, False, True, True])
    """
    both = np.array(np.isfinite(np.concatenate([truth, predicted], 1)).all(axis=1))
    both[0] = False
    both[both.argmax()] = False
    return both


def point_accuracies(
    truth: Float[np.ndarray, "t 2"], predicted: Float[np.ndarray, "t 2"], width: int, height: int
) -> tuple[Float[np.ndarray, "5"], int]:
    """Compute the share of frames within each threshold, and the number of frames that count; zeros if none does."""
    chosen = scored_frames(truth, predicted)
    if not chosen.any():
        return np.zeros(len(THRESHOLDS)), 0
    scale = np.maximum([width - 1, height - 1], 1) / 255
    distance = np.linalg.norm((predicted[chosen] - truth[chosen]) / scale, axis=1)
    return (distance[:, None] < THRESHOLDS).mean(0), int(chosen.sum())


def task_of(sequence: VotspSequence) -> VotspTask:
    """Build the queries of a sequence: each point where its ground truth begins. Raises BadInput if a point has no position."""
    queries = {}
    for name, truth in sequence.truth.items():
        there = ~np.isnan(truth).any(1)
        if not there.any():
            raise BadInput(f"point {name} of sequence {sequence.name} has no place in any frame; take its groundtruth away")
        first = int(there.argmax())
        queries[name] = (first, float(truth[first, 0]), float(truth[first, 1]))
    return VotspTask(sequence.video, queries)


def track_task(tracker: Tracker, task: VotspTask, support: int = 0) -> Float[np.ndarray, "n t 2"]:
    """Track the points of a task, in raster pixels; in its query frame each point is exactly at its query.

    Each has `support` more around it, which are tracked with it and left out.
    """
    width, height = task.video.width, task.video.height
    points = list(task.queries.values())
    queries = np.array(points, np.float32)
    every = np.array([*points, *support_points(points, support, width, height)], np.float32)
    xy = np.array(tracker.track(task.video, every.clip(0, [len(task.video) - 1, width, height])).xy)[: len(queries)]
    xy[np.arange(len(queries)), queries[:, 0].astype(int)] = queries[:, 1:]
    return xy


class Votsp(Benchmark):
    """A tracker on the sequences of a data set or workspace of the VOT toolkit, with `support` points around each."""

    def __init__(self, name: str = "", support: int = 0):
        super().__init__(name)
        self.support = support

    def items(self, data: Path) -> Mapping[str, Path]:
        """List the folders of the sequences. Raises BadInput if there are none."""
        return read_sequences(data)

    def load(self, model: str, device: str | None) -> Tracker:
        return load_tracker(model, device)

    def score(self, model: Tracker, item: Path) -> Mapping[str, float]:
        """Compute `d_avg`, `d_1` ... `d_16`, the numbers of `points` and `frames` that count, and `seconds` spent tracking."""
        sequence = read_sequence(item)
        task = task_of(sequence)
        begin = time.perf_counter()
        xy = track_task(model, task, self.support)
        seconds = time.perf_counter() - begin
        size = sequence.video.width, sequence.video.height
        scores = [point_accuracies(truth, track, *size) for truth, track in zip(sequence.truth.values(), xy, strict=True)]
        return {"points": len(xy), **_weighted(scores), "seconds": seconds}

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Average over all frames that count."""
        parts = [(np.array([row[f"d_{limit}"] for limit in THRESHOLDS]), int(row["frames"])) for row in rows]
        return {**_weighted(parts), "seconds": sum(row["seconds"] for row in rows)}


def _weighted(parts: list[tuple[Float[np.ndarray, "5"], int]]) -> dict[str, Any]:
    """Means over all frames that count; 0 if none does."""
    frames = sum(count for _, count in parts)
    shares = sum((mean * count for mean, count in parts), np.zeros(len(THRESHOLDS))) / max(frames, 1)
    each = {f"d_{limit}": float(share) for limit, share in zip(THRESHOLDS, shares, strict=True)}
    return {"d_avg": float(shares.mean()), **each, "frames": frames}
