"""Names and presence by the probabilities of classes, one rule for both."""

import numpy as np
import pytest
from tests.support.class_evidence import evidence

from tapetum.encoders import naming
from tapetum.encoders.naming import ClassEvidence, calibrate, is_there, name_image, probability
from tapetum.encoders.wordnet import Noun, find_noun


def noun(word: str) -> Noun:
    found = find_noun(word)
    assert found is not None
    return found


def test_calibration_raises_what_is_likely_and_adds_up() -> None:
    logits = np.log(np.array([[0.5, *np.full(999, 0.5 / 999)]]))
    made = calibrate(logits)
    assert made.sum() == pytest.approx(1)
    powers = np.array([0.5, *np.full(999, 0.5 / 999)]) ** (1 / naming.TEMPERATURE)
    assert made[0, 0] == pytest.approx(powers[0] / powers.sum())


def test_a_class_is_named_where_it_is_likely_and_else_its_noun() -> None:
    for likely, name in (({"beagle": 0.9}, "beagle, a kind of dog"), (dict.fromkeys(("beagle", "basset", "pug"), 0.3), "dog")):
        named = name_image(evidence(**likely))
        assert named is not None
        assert named[0] == name
        assert named[1] == pytest.approx(0.9, abs=0.02)
    assert name_image(evidence(beagle=0.3, plow=0.3, pizza=0.3)) is None
    grey = ClassEvidence(whole=np.full((1, 1000), 1e-3), regions=np.full((1, 9, 1000), 1e-3))
    assert name_image(grey) is None


def test_whatever_is_named_is_there() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        logits = rng.normal(0, 3, (1, 1000)) + 6 * np.eye(1000)[rng.integers(1000)]
        shown = ClassEvidence(whole=calibrate(logits), regions=calibrate(logits)[None])
        if named := name_image(shown):
            thing = noun(named[0].partition(", ")[0])
            assert probability(thing, shown) >= naming.YES or thing.elsewhere or len(thing.senses) > 1


def test_presence_is_the_sum_of_classes_with_a_middle() -> None:
    dogs = evidence(beagle=0.3, basset=0.3, pug=0.3)
    assert is_there(noun("dog"), dogs) is True
    assert is_there(noun("beagle"), dogs) is None
    assert is_there(noun("zebra"), dogs) is False
    assert is_there(noun("poodle"), evidence(beagle=0.9)) is False


def test_what_a_region_shows_is_not_said_to_be_absent() -> None:
    shown = evidence({"sports car": 0.3}, beagle=0.9)
    assert is_there(noun("car"), shown) is None


def test_people_kinds_and_other_senses_are_never_denied_or_claimed_without_evidence() -> None:
    assert is_there(noun("person"), evidence(beagle=0.9)) is None
    assert is_there(noun("person"), evidence(groom=0.9)) is True
    assert is_there(noun("pony"), evidence(sorrel=0.9)) is None
    assert is_there(noun("pony"), evidence(beagle=0.9)) is False
    assert is_there(noun("mouse"), evidence(beagle=0.9)) is None  # the animal is no class
