"""Whether a box that a model labelled is one that was asked for.

A model that knows few nouns answers `detect cat` with the box of a cup and calls it "cup". The published models repeat what
they were asked for. So a box counts where its label names what was asked: the same words, but for case, articles and plural, or
some of them with the noun among them ("cup" for "red cup on the table"). A box without a label is taken as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tapetum.systems.paligemma.locations import Found
from tapetum.systems.paligemma.prompts import DETECT_ALL, split_things

_ARTICLES = frozenset(re.findall(r"\w+", "a an the any all some every each my your this that these those"))
_TAIL = frozenset(
    re.findall(
        r"\w+",
        "in on of at by with without near behind under below above over inside beside next left right to from that which who "
        "holding wearing standing sitting lying",
    )
)
"""Words with which what follows the noun begins."""


def things_of(prompt: str) -> list[str] | None:
    """Give the things that a prompt of `detect` or `segment` names; None for other prompts and for all things.

    >>> things_of("detect cat ; red dog"), things_of("detect all classes"), things_of("caption en")
    (['cat', 'red dog'], None, None)
    """
    kind, _, rest = prompt.partition(" ")
    return split_things(rest) if kind in ("detect", "segment") and prompt != DETECT_ALL else None


def answers_to(label: str, things: Sequence[str]) -> bool:
    """Tell whether a label names one of the things.

    >>> answers_to("cup", ["cat"]), answers_to("cup", ["the red Cups"]), answers_to("table", ["cup on a table"])
    (False, True, False)
    """
    told = _words(label)
    return not told or any(_names(told, _words(thing)) for thing in things)


def only_asked(found: Found, things: Sequence[str] | None) -> Found:
    """Leave out boxes and masks that are of other things than `things`, and note their labels as `unasked`."""
    if things is None:
        return found
    boxes, masks = found.boxes, found.masks
    keep = np.array([answers_to(label, things) for label in boxes.labels], bool)
    if keep.all():
        return found
    assert boxes.scores is not None
    assert masks.scores is not None
    rows = np.flatnonzero(keep).tolist()
    mine = np.flatnonzero(keep[found.of_box]).tolist()
    return replace(
        found,
        boxes=replace(boxes, xyxy=boxes.xyxy[rows], labels=[boxes.labels[k] for k in rows], scores=boxes.scores[rows]),
        masks=replace(masks, masks=masks.masks[mine], labels=[masks.labels[k] for k in mine], scores=masks.scores[mine]),
        of_box=(np.cumsum(keep) - 1)[found.of_box[mine]],
        unasked=tuple(label for label, kept in zip(boxes.labels, keep, strict=True) if not kept),
    )


def _names(told: list[str], thing: list[str]) -> bool:
    if told == thing:
        return True
    end = next((k for k, word in enumerate(thing) if k and word in _TAIL), len(thing))
    return bool(thing) and set(told) <= set(thing) and thing[end - 1] in told


def _words(text: str) -> list[str]:
    words = re.findall(r"\w+", text.casefold())
    return [_singular(word) for word in words if word not in _ARTICLES] or [_singular(word) for word in words]


def _singular(word: str) -> str:
    """Cut what makes a plural of a word, alike for both sides of a comparison."""
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith(("xes", "ses", "ches", "shes")):
        return word[:-2]
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
