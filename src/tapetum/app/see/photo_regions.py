"""Boxes and masks of things in photographs, by a classifier run densely (`encoders.class_maps`), colours and edges.

cat               a noun that WordNet has for a class or several; one box at most
black cat         only if most of its pixels are black
big cat           "big" is ignored, which is said
cat ; dog         each on its own
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.encoders.wordnet import split_nouns
from tapetum.systems.paligemma.prompts import split_things
from tapetum.video.colour_names import COLOURS, name_colour

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from tapetum.encoders import Encoder
    from tapetum.systems.paligemma.locations import ParsedRegions

_COLOURS = {**{name: name for name in COLOURS}, "gray": "grey"}


@dataclass(frozen=True, kw_only=True)
class NamedThing:
    """A thing to look for."""

    text: str
    """As the user names it, which is the label of its box."""
    noun: str
    classes: tuple[int, ...]
    """Indices of the classes that are this."""
    colour: str | None
    """That it must have."""
    ignored: tuple[str, ...]
    """Words that nothing is known about."""


def read_things(prompt: str) -> list[NamedThing]:
    """Read the things that a prompt of `detect` or `segment` names. Raises BadInput for words of which none is a class.

    >>> [(thing.noun, thing.colour, thing.ignored) for thing in read_things("detect big black cats ; pony")]
    [('cat', 'black', ('big',)), ('horse', None, ('pony',))]
    """
    return [_read(text) for text in split_things(prompt.partition(" ")[2])]


def _read(text: str) -> NamedThing:
    nouns, others = split_nouns(text)
    colours = [_COLOURS[word] for word in others if word in _COLOURS]
    if len(nouns) != 1 or not nouns[0].classes or len(colours) > 1:
        problem = "names no class of ImageNet, nor anything wider" if not nouns else "names several things or colours"
        raise BadInput(
            f'"{text[:40]}" {problem}; name a thing such as "cat", with ; between several, or give --model of a '
            "vision-language model (see: tapetum weights list)"
        )
    [thing] = nouns
    return NamedThing(
        text=text,
        noun=thing.senses[0].words[0] if thing.kind_of else thing.word,
        classes=thing.classes,
        colour=colours[0] if colours else None,
        ignored=(*(word for word in others if word not in _COLOURS), *((thing.word,) if thing.kind_of else ())),
    )


def remarks(things: Sequence[NamedThing]) -> list[str]:
    """Write a line for each thing of which words are ignored."""
    return [
        f'"{thing.text}" is looked for as {thing.noun}; ignored: {", ".join(thing.ignored)}'
        for thing in things
        if thing.ignored
    ]


def find_regions(encoder: "Encoder", frame: "UInt8[np.ndarray, 'h w 3']", things: Sequence[NamedThing]) -> "ParsedRegions":
    """Find things in an image, with masks; those whose score is below the level of `class_maps` are left out."""
    from tapetum.encoders.class_maps import LEVEL, box_around, dense_probabilities
    from tapetum.systems.paligemma.locations import ParsedRegions
    from tapetum.tracks.masks import outline_map
    from tapetum.types import Boxes, Masks

    dense = dense_probabilities(encoder, frame)
    boxes, masks, labels, scores = [], [], [], []
    for thing in things:
        made = dense.of(thing.classes)
        mask = outline_map(frame, made.odds, made.region)
        box = box_around(mask)
        if box is None or made.score < LEVEL or (thing.colour and name_colour(frame, mask) != thing.colour):
            continue
        boxes.append(box)
        masks.append(mask)
        labels.append(thing.text)
        scores.append(made.score)
    return ParsedRegions(
        boxes=Boxes(np.array(boxes, np.float32).reshape(-1, 4), labels, np.array(scores, np.float32)),
        masks=Masks(np.array(masks, bool).reshape(-1, *frame.shape[:2]), labels, np.array(scores, np.float32)),
        of_box=np.arange(len(boxes)),
        text="",
        malformed=0,
    )
