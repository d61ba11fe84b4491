"""Search by a classifier's names: nouns are matched with classes by WordNet, and pieces scored by class probabilities.

Replaces a text encoder if there is none. A noun means the classes of all its senses ("dog": 118 breeds); of a classifier with
names of its own it is the name itself. Of several nouns all should be present. Imports no torch.
"""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tapetum.core.errors import BadInput
from tapetum.encoders.imagenet import class_names
from tapetum.encoders.naming import remarks_on
from tapetum.encoders.wordnet import senses, split_nouns

SHARE, UNLIKELY = 0.25, 0.1
"""Share of the best score that a result has at least, and score below which even the best is said to be unlikely.
`evidence/photo-questions/photo_questions.py search` measures what comes of it."""


@dataclass(frozen=True)
class Meaning:
    """What a noun of a query stands for."""

    word: str
    names: frozenset[str]
    """Names of classes, any of which will do."""


def find_meanings(words: str, names: Collection[str]) -> tuple[tuple[Meaning, ...], tuple[str, ...]]:
    """Find the class names that the nouns of a query mean, and remarks: what each is taken for, and which words were ignored.

    Adjectives and other words are never compared with parts of names. Raises BadInput if no noun means any.

    >>> meanings, remarks = find_meanings("a black cat by traffic lights", class_names())
    >>> [(meaning.word, len(meaning.names)) for meaning in meanings], remarks
    ([('cat', 7), ('traffic light', 1)], ('not looked for: black, by; the classifier knows nouns alone',))
    """
    known = set(names)
    things, ignored = split_nouns(words)
    meanings = [
        Meaning(thing.word, frozenset(meant))
        for thing in things
        if (meant := known & {class_names()[number] for number in thing.classes})
    ]
    own = {name.lower(): name for name in known.difference(class_names())}
    meanings += [Meaning(word, frozenset((own[word],))) for word in ignored if word in own]
    ignored = tuple(word for word in ignored if word not in own)
    if not meanings:
        near = difflib.get_close_matches(words[:80].lower(), [word for each in senses().values() for word in each.words], n=3)
        advice = f"; near are {', '.join(near)}" if near else ""
        raise BadInput(f"no name of the classifier's classes is meant by {words[:80]!r}{advice}; try a common noun in English")
    remarks = [remark for thing in things for remark in remarks_on(thing)]
    if ignored:
        remarks.append(f"not looked for: {', '.join(ignored)[:200]}; the classifier knows nouns alone")
    return tuple(meanings), tuple(remarks)


def score_tags(tags: Iterable[tuple[str, float]], meanings: Collection[Meaning]) -> float:
    """Compute how well tags match a query: the mean over its nouns of the probability of the classes each one means.

    >>> score_tags([("tabby", 0.5), ("tiger cat", 0.25)], [Meaning("cat", frozenset(("tabby", "tiger cat")))])
    0.75
    """
    given = tuple(tags)
    return sum(p for meaning in meanings for name, p in given if name in meaning.names) / len(meanings)
