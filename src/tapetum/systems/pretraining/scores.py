"""Scores of an encoder on the way and at the end, and whether a run has made better what it began with.

    knn, linear            share of labelled images of val that neighbours in train, or a linear probe on it, classify rightly
    rank_me, alpha_req     of the spectrum of features (`tapetum.metrics.spectrum`)
    lidar                  rank of what tells images apart among their own large views

The labelled images are those of `ImageRun.probe_data`, by default of the data, as in `tapetum probe`; in training, labels are
not used. The last three need no labels, and tell runs of one method apart, not good features from bad: with them alone no
run is called better. With labels, one is if an interval of 95 % for the gain of a probe on the same images is above 0.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.data.labelled import labelled_images
from tapetum.data.remote_folder import local_place
from tapetum.data.views import Views
from tapetum.metrics.spectrum import alpha_req, lidar, rank_me
from tapetum.metrics.statistics import Interval, bootstrap_interval, judge_interval
from tapetum.systems.pretraining.data import ShuffledImages
from tapetum.train.process_group import compute_shared
from tapetum.transfer.config import NeighboursConfig
from tapetum.transfer.probes import knn_votes, linear_probe
from tapetum.transfer.probing import Labelled, features_of

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.recipes import ImageRun
    from tapetum.systems.pretraining.task import PretrainTask

_NEIGHBOURS = 20
"""Neighbours that vote, as in DINO; fewer where there are fewer images."""
_LIDAR_IMAGES, _LIDAR_VIEWS, _TOGETHER = 200, 8, 8
"""Images whose views are told apart at most, views of each, and images whose views are encoded together."""


def probe_place(run: "ImageRun") -> str:
    """Find the labelled images of a run. Raises BadInput if `probe_data` is needed."""
    places = (run.probe_data,) if run.probe_data else run.data
    if len(places) != 1:
        raise BadInput(f"--probe-every scores on one data set, and --data names {len(places)}; say which with --probe-data")
    return str(local_place(places[0]))


@lru_cache(maxsize=1)
def probe_images(data: str, most: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """List the images of train and of val with their classes, at most `most` of each."""
    train, val = (labelled_images(Path(data), split, most) for split in ("train", "val"))
    if train[2] != val[2]:
        raise BadInput(f"train and val of {data} have different classes: {len(train[2])} and {len(val[2])}; give both the same")
    return train[:2], val[:2]


def labelled_parts(task: "PretrainTask") -> tuple[tuple[Any, Any], tuple[Any, Any]] | None:
    """List the labelled images of a run's data, or None if there are none.

    Raises BadInput if a run that scores on the way, or names its images, cannot have them.
    """
    run = task.run
    if not run.probe_data and task.source.labels is None:
        return None
    try:
        return probe_images(probe_place(run), run.probe_images)
    except BadInput:
        if run.probe_every or run.probe_data:
            raise
        return None


class ShownImages:
    """The first images that a run is shown, so that damaged ones are replaced as in training."""

    def __init__(self, task: "PretrainTask", most: int):
        self.samples, self.count = ShuffledImages(task.source, task.run.seed), min(most, len(task.source))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Any:
        return self.samples[k].image


def encoder_scores(
    encoder: "Encoder", task: "PretrainTask", *, linear: bool = False
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Score an encoder on the images of a run; `linear` also by a linear probe.

    Returns:
        The scores by name, and of knn and linear which images of val are right, bool (n,).
    """
    parts = labelled_parts(task)
    right: dict[str, np.ndarray] = {}
    if parts is None:
        features = features_of(encoder, ShownImages(task, task.run.probe_images))
    else:
        train, val = (Labelled(features_of(encoder, images), torch.from_numpy(labels)) for images, labels in parts)
        classes = int(max(train.labels.max(), val.labels.max())) + 1
        config = NeighboursConfig(neighbours=min(_NEIGHBOURS, len(train.labels)))
        votes = {"knn": knn_votes(train.features, train.labels, val.features, classes, config)}
        if linear:
            votes["linear"] = linear_probe(train, val, classes).head(val.features)
        right = {name: (each.argmax(1) == val.labels).numpy() for name, each in votes.items()}
        features = train.features
    rows, views = features.float().numpy(), _features_of_views(encoder, task)
    scores = {name: float(each.mean()) for name, each in right.items()}
    return {**scores, "rank_me": rank_me(rows), "alpha_req": alpha_req(rows), "lidar": lidar(views)}, right


@torch.inference_mode()
def _features_of_views(encoder: "Encoder", task: "PretrainTask") -> np.ndarray:
    """Compute pooled vectors (n, views, d) of random large views of the run's images."""
    images, device = ShownImages(task, _LIDAR_IMAGES), next(encoder.parameters()).device
    preprocessing = encoder.preprocessing
    views = Views((task.views()[0],) * _LIDAR_VIEWS, seed=task.run.seed, mean=preprocessing.mean, std=preprocessing.std)

    def compute(number: int) -> Tensor:
        numbers = range(number * _TOGETHER, min((number + 1) * _TOGETHER, len(images)))
        batch = torch.stack(views([images[k] for k in numbers], numbers), 1).flatten(0, 1)  # image by image
        return encoder(batch.to(device)).pooled.float().unflatten(0, (len(numbers), _LIDAR_VIEWS))

    return torch.cat(compute_shared(compute, -(-len(images) // _TOGETHER))).numpy()


@dataclass(frozen=True, kw_only=True)
class EncoderComparison:
    """Scores of the encoder that a run began with, and of the one that it made."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    images: int
    """Labelled images that were classified; 0: there are none."""
    gains: Mapping[str, Interval]
    """Of knn and linear: the interval of 95 % of what was gained, as a share of these images."""

    @property
    def verdict(self) -> str:
        """Say whether the encoder is better: only if a probe with labels shows it, and none shows the opposite.

        >>> one = EncoderComparison(before={}, after={}, images=9, gains={"knn": (0.1, 0.2), "linear": (-0.1, 0.2)})
        >>> one.verdict, EncoderComparison(before={}, after={}, images=0, gains={}).verdict
        ('better', 'unknown: no labelled images')
        """
        if not self.images:
            return "unknown: no labelled images"
        verdicts = {judge_interval(interval) for interval in self.gains.values()}
        if "falsified" in verdicts:
            return "not better: worse by " + " and ".join(n for n, gain in self.gains.items() if gain[1] < 0)
        return "better" if "held" in verdicts else f"not better, as far as {self.images:,} images can show"

    def lines(self) -> list[str]:
        """Format the comparison as lines of text."""
        rows = [f"{name:10}  {value:.4g} before, {self.after[name]:.4g} after" for name, value in self.before.items()]
        for k, name in enumerate(self.before):
            if name in self.gains:
                rows[k] += ", {:+.3f} to {:+.3f}".format(*self.gains[name])
        return [*rows, f"verdict     {self.verdict}"]

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON values; a score that is not a number is None."""
        before, after = (
            {name: x if math.isfinite(x) else None for name, x in each.items()} for each in (self.before, self.after)
        )
        return {**asdict(self), "before": before, "after": after, "verdict": self.verdict}


def compare(before: "Encoder", after: "Encoder", task: "PretrainTask") -> EncoderComparison:
    """Score the encoder that a run began with and the one that it made on the same images."""
    (first, wrong), (last, right) = (encoder_scores(each, task, linear=True) for each in (before, after))
    gains = {name: bootstrap_interval(right[name].astype(float) - wrong[name].astype(float)) for name in right}
    images = len(next(iter(right.values()))) if right else 0
    return EncoderComparison(before=first, after=last, images=images, gains=gains)
