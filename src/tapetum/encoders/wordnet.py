"""What a noun means among the 1,000 classes of ImageNet: synonyms, hypernyms and glosses of WordNet 3.0. Imports no torch.

    dog, dogs, domestic dog     one sense, n02084071, of 118 classes
    crane                       two senses: a bird and a machine
    mouse                       one, the computer's; the animal, its usual sense, is no class
    pony                        no class; a horse, of which it is a kind

Lookup is exact, but for plurals. The probability of a sense is the sum over its classes. `wordnet.txt` has every synset that is
a class or a hypernym of one; `docs/tools/wordnet_table.py` writes it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.encoders.imagenet import synsets

_ENDINGS = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "zes": "z", "men": "man", "s": ""}
"""Endings of plurals and of their singulars, as WordNet's own reader detaches them (morphy(7WN))."""
_AMBIGUOUS = "panda", "amphibian"
"""Words both senses of which are usual, though WordNet has a first."""
_COUNTED_AS = {
    "vehicle": "public transport", "food": "vegetable, edible fruit", "instrument": "musical instrument",
    "airplane": "warplane",
    "sailboat": "catamaran, trimaran, schooner", "boat": "sailboat", "train": "electric locomotive, steam locomotive, "
    "freight car, passenger car, bullet train", "motorcycle": "motor scooter", "clock": "sundial", "watch": "stopwatch",
    "bed": "cradle, crib, studio couch", "shoe": "clog, cowboy boot", "drinking vessel": "cup", "tower": "water tower",
    "house": "mobile home, boathouse, yurt", "building": "castle, prison, lumbermill, shop", "spectacles": "sunglass",
    "rabbit": "hare", "crab": "hermit crab", "sheep": "bighorn", "hog": "wild boar, warthog",
    "mushroom": "agaric, bolete, gyromitra, stinkhorn, earthstar, hen-of-the-woods, coral fungus",
}  # fmt: skip
"""Nouns that English counts as a kind of a thing and WordNet files elsewhere."""


@dataclass(frozen=True)
class Sense:
    """One meaning of a noun: a synset."""

    number: str
    """WordNet's number, n and eight digits."""
    words: tuple[str, ...]
    """Synonyms, the most usual first."""
    gloss: str
    parents: tuple[str, ...]
    """Numbers of its hypernyms."""
    classes: tuple[int, ...]
    """Indices of the classes that are this, or a kind of it."""


@dataclass(frozen=True)
class Noun:
    """A noun and its possible meanings."""

    word: str
    """Singular, as the table has it."""
    senses: tuple[Sense, ...]
    """More than one where the word is ambiguous and none is its usual sense."""
    elsewhere: str | None = None
    """Gloss of its usual sense, if no class has that."""
    kind_of: bool = False
    """No class is this: the sense is the next wider one. Where that is absent so is this; where it is there, nobody knows."""

    @property
    def classes(self) -> tuple[int, ...]:
        """List the indices of the classes of all senses."""
        return tuple(sorted({number for sense in self.senses for number in sense.classes}))


@cache
def senses() -> dict[str, Sense]:
    """List the synsets that are classes or hypernyms of classes, by number.

    >>> senses()["n02084071"].words, len(senses()["n02084071"].classes)
    (('dog', 'domestic dog', 'Canis familiaris'), 118)
    """
    rows = [row for row in _rows() if row[0].isdigit()]
    parents = {f"n{row[0]}": tuple(f"n{number}" for number in row[1].split(",") if number) for row in rows}
    numbers = {row[2].split(",")[0]: f"n{row[0]}" for row in reversed(rows)}  # of two of one name the first
    for noun, kinds in _COUNTED_AS.items():
        for kind in kinds.split(", "):
            parents[numbers[kind]] += (numbers[noun],)
    classes: dict[str, list[int]] = {number: [] for number in parents}
    for index, number in enumerate(synsets()):
        for above in _chain(number, parents):
            classes[above].append(index)
    return {
        (number := f"n{row[0]}"): Sense(number, tuple(row[2].split(",")), row[3], parents[number], tuple(classes[number]))
        for row in rows
    }


def hypernyms(index: int) -> tuple[Sense, ...]:
    """List a class's own sense and its hypernyms up to "entity", the nearest first.

    >>> [sense.words[0] for sense in hypernyms(281)][:4]
    ['tabby', 'domestic cat', 'cat', 'domestic animal']
    """
    parents = {number: sense.parents for number, sense in senses().items()}
    return tuple(senses()[number] for number in _chain(synsets()[index], parents))


def find_noun(text: str) -> Noun | None:
    """Look up a noun of one or more words, with or without an article; None if the table does not have it.

    >>> find_noun("the Traffic lights").word, find_noun("zebbra"), find_noun("black cat"), find_noun("democracy")
    ('traffic light', None, None, None)
    >>> [sense.gloss[:27] for sense in find_noun("cranes").senses], find_noun("mouse").elsewhere[:29]
    (['large long-necked wading bi', 'lifts and moves heavy objec'], 'any of numerous small rodents')
    >>> find_noun("pony").kind_of, find_noun("pony").senses[0].words[0]
    (True, 'horse')
    """
    for word in _singulars(re.sub("^(?:an?|the) ", "", _plain(text))):
        if word in _by_word():
            return Noun(word, _by_word()[word], _lines("other").get(word))
        if word in (wider := _lines("kind")):
            return Noun(word, (senses()[f"n{wider[word]}"],), kind_of=True)
    return None


@cache
def _rows() -> tuple[list[str], ...]:
    try:
        text = Path(__file__).with_name("wordnet.txt").read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"the table of nouns, wordnet.txt, cannot be read ({error}); install tapetum again") from error
    return tuple(line.split("\t") for line in text.splitlines() if not line.startswith("#"))


@cache
def _lines(sort: str) -> dict[str, str]:
    """Read the table's lines of one sort (first, other, kind, plural): the value of each word."""
    return {_plain(row[1]): row[2] for row in _rows() if row[0] == sort}


@cache
def _by_word() -> dict[str, tuple[Sense, ...]]:
    meanings: dict[str, tuple[Sense, ...]] = {}
    for sense in senses().values():
        for word in map(_plain, sense.words):
            meanings[word] = (*meanings.get(word, ()), sense)
    usual = {word: (senses()[f"n{number}"],) for word, number in _lines("first").items()}
    return {**meanings, **usual, **{word: meanings[word] for word in _AMBIGUOUS}}


def _chain(number: str, parents: dict[str, tuple[str, ...]]) -> list[str]:
    """List a synset and everything above it, breadth first."""
    chain = [number]
    for each in chain:  # it grows as it is read
        chain += [parent for parent in parents[each] if parent not in chain]
    return chain


def _plain(text: str) -> str:
    """Write a text in lower case, as words of letters and digits between single spaces."""
    return " ".join(re.findall(r"[^\W_]+", text.lower().replace("'s", "s").replace("'", "")))


def _singulars(noun: str) -> Iterator[str]:
    """Yield a noun as it stands, then the singulars that its last word may have."""
    yield noun
    *before, last = noun.split() or [""]
    singulars = [last[: -len(ending)] + single for ending, single in _ENDINGS.items() if last.endswith(ending)]
    for single in ([_lines("plural")[last]] if last in _lines("plural") else []) + singulars:
        yield " ".join([*before, single])
