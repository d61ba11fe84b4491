"""Choice of the default model for questions about images, and the similarity of images to its training data.

    photographs     efficientnet-lite2, where the extra [imagenet] is installed (`photo_answers`)
    all else        paligemma-nano-2, whose world is that of `tapetum scenes`; boxes of words that are no class, too

The first images are compared with that data (`systems.paligemma.answers`); the majority decides for all. Bare walls and tables
look like it, too; what the classifier takes for an animal, food or anything else that no scene has is no scene all the same.
"""

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tapetum.app.see.settings import AUTO, CLASSIFIER, MODEL, SeeSettings, Settings, names_photographs
from tapetum.app.verb import Listener
from tapetum.bench.word_models import is_here
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.systems.paligemma.answers import Answerer, Familiarity

OF_SCENES = MODEL, "mcvit-films"
"""Bundled models of the world of `tapetum scenes`."""
_MOST = 8
"""Images that are compared with the world."""
_NEVER = "animal", "plant", "fungus", "food", "fruit", "vegetable", "vehicle", "building", "geological formation"
"""Nouns that no scene has."""


def can_answer_photos() -> bool:
    """Check whether the classifier that photographs are named by is on this machine."""
    return is_here(CLASSIFIER)


def with_model(settings: SeeSettings, images: Any) -> SeeSettings:
    """Choose the model of a request if the user named none."""
    if settings.model != AUTO:
        return settings
    photo = can_answer_photos() and not is_world(images, settings.frames)
    return replace(settings, model=CLASSIFIER if photo else MODEL)


def with_region_model(settings: Settings, images: Any, prompt: str, listener: Listener, frames: int | None = None) -> Settings:
    """Choose the model of a request for boxes or masks, and tell the listener which words are ignored.

    Images are compared with those of `tapetum scenes` only if a thing is named that is in these.
    """
    from tapetum.app.see.photo_regions import read_things, remarks
    from tapetum_world.words.images import FORMS, HOLDERS

    try:
        things = read_things(prompt)
    except BadInput:
        things = []
    if settings.model == AUTO:
        photo = bool(things) and not settings.masks and can_answer_photos()
        if photo and not {thing.noun for thing in things}.isdisjoint((*FORMS, *HOLDERS)):
            photo = not is_world(images, frames or settings.frames)
        settings = replace(settings, model=CLASSIFIER if photo else MODEL)
    if names_photographs(settings.model):
        for remark in remarks(things):
            listener.note(remark)
    return settings


def names_other_things(question: str, options: "Sequence[str]") -> bool:
    """Check whether a question, or most of its options, name things of which none is in scenes.

    >>> names_other_things("What does the man hold?", ("a backpack", "an umbrella", "a cup"))
    True
    >>> names_other_things("What does the hand take?", ("a cup", "a dog"))
    False
    """
    from tapetum.encoders.wordnet import find_things
    from tapetum_world.physics.props import PROPS
    from tapetum_world.words.images import FORMS, HOLDERS

    ours = {*PROPS, *FORMS, *HOLDERS, "hand", "table", "camera", "thing"}
    texts = (question, *options)
    other = [ours.isdisjoint(re.findall(r"\w+", text.lower())) and bool(find_things(text)) for text in texts]
    return other[0] or sum(other[1:]) * 2 > len(options)


def is_world(images: Any, frames: int | None = None) -> bool:
    """Check whether images resemble those of `tapetum scenes`; unreadable images are skipped."""
    import numpy as np

    near = count = 0
    for shown in _first_images(images, frames):
        like = np.array(_distances(shown)) <= _world()[1].limit
        if like.any() and can_answer_photos():
            like[like] = ~_has_what_no_scene_has(shown[like])
        near, count = near + int(like.sum()), count + len(like)
    return near * 2 > count


def _has_what_no_scene_has(frames: "np.ndarray") -> "np.ndarray":
    """Check of each image whether the classifier takes it for something that is in no scene."""
    from tapetum.encoders.naming import YES
    from tapetum.encoders.wordnet import find_thing

    classes = sorted({number for noun in _NEVER if (thing := find_thing(noun)) for number in thing.classes})
    return _classifier().evidence(frames).whole[:, classes].sum(1) >= YES


def world_distances(images: Any, frames: int | None = None) -> list[float]:
    """Compute the distance of the first images from those of `tapetum scenes`."""
    return [distance for shown in _first_images(images, frames) for distance in _distances(shown)]


def _first_images(images: Any, frames: int | None) -> "Iterator[np.ndarray]":
    from tapetum.app.see.jobs import first_sources
    from tapetum.systems.paligemma.images import read_images

    for source in first_sources(images, frames, _MOST):
        try:
            yield read_images(source, frames)[:_MOST]
        except BadInput:
            continue


def _distances(frames: "np.ndarray") -> list[float]:
    from tapetum.systems.paligemma.answers import image_tokens

    answerer, familiarity = _world()
    return familiarity.distances(image_tokens(answerer.model, frames)).tolist()


def unfamiliar_remark(model: str, images: Any, frames: int | None = None) -> str | None:
    """Write a remark if a model trained on `tapetum scenes` is asked about other images or videos; otherwise None."""
    if model not in OF_SCENES or not (distances := world_distances(images, frames)):
        return None
    limit = _world()[1].limit
    other = sum(distance > limit for distance in distances)
    if other * 2 <= len(distances):
        return None
    return f"the images are unlike those that {model} was trained on (distance {max(distances):.1f}, usual below {limit:.1f})"


@lru_cache(maxsize=1)
def _classifier() -> "PhotoAnswerer":
    from tapetum.app.see.photo_answers import PhotoAnswerer

    return PhotoAnswerer.load(CLASSIFIER, "cpu")


@lru_cache(maxsize=1)
def _world() -> "tuple[Answerer, Familiarity]":
    """The bundled model, and the statistics of its training images."""
    from tapetum.systems.paligemma.answers import load_familiarity

    return _nano(), load_familiarity()


def _nano() -> "Answerer":
    from tapetum.app.see.settings import load_answerer
    from tapetum.systems.paligemma.answers import Answerer

    answerer = load_answerer(SeeSettings(model=MODEL, device="cpu"))
    assert isinstance(answerer, Answerer)
    return answerer
