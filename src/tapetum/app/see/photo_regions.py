"""Boxes and masks of things in photographs, by a classifier run densely (`encoders.class_maps`), colours and edges.

cat               a noun that WordNet has for a class or several; one box at most
black cat         only if most of its pixels are black
big cat           "big" is ignored, which is said
cat ; dog         each on its own

The colour that `ask` says is that of the core of the thing, where its map is high, and fills it more than the surroundings; the
place is that of the middle of its box, in thirds of the image, away from the lines between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.encoders.wordnet import split_nouns
from tapetum.systems.paligemma.prompts import split_things
from tapetum.video.colour_names import COLOURS, colour_shares, name_colour

if TYPE_CHECKING:
    from jaxtyping import Bool, UInt8

    from tapetum.encoders.class_maps import DenseProbabilities, ThingMap
    from tapetum.systems.paligemma.locations import ParsedRegions

CORE, CLEAR = 0.5, 0.7
"""Share of the map's peak from which on a pixel is of the core, and share of the core that has the colour that is said."""
BESIDE = 0.06
"""Widths or heights of the image from a line between thirds within which no side is said; see `evidence/photo-boxes`."""
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


def outline(frame: "UInt8[np.ndarray, 'h w 3']", made: "ThingMap") -> "tuple[Bool[np.ndarray, 'h w'], np.ndarray] | None":
    """Compute mask and box of a thing; None if its score is below the level of `class_maps`."""
    from tapetum.encoders.class_maps import LEVEL, box_around
    from tapetum.tracks.masks import outline_map

    mask = outline_map(frame, made.odds, made.region)
    box = box_around(mask)
    return None if box is None or made.score < LEVEL else (mask, box)


def clear_colour(frame: "UInt8[np.ndarray, 'h w 3']", made: "ThingMap", mask: "Bool[np.ndarray, 'h w']") -> str | None:
    """Name the colour of a thing with a mask; None where it has none that is clear."""
    values = made.enlarged()
    inside, outside = colour_shares(frame, mask & (values >= CORE * values.max())), colour_shares(frame, ~mask)
    best = int(inside.argmax())
    return COLOURS[best] if inside[best] >= CLEAR and outside[best] < inside[best] else None


def find_place(box: "np.ndarray", size: tuple[int, int]) -> tuple[str | None, str | None]:
    """Find the thirds of an image (height, width) with the middle of a box, across and down; None beside a line.

    >>> find_place(np.array([0, 0, 20, 20]), (100, 100)), find_place(np.array([20, 40, 40, 60]), (100, 100))
    (('left', 'top'), (None, 'middle'))
    """
    middle = (box[:2] + box[2:]) / 2 / size[::-1]
    names = ("left", "middle", "right"), ("top", "middle", "bottom")
    near = [min(abs(at - 1 / 3), abs(at - 2 / 3)) < BESIDE for at in middle]
    across, down = (None if close else each[int(at * 3)] for close, at, each in zip(near, middle, names, strict=True))
    return across, down


def say_place(across: str | None, down: str | None) -> str | None:
    """Write where something is; None where no side is known.

    >>> say_place("left", "top"), say_place("middle", "middle"), say_place("middle", "bottom"), say_place(None, "middle")
    ('on the left, at the top', 'in the middle', 'at the bottom', None)
    """
    if across == down == "middle":
        return "in the middle"
    sides = (f"on the {across}" if across in ("left", "right") else "", f"at the {down}" if down in ("top", "bottom") else "")
    return ", ".join(filter(None, sides)) or None


def find_regions(
    dense: "DenseProbabilities", frame: "UInt8[np.ndarray, 'h w 3']", things: Sequence[NamedThing]
) -> "ParsedRegions":
    """Find things in an image, with masks; those whose score is below the level of `class_maps` are left out."""
    from tapetum.systems.paligemma.locations import ParsedRegions
    from tapetum.types import Boxes, Masks

    boxes, masks, labels, scores = [], [], [], []
    for thing in things:
        made = dense.of(thing.classes)
        outlined = outline(frame, made)
        if outlined is None or (thing.colour and name_colour(frame, outlined[0]) != thing.colour):
            continue
        mask, box = outlined
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
