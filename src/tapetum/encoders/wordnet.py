"""What nouns mean among the 1,000 classes of ImageNet: synonyms, hypernyms and glosses of WordNet 3.0. Imports no torch.

    dog, dogs, domestic dog     one sense, n02084071, of 118 classes
    crane                       two senses: a bird and a machine
    mouse                       one, the computer's; the animal, its usual sense, is no class
    lighthouse                  the class "beacon"
    grey whale, gray whales     one class
    zebbra                      zebra, with one wrong letter
    pony                        no class; a horse, of which it is a kind

The probability of a sense is the sum over its classes. `wordnet.txt` has every synset that is a class or a hypernym of one;
`docs/tools/wordnet_table.py` writes it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.encoders.imagenet import synsets

_LONGEST = 4
"""Words of a noun that are read together in a sentence."""
_MISSPELT = 5
"""Letters from which on one wrong letter is mended; shorter words are one letter from too many others."""
_ENDINGS = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "zes": "z", "men": "man", "s": ""}
"""Endings of plurals and of their singulars, as WordNet's own reader detaches them (morphy(7WN))."""
_AMERICAN = {"colour": "color", "grey": "gray", "tyre": "tire", "theatre": "theater", "centre": "center", "plough": "plow",
             "moustache": "mustache", "pyjama": "pajama", "aluminium": "aluminum", "catalogue": "catalog"}  # fmt: skip
_EVERYDAY = {
    "lorry": "truck",
    "tv": "television",
    "people": "person",
    "bike": "bicycle",
    "beach": "seashore",
    "sea": "seashore",
}
_EVERYDAY_KINDS = dict.fromkeys(re.findall(r"\w+", "man woman child kid boy girl baby"), "person") | {
    "kitten": "cat",
    "puppy": "dog",
}
"""Usual words that WordNet files elsewhere: synonyms, and kinds of a thing."""
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
"""What English counts as a kind of a thing, and WordNet files elsewhere."""
_NOT_NAMED = frozenset(
    re.findall(
        r"\w+",
        "a an the is are was be being can will may in it at no on so or as do go any all other area part thing things object "
        "objects group whole unit line structure way kind there what where",
    )
)
"""Words that are nouns of the table, too, and never what a sentence is about."""
_ARTICLES = frozenset(("a", "an", "the", "some", "any", "this", "that", "these", "those", "my", "your", "and"))


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
class Thing:
    """A noun of a text, and what it may mean."""

    text: str
    """As it stands in the text, in lower case."""
    word: str
    """The noun in the table: singular, spelling mended."""
    senses: tuple[Sense, ...]
    """More than one where the word is ambiguous and none is its usual sense."""
    elsewhere: str | None
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


def find_thing(text: str, *, mend: bool = True) -> Thing | None:
    """Find what a noun, of one or more words, may mean; None if it has nothing to do with any class.

    >>> find_thing("Lighthouses").word, find_thing("zebbra").word, find_thing("democracy")
    ('lighthouse', 'zebra', None)
    >>> [sense.gloss[:27] for sense in find_thing("cranes").senses], find_thing("mouse").elsewhere[:29]
    (['large long-necked wading bi', 'lifts and moves heavy objec'], 'any of numerous small rodents')
    >>> find_thing("pony").kind_of, find_thing("pony").senses[0].words[0]
    (True, 'horse')
    """
    noun = _plain(text)
    for word in _spellings(noun):
        if (known := _EVERYDAY.get(word, word)) in _by_word():
            return Thing(noun, known, _by_word()[known], _lines("other").get(known))
        if word in _EVERYDAY_KINDS:
            return Thing(noun, word, _by_word()[_EVERYDAY_KINDS[word]], None, kind_of=True)
        if word in (wider := _lines("kind")):
            return Thing(noun, word, (senses()[f"n{wider[word]}"],), None, kind_of=True)
    for word in _mended(noun) if mend else ():
        return Thing(noun, word, _by_word()[word], _lines("other").get(word))
    return None


def find_things(text: str) -> tuple[Thing, ...]:
    """Find the nouns of a sentence in order, the longest possible first; see `split_nouns`.

    >>> [thing.word for thing in find_things("Are there hot dogs near the sports car?")]
    ['hot dog', 'sports car']
    """
    return split_nouns(text)[0]


def split_nouns(text: str) -> tuple[tuple[Thing, ...], tuple[str, ...]]:
    """Find the nouns of a sentence and its other words, articles left out; spelling is mended where there is one noun at most.

    >>> [thing.word for thing in split_nouns("a black cat by the sea")[0]], split_nouns("a black cat by the sea")[1]
    (['cat', 'seashore'], ('black', 'by'))
    """
    words = _plain(text).split()
    things: list[Thing] = []
    others: list[str] = []
    first = 0
    while first < len(words):
        count = 1
        for length in range(min(_LONGEST, len(words) - first), 0, -1):
            noun = " ".join(words[first : first + length])
            if noun not in _NOT_NAMED and (thing := find_thing(noun, mend=False)) is not None:
                things.append(thing)
                count = length
                break
        else:
            others += [words[first]] if words[first] not in _ARTICLES else []
        first += count
    if not things and len(others) <= _LONGEST and (thing := find_thing(" ".join(others))) is not None:
        return (thing,), ()
    return tuple(things), tuple(others)


@cache
def _rows() -> tuple[list[str], ...]:
    try:
        text = Path(__file__).with_name("wordnet.txt").read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"the table of nouns, wordnet.txt, cannot be read ({error}); install tapetum again") from error
    return tuple(line.split("\t") for line in text.splitlines() if not line.startswith("#"))


@cache
def _lines(sort: str) -> dict[str, str]:
    """What stands after each word in the lines of one sort: first, other, kind or plural."""
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
    """A synset and everything above it, breadth first."""
    chain = [number]
    for each in chain:  # it grows as it is read
        chain += [parent for parent in parents[each] if parent not in chain]
    return chain


def _plain(text: str) -> str:
    """Lower case, words of letters and digits between single spaces."""
    return " ".join(re.findall(r"[^\W_]+", text.lower().replace("'s", "s").replace("'", "")))


def _spellings(noun: str) -> Iterator[str]:
    """The noun as it stands, American, and the singulars of its last word."""
    for british, american in _AMERICAN.items():
        noun = noun.replace(british, american)
    yield noun
    *before, last = noun.split() or [""]
    singulars = [last[: -len(ending)] + single for ending, single in _ENDINGS.items() if last.endswith(ending)]
    for single in ([_lines("plural")[last]] if last in _lines("plural") else []) + singulars:
        yield " ".join([*before, single])


def _mended(noun: str) -> Iterator[str]:
    """Nouns of the table one letter away: added, missing, another, or two exchanged; none if several are."""
    if len(noun) < _MISSPELT:
        return
    letters = "abcdefghijklmnopqrstuvwxyz"
    parts = [(noun[:k], noun[k:]) for k in range(len(noun) + 1)]
    near = {left + right[1:] for left, right in parts if right}
    near |= {left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1}
    near |= {left + letter + right[cut:] for left, right in parts for letter in letters for cut in (0, 1)}
    nouns = {word for each in near for word in _spellings(each) if word in _by_word()}
    if len({_by_word()[word] for word in nouns}) == 1:
        yield min(nouns)
