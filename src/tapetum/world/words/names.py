"""Names of objects with their boxes and masks, for detection and segmentation."""

from dataclasses import dataclass

import numpy as np

from tapetum.types import Boxes, Masks
from tapetum.world.bodies.episode import Episode
from tapetum.world.rendering.ground_truth import GroundTruth
from tapetum.world.words.graph import movable_bodies


@dataclass(frozen=True, kw_only=True, eq=False)
class Named:
    """m objects of one image, a hand among them, by what a person calls them."""

    ids: np.ndarray
    """int64 (m,) of `Episode.instance`."""
    boxes: Boxes
    """Around what is seen; the labels are nouns."""
    amodal: Boxes
    """Around all of it that lies in the image, hidden or not."""
    masks: Masks
    """What is seen of each."""


def annotate_objects(episode: Episode, frame: int, least: int = 1, truth: GroundTruth | None = None) -> Named:
    """Name the objects with at least `least` visible pixels in a frame, at the episode's own size."""
    instances = (truth or GroundTruth(episode)).masks(frame)
    nouns = {int(episode.instance[j]): episode.bodies[j].noun for j in movable_bodies(episode)}
    nouns |= {int(episode.instance[j]): b.group for j, b in enumerate(episode.bodies) if b.group and not b.fixed}
    shown = [i for i in range(len(instances.ids)) if instances.visible[i].sum() >= max(least, 1)]
    labels = [nouns[int(instances.ids[i])] for i in shown]
    visible, amodal = (Masks(masks=m[shown], labels=labels) for m in (instances.visible, instances.amodal))
    return Named(ids=instances.ids[shown], boxes=visible.boxes, amodal=amodal.boxes, masks=visible)
