"""Scores of unsupervised object discovery: best overlaps of proposals (Odin, arXiv 2203.08777, section 4.4), and CorLoc.

    COCO's files     masks of things: ABO and OR of k-means for every k, and CorLoc of the best discovered object
    VOC's folder     boxes alone: CorLoc

Crowds, and objects that VOC marks as difficult, are not targets; images without a target are skipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.data.coco import Instances, read_instances
from tapetum.data.files import opened_image, stored_file
from tapetum.data.segmentation import read_voc_boxes
from tapetum.systems.odin.metrics import best_in_cells, corloc, discovery_scores, proposals
from tapetum.systems.odin.objects import cluster_metric, find_objects
from tapetum.transfer.propagation import Look


@dataclass(frozen=True, kw_only=True)
class TargetImage:
    """An image and its target objects."""

    image: Path
    boxes: Float[np.ndarray, "n 4"]
    instances: Instances | None = None
    """Where they have masks too."""


def coco_objects(annotations: Path, images: Path) -> list[TargetImage]:
    """List the images with an object in a COCO-format file. Raises BadInput as `read_instances`."""
    annotated = []
    for one in read_instances(annotations, images):
        if boxes := [instance.xyxy for instance in one.things if not instance.crowd]:
            annotated.append(TargetImage(image=one.image, boxes=np.array(boxes), instances=one))
    return annotated


def voc_objects(folder: Path, split: str) -> list[TargetImage]:
    """List the images of a VOC folder with an object that is not difficult. Raises BadInput as `read_voc_boxes`."""
    annotated = []
    for one in read_voc_boxes(folder, split):
        boxes = np.asarray(one.boxes.xyxy)[~np.array(one.difficult, bool)]
        if len(boxes):
            annotated.append(TargetImage(image=one.image, boxes=boxes))
    return annotated


def evaluate(
    images: Sequence[TargetImage], extract: Look, most: int, clusters: int, seed: int, progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Score proposals from 1 to `most` clusters, and the best object among `clusters`: means over images.

    `corloc`, and where there are masks `abo` and `object_recovery`. Raises BadInput for images that cannot be read, those with
    fewer cells than clusters, and where no image has an object.
    """
    if not images:
        raise BadInput("no image has an object to be found; give images with things that are no crowds")
    best, located = [], []
    for done, one in enumerate(images):
        progress(done, len(images))
        image = np.asarray(opened_image(stored_file(one.image), "RGB"))
        features = extract(image)
        if one.instances is not None:
            objects = _true_masks(one.instances, image.shape[:2])
            ious = best_in_cells(objects, proposals(features, most, cluster_metric(extract), seed)) if len(objects) else None
            best.append(np.zeros(0) if ious is None else ious)
        masks, _ = find_objects(image, extract, clusters, seed=seed, features=features)
        box = masks.boxes.xyxy[0] if len(masks) else [0, 0, image.shape[1], image.shape[0]]
        located.append(corloc([np.asarray(box, float)], [one.boxes]))
    progress(len(images), len(images))
    return {**(discovery_scores(best) if best else {}), "corloc": float(np.mean(located))}


def _true_masks(instances: Instances, size: tuple[int, ...]) -> Bool[np.ndarray, "n h w"]:
    if instances.size != size:
        raise BadInput(
            f"{instances.image} is {size[1]}x{size[0]} and its entry says {instances.size[1]}x{instances.size[0]}; give the "
            "images that the file is of"
        )
    drawn = instances.masks()[[k for k, instance in enumerate(instances.things) if not instance.crowd]]
    return drawn[drawn.any((1, 2))]
