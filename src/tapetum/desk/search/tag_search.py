"""Search by a classifier's names: words are matched with class names, and pieces scored by class probabilities.

Replaces a text encoder if there is none. A word means the classes of its group ("dog": 118 breeds), else those whose names
contain it; with several words, all should be present. Imports no torch.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tapetum.core.errors import BadInput

_LITTLE = frozenset(
    (
        *("a", "an", "the", "of", "on", "in", "at", "by", "to", "with", "and", "or", "for", "from", "is", "are", "it", "its"),
        *("this", "that", "my", "your", "some", "any", "photo", "image", "picture", "video"),
    )
)
"""Words that name nothing."""
_LONGEST = 4
"""Words of the longest name that is looked for."""


@dataclass(frozen=True)
class Meaning:
    """What a word of a query stands for."""

    word: str
    names: frozenset[str]
    """Names of classes, any of which will do."""


def find_meanings(
    words: str, names: Collection[str], groups: Mapping[str, Collection[str]]
) -> tuple[tuple[Meaning, ...], tuple[str, ...]]:
    """Find the class names that a query means, and its words that match none; the longest names first.

    Raises BadInput if no word matches any.

    >>> names = "tabby", "tiger cat", "tiger", "traffic light", "seashore"
    >>> meanings, unknown = find_meanings("a cat by traffic lights", names, {"cat": ("tabby", "tiger cat")})
    >>> [(meaning.word, sorted(meaning.names)) for meaning in meanings], unknown
    ([('cat', ['tabby', 'tiger cat']), ('traffic lights', ['traffic light'])], ())
    """
    tokens = [token for token in _tokens(words) if token not in _LITTLE]
    known = set(names)
    by_name = {name: _tokens(name) for name in names}
    meanings: list[Meaning] = []
    unknown: list[str] = []
    while tokens:
        for length in range(min(_LONGEST, len(tokens)), 0, -1):
            phrase = tokens[:length]
            if meant := known & _meant(phrase, by_name, groups):
                meanings.append(Meaning(" ".join(phrase), frozenset(meant)))
                tokens = tokens[length:]
                break
        else:
            unknown.append(tokens.pop(0))
    if not meanings:
        near = difflib.get_close_matches(" ".join(unknown), [*groups, *names], n=3)
        advice = f"; near are {', '.join(near)}" if near else ""
        raise BadInput(f"no name of the classifier's classes is meant by {words[:80]!r}{advice}; try a common noun in English")
    return tuple(meanings), tuple(unknown)


def score_tags(tags: Iterable[tuple[str, float]], meanings: Collection[Meaning]) -> float:
    """Compute how well tags match a query: the mean over its words of the probability of the classes each one means.

    >>> score_tags([("tabby", 0.5), ("tiger cat", 0.25)], [Meaning("cat", frozenset(("tabby", "tiger cat")))])
    0.75
    """
    given = tuple(tags)
    return sum(p for meaning in meanings for name, p in given if name in meaning.names) / len(meanings)


def _meant(phrase: list[str], by_name: Mapping[str, list[str]], groups: Mapping[str, Collection[str]]) -> set[str]:
    for form in _singulars(phrase):
        if (group := groups.get(" ".join(form))) is not None:
            return set(group)
    matching: set[str] = set()
    for form in _singulars(phrase):
        matching |= {name for name, parts in by_name.items() if _contains(parts, form)}
    return matching


def _contains(parts: list[str], form: list[str]) -> bool:
    return any(parts[k : k + len(form)] == form for k in range(len(parts) - len(form) + 1))


def _singulars(phrase: list[str]) -> list[list[str]]:
    """A phrase unchanged, and with its last word in the singular."""
    *before, last = phrase
    forms = [last]
    if last.endswith("ies") and len(last) > 4:
        forms.append(f"{last[:-3]}y")
    if re.search(r"(s|x|z|ch|sh)es$", last):
        forms.append(last[:-2])
    if last.endswith("s") and not last.endswith("ss") and len(last) > 3:
        forms.append(last[:-1])
    return [[*before, form] for form in forms]


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
