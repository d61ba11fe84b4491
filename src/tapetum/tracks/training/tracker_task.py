"""What training tasks of point trackers share: batches of clips with exact tracks, loss terms, and TAP-Vid scores (arXiv
2211.03726), query-first."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.tracks.metrics import mean_metrics, tapvid_metrics
from tapetum.tracks.training.clips import ClipDataset, TrackedClip
from tapetum.tracks.training.data import TapSample, collate
from tapetum.tracks.training.kubric import KubricClips, kubric_sequences
from tapetum.tracks.training.recipes import ClipPhase, SceneRun

Terms = dict[str, Float[Tensor, ""]]
"""The weighted terms of a loss by name."""


class TrackerTask:
    """Mixin of training tasks: square clips of `size` pixels with `points` queries. Systems add network, clips and loss."""

    scored_size: int | None = None
    """Side of the image in whose pixels the scores measure distances; None is `size`."""

    def __init__(self, size: int, points: int):
        self.size, self.points = size, points
        self._checks: Sequence[TrackedClip] | None = None

    def checks(self) -> Sequence[TrackedClip]:
        """Load clips that are never used for training."""
        raise NotImplementedError

    def track(
        self, model: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Track points through one clip: positions, and confidence that each is visible."""
        raise NotImplementedError

    def collate(self, items: Sequence[TapSample]) -> TapSample:
        return collate(items)

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Compute TAP-Vid scores (query-first) on `checks`."""
        if self._checks is None:
            self._checks = self.checks()
        track = partial(self.track, model)
        return score_clips(track, self._checks, size=self.size, points=self.points, scored_size=self.scored_size)


def add_terms(terms: Terms) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Sum the terms of a loss; return the value to differentiate, and the terms to log."""
    return reduce(add, terms.values()), {name: term.detach() for name, term in terms.items()}


def mean_terms(several: Sequence[Terms]) -> Terms:
    """Average the loss terms of several predictions."""
    return {name: torch.stack([terms[name] for terms in several]).mean() for name in several[0]}


def huber(distance: Float[Tensor, "*s"], delta: float) -> Float[Tensor, "*s"]:
    """Compute half the square up to `delta`, then continue linearly with the same slope."""
    return torch.where(distance < delta, distance.square() / 2, delta * (distance - delta / 2))


def split_sequences(folder: str | Path, checks: int) -> tuple[KubricClips, KubricClips]:
    """Split the Kubric sequences of a folder into training sequences, and the last `checks`, at most a tenth, for scores."""
    names = tuple(kubric_sequences(folder))
    count = len(names) - min(checks, len(names) // 10)
    return KubricClips(Path(folder), names[:count]), KubricClips(Path(folder), names[count:])


def first_frames(clips: ClipDataset, frames: int) -> list[TrackedClip]:
    """Select the first frames of every clip."""
    every = (clips[k] for k in range(len(clips)))
    return [TrackedClip(clip.video[:frames], clip.xy[:, :frames], clip.visible[:, :frames]) for clip in every]


def describe_phase(run: SceneRun, phase: ClipPhase, not_learned: Collection[str]) -> dict[str, Any]:
    """Collect all settings that determine what a phase learns, as JSON values; folders may move. `not_learned`: fields of `run`
    that do not matter, or are in the phase."""
    fields = {name: value for name, value in asdict(run).items() if name not in not_learned}
    for outside in {"start", "textures", "episodes"} & fields.keys():
        fields[outside] = fields[outside] and Path(fields[outside]).name
    of_phase = {name: value for name, value in asdict(phase).items() if name != "micro_batch"}
    return json.loads(json.dumps({"run": fields, "phase": of_phase}))


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
