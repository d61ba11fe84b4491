"""Matching of a model's box labels with the objects named in a prompt.

A model that knows few nouns may answer `detect cat` with the box of a cup, labelled "cup". The published models repeat the
requested name. So a box counts only if its label names a requested object: the same words, ignoring case, articles and plural,
or some of them including the noun ("cup" for "red cup on the table"). A box without a label is accepted.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tapetum.systems.paligemma.locations import ParsedRegions
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


def requested_objects(prompt: str) -> list[str] | None:
    """List the objects that a prompt of `detect` or `segment` names; None for other prompts and for all objects.

    >>> requested_objects("detect cat ; red dog"), requested_objects("detect all classes"), requested_objects("caption en")
    (['cat', 'red dog'], None, None)
    """
    kind, _, rest = prompt.partition(" ")
    return split_things(rest) if kind in ("detect", "segment") and prompt != DETECT_ALL else None


def label_matches(label: str, things: Sequence[str]) -> bool:
    """Check whether a label names one of the objects.

    >>> label_matches("cup", ["cat"]), label_matches("cup", ["the red Cups"]), label_matches("table", ["cup on a table"])
    (False, True, False)
    """
    label_words = _words(label)
    return not label_words or any(_names(label_words, _words(thing)) for thing in things)


def keep_requested(parsed: ParsedRegions, things: Sequence[str] | None) -> ParsedRegions:
    """Select boxes and masks of `things`, and list the labels of the others as `unasked`."""
    if things is None:
        return parsed
    boxes, masks = parsed.boxes, parsed.masks
    keep = np.array([label_matches(label, things) for label in boxes.labels], bool)
    if keep.all():
        return parsed
    assert boxes.scores is not None
    assert masks.scores is not None
    rows = np.flatnonzero(keep).tolist()
    mine = np.flatnonzero(keep[parsed.of_box]).tolist()
    return replace(
        parsed,
        boxes=replace(boxes, xyxy=boxes.xyxy[rows], labels=[boxes.labels[k] for k in rows], scores=boxes.scores[rows]),
        masks=replace(masks, masks=masks.masks[mine], labels=[masks.labels[k] for k in mine], scores=masks.scores[mine]),
        of_box=(np.cumsum(keep) - 1)[parsed.of_box[mine]],
        unasked=tuple(label for label, kept in zip(boxes.labels, keep, strict=True) if not kept),
    )


def _names(label_words: list[str], object_words: list[str]) -> bool:
    if label_words == object_words:
        return True
    end = next((k for k, word in enumerate(object_words) if k and word in _TAIL), len(object_words))
    return bool(object_words) and set(label_words) <= set(object_words) and object_words[end - 1] in label_words


def _words(text: str) -> list[str]:
    words = re.findall(r"\w+", text.casefold())
    return [_singular(word) for word in words if word not in _ARTICLES] or [_singular(word) for word in words]


def _singular(word: str) -> str:
    """Strip a word's plural ending, the same way for both sides of a comparison."""
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith(("xes", "ses", "ches", "shes")):
        return word[:-2]
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
