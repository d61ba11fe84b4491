"""What an image shows, in nouns: probabilities of ImageNet's 1,000 classes, summed by WordNet (`wordnet`). Imports no torch.

    classifier   beagle 0.4, basset 0.3, ... -> calibrated -> beagle 0.45, dog 0.96, animal 0.99
    name         the class where it is likely, else the narrowest everyday noun that is: "dog"; else nothing
    presence     yes, no, or nobody knows

What an image is called is there, too, by the same threshold, so that commands do not contradict each other. Softmax outputs of
the EfficientNet-Lite are too unsure; a temperature calibrates them (Guo et al., arXiv 1706.04599). Falling back on a wider noun
is after "Hedging Your Bets" (Deng et al., CVPR 2012).
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from tapetum.encoders.imagenet import class_names
from tapetum.encoders.wordnet import Sense, Thing, find_thing, hypernyms, senses

TEMPERATURE = 0.6
"""Of the logits. It and what follows were chosen by `evidence/photo-questions/photo_questions.py tune`."""
YES, NO = 0.5, 0.03
"""Probability from which on a noun is there, and a name given; up to which it is not there."""
NO_NEAR = 0.01
"""Probability that no class of a noun has anywhere in the image where the noun is not there."""
_PERSON = "n00007846"
"""The sense "person". Three classes are people and others are no class: people are never said to be absent."""
EVERYDAY = frozenset(
    re.findall(
        r"\w[\w ]*\w",
        "dog, cat, big cat, fox, wolf, bear, monkey, ape, elephant, sheep, antelope, rabbit, rodent, whale, "
        "seal, marsupial, bird, duck, owl, parrot, snake, lizard, turtle, frog, salamander, reptile, fish, "
        "shark, insect, butterfly, beetle, spider, crab, lobster, snail, coral, mushroom, fungus, flower, "
        "fruit, vegetable, bread, food, beverage, car, truck, bus, train, bicycle, motorcycle, boat, ship, "
        "airplane, aircraft, vehicle, building, bridge, church, house, fence, hat, shoe, coat, dress, skirt, "
        "swimsuit, garment, headdress, gun, knife, weapon, tool, guitar, piano, drum, musical instrument, "
        "clock, telephone, computer, camera, machine, chair, table, bed, sofa, lamp, furniture, ball, bottle, "
        "cup, pan, pot, bag, box, dish, curtain, toy, mountain, person, animal",
    )
)
"""Nouns that things are called by every day, wider than most classes."""
_KINDS = frozenset(
    re.findall(
        r"\w[\w ]*\w",
        "animal, person, plant, fungus, fruit, vegetable, food, vehicle, building, musical instrument, "
        "furniture, clothing, weapon, tool, container, structure, machine, device",
    )
)
"""Nouns that say what kind of thing something is."""
_UNCOUNTED = frozenset(
    re.findall(
        r"\S+",
        "food clothing furniture cattle corn hay wool velvet guacamole spaghetti meat carbonara dough custard potpie "
        "broccoli cauliflower bread chain-mail coffee sunscreen lotion wine espresso eggnog brass pajama trousers boots "
        "glasses sunglasses trunks bars scuba",
    )
)
"""Words that take no article, as the last or the only word of a name."""


def calibrate(logits: Float[np.ndarray, "*n 1000"]) -> Float[np.ndarray, "*n 1000"]:
    """Compute calibrated probabilities of the classes from a classifier's logits."""
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / TEMPERATURE)
    return powers / powers.sum(-1, keepdims=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassEvidence:
    """Calibrated probabilities of the classes in some images that are looked at together, and at places in each."""

    whole: Float[np.ndarray, "n 1000"]
    regions: Float[np.ndarray, "n r 1000"]

    @property
    def mean(self) -> Float[np.ndarray, " 1000"]:
        """Average the probabilities over the images."""
        return self.whole.mean(0)


def probability(thing: Thing | Sense, evidence: ClassEvidence) -> float:
    """Compute the probability that a noun, in any of its senses, is there: the sum over its classes, in the best image."""
    return float(evidence.whole[:, list(thing.classes)].sum(-1).max())


def is_there(thing: Thing, evidence: ClassEvidence, *, mainly: bool = False) -> bool | None:
    """Decide whether a noun is there, or with `mainly` whether it is what the image shows; None where that is not known.

    A noun is absent only where neither the whole image nor a place in it (but for `mainly`) looks like it, its usual sense is a
    class, and it is no person.
    """
    likely = probability(thing, evidence)
    if likely >= YES and not thing.kind_of:
        return True
    if thing.elsewhere or is_person(thing):
        return None
    near = 0.0 if mainly else float(evidence.regions[..., list(thing.classes)].max(initial=0))
    return False if likely <= NO and near <= NO_NEAR else None


def is_person(thing: Thing) -> bool:
    """Check whether a noun is a person, of whom the classes know three kinds."""
    return any(sense.number == _PERSON for sense in thing.senses)


@dataclass(frozen=True)
class Name:
    """What an image shows."""

    name: str
    """Of a class, or an everyday noun that is wider."""
    noun: str
    """The everyday noun of it; the name itself where there is none."""
    kind: str | None
    """animal, vehicle, ...; None where it is no such thing."""
    probability: float

    @property
    def words(self) -> str:
        """Write the name, with its noun if that adds information."""
        return self.name if self.noun in self.name.lower() else f"{self.name}, a kind of {self.noun}"


def name_image(evidence: ClassEvidence, within: Collection[int] | None = None) -> Name | None:
    """Name what an image shows; None where nothing is likely enough. `within` are the classes to choose from.

    >>> likely = np.zeros((1, 1000))
    >>> likely[0, 161:163] = 0.4, 0.5
    >>> name_image(ClassEvidence(whole=likely, regions=likely[None])).words
    'beagle, a kind of dog'
    >>> likely[0, 162] = 0.4
    >>> name_image(ClassEvidence(whole=likely, regions=likely[None])).words
    'dog'
    """
    mean = evidence.mean
    if within is not None:
        mean = np.where(np.isin(np.arange(len(mean)), list(within)), mean, 0)
    best = int(mean.argmax())
    if mean[best] >= YES:
        noun = _nearest(best, EVERYDAY) or plain_name(best)
        return Name(plain_name(best), noun, _nearest(best, _KINDS), float(mean[best]))
    for number, noun in _by_sense(EVERYDAY).items():
        classes = list(senses()[number].classes)
        if (likely := float(mean[classes].sum())) >= YES:
            return Name(noun, noun, _nearest(classes[0], _KINDS), likely)
    return None


@cache
def plain_name(index: int) -> str:
    """Write the name of a class, without what tells it from another of the same name.

    >>> plain_name(134)
    'crane'
    """
    return re.sub(r" \(.*\)|, .*", "", class_names()[index])


def _nearest(index: int, nouns: frozenset[str]) -> str | None:
    """The narrowest noun of some that a class is a kind of, or is."""
    above = {sense.number for sense in hypernyms(index)}
    return next((noun for number, noun in _by_sense(nouns).items() if number in above), None)


@cache
def _by_sense(nouns: frozenset[str]) -> dict[str, str]:
    """Some nouns by the numbers of their senses, the narrowest first."""
    things = [find_thing(noun, mend=False) for noun in sorted(nouns)]
    pairs = [(sense, thing.word) for thing in things if thing is not None for sense in thing.senses]
    return {sense.number: noun for sense, noun in sorted(pairs, key=lambda pair: len(pair[0].classes))}


def remarks_on(thing: Thing) -> Iterator[str]:
    """Write what a noun is taken for, where it is ambiguous, no class, or misspelt."""
    glosses = "; or: ".join(_short(sense.gloss) for sense in thing.senses)
    if is_mended(thing):
        yield f"{thing.text} is read as {thing.word}"
    if thing.kind_of:
        yield f"{thing.word} is no class, but a kind of {thing.senses[0].words[0]}"
    elif thing.elsewhere:
        yield f"{thing.word} is taken for: {glosses}; none is: {_short(thing.elsewhere)}"
    elif len(thing.senses) > 1:
        yield f"{thing.word} may be: {glosses}; all count"


def _short(gloss: str) -> str:
    return gloss if len(gloss) <= 60 else f"{gloss[:60].rpartition(' ')[0]} ..."


def is_mended(thing: Thing) -> bool:
    """Check whether a noun was found by mending a letter."""
    return find_thing(thing.text, mend=False) is None


def with_article(noun: str) -> str:
    """Put a or an before a noun, if it takes one.

    >>> with_article("beagle"), with_article("abacus"), with_article("hay")
    ('a beagle', 'an abacus', 'hay')
    """
    if noun.rpartition(" ")[2] in _UNCOUNTED:
        return noun
    return f"{'an' if noun[0].lower() in 'aeiou' and not noun.startswith(('unicy', 'European')) else 'a'} {noun}"
