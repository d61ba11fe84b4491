"""Scores of an encoder on the way.

    knn                    share of labelled images of val that neighbours in train classify rightly
    rank_me, alpha_req     of the spectrum of features (`tapetum.metrics.spectrum`)
    lidar                  rank of what tells images apart among their own large views

The labelled images are those of `ImageRun.probe_data`, by default of the data, as in `tapetum probe`; in training, labels are
not used. The last three need no labels, and tell runs of one method apart, not good features from bad.
"""

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
from tapetum.systems.pretraining.data import ShuffledImages
from tapetum.train.process_group import compute_shared
from tapetum.transfer.config import NeighboursConfig
from tapetum.transfer.probes import knn_votes
from tapetum.transfer.probing import Labelled, features_of

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.task import PretrainTask

_NEIGHBOURS = 20
"""Neighbours that vote, as in DINO; fewer where there are fewer images."""
_LIDAR_IMAGES, _LIDAR_VIEWS, _TOGETHER = 200, 8, 8
"""Images whose views are told apart at most, views of each, and images whose views are encoded together."""


@lru_cache(maxsize=1)
def probe_images(data: str, most: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """List the images of train and of val with their classes, at most `most` of each."""
    train, val = (labelled_images(Path(data), split, most) for split in ("train", "val"))
    if train[2] != val[2]:
        raise BadInput(f"train and val of {data} have different classes: {len(train[2])} and {len(val[2])}; give both the same")
    return train[:2], val[:2]


def labelled_parts(task: "PretrainTask") -> tuple[tuple[Any, Any], tuple[Any, Any]] | None:
    """List the labelled images that a run is scored on; None if its data have no labels.

    Raises BadInput as `labelled_images`, and for several places of data.
    """
    run = task.run
    if not run.probe_data and task.source.labels is None:
        return None
    places = (run.probe_data,) if run.probe_data else run.data
    if len(places) != 1:
        raise BadInput(f"--probe-every scores on one data set, and --data names {len(places)}; say which with --probe-data")
    return probe_images(str(local_place(places[0])), run.probe_images)


class ShownImages:
    """The first images that a run is shown, so that damaged ones are replaced as in training."""

    def __init__(self, task: "PretrainTask", most: int):
        self.samples, self.count = ShuffledImages(task.source, task.run.seed), min(most, len(task.source))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Any:
        return self.samples[k].image


def encoder_scores(encoder: "Encoder", task: "PretrainTask") -> dict[str, float]:
    """Score an encoder on the images of a run."""
    parts, scores = labelled_parts(task), {}
    if parts is None:
        features = features_of(encoder, ShownImages(task, task.run.probe_images))
    else:
        train, val = (Labelled(features_of(encoder, images), torch.from_numpy(labels)) for images, labels in parts)
        classes = int(max(train.labels.max(), val.labels.max())) + 1
        config = NeighboursConfig(neighbours=min(_NEIGHBOURS, len(train.labels)))
        votes = knn_votes(train.features, train.labels, val.features, classes, config)
        scores = {"knn": float((votes.argmax(1) == val.labels).numpy().mean())}
        features = train.features
    rows, views = features.float().numpy(), _features_of_views(encoder, task)
    return {**scores, "rank_me": rank_me(rows), "alpha_req": alpha_req(rows), "lidar": lidar(views)}


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
