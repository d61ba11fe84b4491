"""One annotated image of the physical world: a moment of an episode, rendered, with names, captions and questions.

Camera settings, story and moment differ between images; all are a function of (seed, number).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data.textures import Textures, procedural
from tapetum.world.bodies.episode import Episode
from tapetum.world.physics import make_episode
from tapetum.world.rendering import GroundTruth, InstanceMasks, random_render_config, render_episode
from tapetum.world.types import U8
from tapetum.world.words import Candidate, Captions, SceneGraph, image_candidates, image_captions, scene_graph

TRIES = 8
LONGEST_S = 3.0
SIZES = (16, 2048)
"""Pixels of a side, least and most."""
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedImage:
    """An image with its truth."""

    rgb: U8
    """(h, w, 3)"""
    episode: Episode
    frame: int
    """Which frame of the episode it is."""
    masks: InstanceMasks
    """What is seen of each instance, and all of it."""
    graph: SceneGraph
    captions: Captions
    candidates: tuple[Candidate, ...]
    """Questions that could be asked."""


def make_image(seed: int, number: int, size: int = 256, textures: Textures = procedural) -> AnnotatedImage:
    """Make image `number` of a seed, size x size pixels; on one platform the same arguments give the same image.

    Raises BadInput for a size outside `SIZES`, and MissingExtra without MuJoCo.
    """
    check_size(size)

    def begin(key: int) -> tuple[Episode, int]:
        rng = np.random.default_rng((key, 5))
        seconds = float(rng.uniform(0.1, LONGEST_S))
        episode = make_episode(key, seconds=seconds, size=(size, size))
        return episode, episode.frames - 1

    key, (episode, frame) = first_valid_start((seed, number), begin)
    config = random_render_config(np.random.default_rng((key, 6)))
    [shot] = render_episode(episode, textures, config, range(frame, frame + 1))
    graph = scene_graph(episode, frame)
    return AnnotatedImage(
        rgb=shot.rgb,
        episode=episode,
        frame=frame,
        masks=GroundTruth(episode).masks(frame),
        graph=graph,
        captions=image_captions(graph),
        candidates=tuple(image_candidates(graph, key)),
    )


def check_size(size: int) -> None:
    """Raise BadInput for a size outside `SIZES`."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise BadInput(f"frames of {size}x{size} pixels; give --size from {SIZES[0]} to {SIZES[1]}")


def first_valid_start(number: tuple[int, ...], begin: Callable[[int], Made]) -> tuple[int, Made]:
    """Draw keys for `number` until the world finds a start; returns the key and the result of `begin(key)`.

    Occasionally a story has no room for its objects; another draw has. Raises the last BadInput if all fail.
    """
    trouble: BadInput | None = None
    for attempt in range(TRIES):
        key = int(np.random.SeedSequence([*number, attempt]).generate_state(1, np.uint64)[0] >> np.uint64(2))
        try:
            return key, begin(key)
        except BadInput as error:
            if "found no start" not in str(error):
                raise
            trouble = error
    assert trouble
    raise trouble
