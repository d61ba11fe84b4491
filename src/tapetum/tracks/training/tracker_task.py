"""What training tasks of point trackers share: batches of clips with exact tracks, loss terms, and TAP-Vid scores."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.tracks.training.clips import ClipDataset, TrackedClip
from tapetum.tracks.training.data import TapSample, collate
from tapetum.tracks.training.kubric import KubricClips, kubric_sequences
from tapetum.tracks.training.recipes import ClipPhase, SceneRun
from tapetum.tracks.training.scores import score_clips

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
    """Compute half the square up to `delta`, then continue linearly with the same slope.

    >>> huber(torch.tensor([0.0, 2.0, 6.0]), 4.0).tolist()
    [0.0, 2.0, 16.0]
    """
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
