"""Objects found without labels, scored: best overlaps of proposals (Odin, arXiv 2203.08777, section 4.4), and CorLoc.

    COCO's files     masks of things: ABO and OR of k-means for every k, and CorLoc of the best object that is found
    VOC's folder     boxes alone: CorLoc

Crowds, and things that VOC marks as difficult, are no objects to be found; pictures without one that is are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.instances import Instances, read_instances
from tapetum.data.media import opened_picture, stored
from tapetum.data.segmentation.voc import BoxedPicture, read_voc_boxes
from tapetum.systems.odin.looks import metric_of
from tapetum.systems.odin.metrics import corloc, discovery_scores
from tapetum.systems.odin.objects import find_objects
from tapetum.systems.odin.proposals import best_in_cells, proposals
from tapetum.transfer.whole import Look


@dataclass(frozen=True, kw_only=True)
class Sought:
    """A picture and the objects in it that are to be found."""

    key: str
    picture: Path
    boxes: Float[np.ndarray, "n 4"]
    """x1, y1, x2, y2 in raster pixels."""
    instances: Instances | None = None
    """Where they have masks too."""

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """Read the picture. Raises BadInput where it is missing or damaged."""
        return np.asarray(opened_picture(stored(self.picture), "RGB"))

    def masks(self, size: tuple[int, int]) -> Bool[np.ndarray, "n h w"]:
        """Draw the masks. Raises BadInput where they are of another size than the picture."""
        assert self.instances is not None
        if self.instances.size != size:
            raise BadInput(
                f"{self.picture} is {size[1]}x{size[0]} and its entry says {self.instances.size[1]}x{self.instances.size[0]}; "
                "give the pictures that the file is of"
            )
        drawn = self.instances.masks()[[k for k, thing in enumerate(self.instances.things) if not thing.crowd]]
        return drawn[drawn.any((1, 2))]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Scores of one picture."""

    key: str
    best: Float[np.ndarray, " n"] | None
    """Best overlap of each object with a proposal; None where there are no masks."""
    box: Float[np.ndarray, "4"]
    """The one box that is said: of the best object, or of the whole picture where none was found."""
    located: bool
    """It has an IoU of 0.5 or more with a true box."""


def coco_objects(annotations: Path, pictures: Path) -> list[Sought]:
    """List the pictures of a file of COCO's form that have an object. Raises BadInput as `read_instances`."""
    found = []
    for one in read_instances(annotations, pictures):
        boxes = [thing.xyxy for thing in one.things if not thing.crowd]
        if boxes:
            found.append(Sought(key=str(one.key), picture=one.picture, boxes=np.array(boxes), instances=one))
    return found


def voc_objects(folder: Path, split: str) -> list[Sought]:
    """List the pictures of VOC's folder that have an object which is not difficult. Raises BadInput as `read_voc_boxes`."""

    def sought(one: BoxedPicture) -> Sought:
        kept = ~np.array(one.difficult, bool)
        return Sought(key=one.key, picture=one.picture, boxes=np.asarray(one.boxes.xyxy)[kept])

    return [found for found in map(sought, read_voc_boxes(folder, split)) if len(found.boxes)]


def evaluate(
    pictures: Sequence[Sought],
    look: Look,
    most: int = 128,
    clusters: int = 6,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Found]:
    """Score pictures one by one: proposals of 1 to `most` clusters, and the best object among `clusters`.

    Raises BadInput for pictures that cannot be read, or with fewer cells than clusters.
    """
    for done, one in enumerate(pictures):
        progress(done, len(pictures))
        picture = one.read()
        seen, best = look(picture), None
        if one.instances is not None:
            objects = one.masks((picture.shape[0], picture.shape[1]))
            best = best_in_cells(objects, proposals(seen, most, metric_of(look), seed)) if len(objects) else np.zeros(0)
        masks, _ = find_objects(picture, look, clusters, seed=seed, found=seen)
        whole = np.array([0, 0, picture.shape[1], picture.shape[0]], float)
        box = np.asarray(masks.boxes.xyxy[0], float) if len(masks) else whole
        yield Found(key=one.key, best=best, box=box, located=corloc([box], [one.boxes]) == 1)
    progress(len(pictures), len(pictures))


def summary(found: Sequence[Found]) -> dict[str, float]:
    """Average over pictures: corloc, and where there are masks abo and object_recovery."""
    if not found:
        raise BadInput("no picture has an object to be found; give pictures with things that are no crowds")
    best = [one.best for one in found if one.best is not None]
    scores = discovery_scores(best) if best else {}
    return {**scores, "corloc": float(np.mean([one.located for one in found]))}
