"""Score of an encoder during training: the share of labelled images that their nearest neighbours classify correctly.

The images are those of `ImageRun.probe_data`: its train part votes, and its val part is scored, as in `tapetum
probe`. If that is the training folder, the scored images are also trained on, without their labels.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tapetum.core.addresses import is_address
from tapetum.core.errors import BadInput
from tapetum.data.labelled import labelled_images
from tapetum.transfer.config import NeighboursConfig
from tapetum.transfer.probes import knn_accuracy
from tapetum.transfer.probing import features_of

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.recipes import ImageRun

_NEIGHBOURS = 20
"""Neighbours that vote, as in DINO; fewer where there are fewer images."""


def knn_score(encoder: "Encoder", run: "ImageRun") -> float:
    """Compute the share of images of val whose nearest neighbours in train vote for the right class.

    Raises BadInput if the images have no classes, or the two parts have different ones.
    """
    parts = probe_images(probe_place(run), run.probe_images)
    (features, labels), (queries, truth) = (
        (features_of(encoder, images), torch.from_numpy(classes)) for images, classes in parts
    )
    config = NeighboursConfig(neighbours=min(_NEIGHBOURS, len(labels)))
    return knn_accuracy(features, labels, queries, truth, config)


def probe_place(run: "ImageRun") -> str:
    """Find the scored images of a run. Raises BadInput if `probe_data` is needed, or is not a path."""
    places = (run.probe_data,) if run.probe_data else run.data
    if len(places) != 1:
        raise BadInput(f"--probe-every scores on one data set, and --data names {len(places)}; say which with --probe-data")
    place = places[0]
    if is_address(place):
        raise BadInput(f"--probe-every reads from the disk, and {place} is an address; give a folder with --probe-data")
    return place


@lru_cache(maxsize=1)
def probe_images(data: str, most: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """List the images of train and of val with their classes, at most `most` of each."""
    train, val = (labelled_images(Path(data), split, most) for split in ("train", "val"))
    if train[2] != val[2]:
        raise BadInput(f"train and val of {data} have different classes: {len(train[2])} and {len(val[2])}; give both the same")
    return train[:2], val[:2]
