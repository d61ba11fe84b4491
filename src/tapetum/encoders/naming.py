"""What an image shows, in nouns: probabilities of ImageNet's 1,000 classes, summed by WordNet (`wordnet`). Imports no torch.

    classifier   beagle 0.4, basset 0.3, ... -> calibrated -> beagle 0.45, dog 0.96, animal 0.99
    name         the class where it is likely, else the narrowest everyday noun that is: "dog"; else nothing
    presence     yes, no, or nobody knows

Softmax outputs of the EfficientNet-Lite are too unsure; a temperature calibrates them (Guo et al., arXiv 1706.04599). Falling
back on a wider noun is after "Hedging Your Bets" (Deng et al., CVPR 2012).
"""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from tapetum.encoders.imagenet import class_names
from tapetum.encoders.wordnet import Noun, find_noun, hypernyms, senses

TEMPERATURE = 0.6
"""Of the logits. It and what follows were chosen on photographs (docs/evidence/photos.md)."""
YES, NO = 0.5, 0.03
"""Probability from which on a noun is there, and a name given; up to which it is not there."""
NO_NEAR = 0.01
"""Highest probability of a noun's classes at any place of an image that does not show it."""
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


def calibrate(logits: Float[np.ndarray, "*n 1000"]) -> Float[np.ndarray, "*n 1000"]:
    """Compute calibrated probabilities of the classes from a classifier's logits."""
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / TEMPERATURE)
    return powers / powers.sum(-1, keepdims=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassEvidence:
    """Calibrated probabilities of the classes in some images that are looked at together, and at places in each."""

    whole: Float[np.ndarray, "n 1000"]
    regions: Float[np.ndarray, "n r 1000"]


def probability(noun: Noun, evidence: ClassEvidence) -> float:
    """Compute the probability that a noun, in any of its senses, is there: the sum over its classes, in the best image."""
    return float(evidence.whole[:, list(noun.classes)].sum(-1).max())


def is_there(noun: Noun, evidence: ClassEvidence) -> bool | None:
    """Decide whether a noun is there; None where that is not known.

    A noun is absent only where neither the whole image nor a place in it looks like it, its usual sense is a class, and it is
    no person.
    """
    likely = probability(noun, evidence)
    if likely >= YES and not noun.kind_of:
        return True
    if noun.elsewhere or any(sense.number == _PERSON for sense in noun.senses):
        return None
    near = float(evidence.regions[..., list(noun.classes)].max(initial=0))
    return False if likely <= NO and near <= NO_NEAR else None


def name_image(evidence: ClassEvidence) -> tuple[str, float] | None:
    """Name what images show together, with its probability; None where nothing is likely enough.

    >>> likely = np.zeros((1, 1000))
    >>> likely[0, 161:163] = 0.4, 0.5
    >>> name_image(ClassEvidence(whole=likely, regions=likely[None]))
    ('beagle, a kind of dog', 0.5)
    >>> likely[0, 162] = 0.4
    >>> name_image(ClassEvidence(whole=likely, regions=likely[None]))
    ('dog', 0.8)
    """
    mean = evidence.whole.mean(0)
    best = int(mean.argmax())
    if mean[best] >= YES:
        name, above = plain_name(best), {sense.number for sense in hypernyms(best)}
        noun = next((noun for number, noun in _everyday().items() if number in above), name)
        return name if noun in name.lower() else f"{name}, a kind of {noun}", float(mean[best])
    for number, noun in _everyday().items():
        if (likely := float(mean[list(senses()[number].classes)].sum())) >= YES:
            return noun, likely
    return None


@cache
def plain_name(index: int) -> str:
    """Write the name of a class, without what tells it from another of the same name.

    >>> plain_name(134)
    'crane'
    """
    return re.sub(r" \(.*\)|, .*", "", class_names()[index])


@cache
def _everyday() -> dict[str, str]:
    """List the everyday nouns by the numbers of their senses, the narrowest first."""
    nouns = filter(None, map(find_noun, sorted(EVERYDAY)))
    pairs = [(sense, noun.word) for noun in nouns for sense in noun.senses]
    return {sense.number: word for sense, word in sorted(pairs, key=lambda pair: len(pair[0].classes))}
