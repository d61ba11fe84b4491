"""Scores of unsupervised object discovery: best overlaps of proposals (Odin, arXiv 2203.08777, section 4.4), and CorLoc.

    COCO's files     masks of things: ABO and OR of k-means for every k, and CorLoc of the best discovered object
    VOC's folder     boxes alone: CorLoc

Crowds, and objects that VOC marks as difficult, are not targets; images without a target are skipped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.coco import Instances, read_instances
from tapetum.data.files import opened_image, stored_file
from tapetum.data.segmentation import BoxedImage, read_voc_boxes
from tapetum.systems.odin.metrics import best_in_cells, corloc, discovery_scores, proposals
from tapetum.systems.odin.objects import cluster_metric, find_objects
from tapetum.transfer.propagation import Look


@dataclass(frozen=True, kw_only=True)
class TargetImage:
    """An image and its target objects."""

    key: str
    image: Path
    boxes: Float[np.ndarray, "n 4"]
    """x1, y1, x2, y2 in raster pixels."""
    instances: Instances | None = None
    """Where they have masks too."""

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """Read the image. Raises BadInput if it is missing or damaged."""
        return np.asarray(opened_image(stored_file(self.image), "RGB"))

    def masks(self, size: tuple[int, int]) -> Bool[np.ndarray, "n h w"]:
        """Draw the masks. Raises BadInput if their size differs from the image's."""
        assert self.instances is not None
        if self.instances.size != size:
            raise BadInput(
                f"{self.image} is {size[1]}x{size[0]} and its entry says {self.instances.size[1]}x{self.instances.size[0]}; "
                "give the images that the file is of"
            )
        drawn = self.instances.masks()[[k for k, instance in enumerate(self.instances.things) if not instance.crowd]]
        return drawn[drawn.any((1, 2))]


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """Scores of one image."""

    key: str
    best: Float[np.ndarray, " n"] | None
    """Best overlap of each object with a proposal; None where there are no masks."""
    box: Float[np.ndarray, "4"]
    """The predicted box: of the best object, or the whole image where none was discovered."""
    located: bool
    """It has an IoU of 0.5 or more with a true box."""


def coco_objects(annotations: Path, images: Path) -> list[TargetImage]:
    """List the images with an object in a COCO-format file. Raises BadInput as `read_instances`."""
    annotated = []
    for one in read_instances(annotations, images):
        boxes = [instance.xyxy for instance in one.things if not instance.crowd]
        if boxes:
            annotated.append(TargetImage(key=str(one.key), image=one.image, boxes=np.array(boxes), instances=one))
    return annotated


def voc_objects(folder: Path, split: str) -> list[TargetImage]:
    """List the images of a VOC folder with an object that is not difficult. Raises BadInput as `read_voc_boxes`."""

    def annotated(one: BoxedImage) -> TargetImage:
        kept = ~np.array(one.difficult, bool)
        return TargetImage(key=one.key, image=one.image, boxes=np.asarray(one.boxes.xyxy)[kept])

    return [image for image in map(annotated, read_voc_boxes(folder, split)) if len(image.boxes)]


def evaluate(
    images: Sequence[TargetImage],
    extract: Look,
    most: int = 128,
    clusters: int = 6,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[ImageScores]:
    """Score images one by one: proposals from 1 to `most` clusters, and the best object among `clusters`.

    Raises BadInput for images that cannot be read, or with fewer cells than clusters.
    """
    for done, one in enumerate(images):
        progress(done, len(images))
        image = one.read()
        features, best = extract(image), None
        if one.instances is not None:
            objects = one.masks((image.shape[0], image.shape[1]))
            best = np.zeros(0)
            if len(objects):
                best = best_in_cells(objects, proposals(features, most, cluster_metric(extract), seed))
        masks, _ = find_objects(image, extract, clusters, seed=seed, features=features)
        whole = np.array([0, 0, image.shape[1], image.shape[0]], float)
        box = np.asarray(masks.boxes.xyxy[0], float) if len(masks) else whole
        yield ImageScores(key=one.key, best=best, box=box, located=corloc([box], [one.boxes]) == 1)
    progress(len(images), len(images))


def summary(images: Sequence[ImageScores]) -> dict[str, float]:
    """Average over images: corloc, and if there are masks, abo and object_recovery."""
    if not images:
        raise BadInput("no image has an object to be found; give images with things that are no crowds")
    best = [one.best for one in images if one.best is not None]
    scores = discovery_scores(best) if best else {}
    return {**scores, "corloc": float(np.mean([one.located for one in images]))}
