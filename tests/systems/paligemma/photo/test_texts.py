"""Nouns, questions and scores about photographs: tables against hand-made cases, answers against their questions."""

import re

import numpy as np
import pytest

from tapetum.encoders.imagenet import class_kinds, class_names
from tapetum.systems.paligemma.photo import texts
from tapetum.systems.paligemma.photo.scores import ShareRight, commonest, names_any, probes_of, score_answers
from tapetum.systems.paligemma.photo.texts import (
    CANNOT_SAY,
    Nouns,
    askable,
    class_nouns,
    normalised,
    pairs_about,
    there_pair,
    with_article,
)

CLASSES = {
    "goldfish": ("fish", "animal"),
    "bald eagle": ("eagle", "animal"),
    "king penguin": ("penguin", "animal"),
    "beagle": ("dog", "animal"),
    "tabby": ("cat", "animal"),
    "zebra": ("zebra", "animal"),
    "monarch": ("butterfly", "animal"),
    "sports car": ("car", "vehicle"),
    "container ship": ("ship", "vehicle"),
    "electric guitar": ("electric guitar", "instrument"),
    "hammer": ("hammer", "tool"),
    "rocking chair": ("chair", "furniture"),
    "church": ("church", "building"),
    "cowboy hat": ("hat", "clothing"),
    "pizza": ("pizza", "food"),
    "daisy": ("flower", "plant"),
    "volcano": ("mountain", "place"),
    "abacus": ("abacus", "object"),
}


def about(name: str) -> Nouns:
    return class_nouns()[class_names().index(name)]


@pytest.mark.parametrize(("name", "noun", "kind"), [(name, *rest) for name, rest in CLASSES.items()])
def test_a_class_has_the_noun_and_the_kind_that_people_use(name: str, noun: str, kind: str):
    assert (about(name).noun, about(name).kind) == (noun, kind)


def test_every_class_has_a_kind_and_no_noun_is_too_wide():
    assert len(class_kinds()) == len(class_nouns()) == 1000
    assert {kind for number, kind in enumerate(class_kinds()) if number < 398} == {"animal"}
    assert not {each.noun for each in class_nouns() if each.noun != each.name} & texts.WIDE
    assert not set(askable()) & texts.UNTRUE
    assert all(each.noun in each.accepted and each.accepted <= each.true | texts.UNTRUE for each in class_nouns())


def test_answers_agree_with_their_questions():
    """Each template's answer, derived anew from the class."""
    rng = np.random.default_rng(0)
    seen = set()
    known = {*askable(), *(n.name.lower() for n in class_nouns()), *(n.noun.lower() for n in class_nouns())}
    for number in rng.integers(0, 1000, 150).tolist():
        each = class_nouns()[number]
        for pair in pairs_about(each, rng, 5):
            question = pair.prefix.removeprefix("answer en ")
            seen.add(pair.kind)
            assert "{" not in pair.prefix + pair.suffix
            if pair.kind == "there":
                things = [n for n in known if n[:3] in question and names_any(question, [n, texts.plural(n)])]
                assert things, question
                named = max(things, key=len)
                assert pair.suffix == ("yes" if named in each.true else "no"), (question, each)
            elif pair.kind == "which-not":
                assert pair.suffix.endswith(f": {each.noun}")
                assert not names_any(question, [each.kind])
            elif pair.kind == "either":
                assert pair.suffix in each.true | {each.noun}
                assert names_any(question, [pair.suffix])
            elif pair.kind == "other":
                assert pair.suffix == CANNOT_SAY
            elif pair.kind == "kind":
                assert pair.suffix == with_article(each.kind)
            else:
                assert names_any(pair.suffix, each.accepted), (question, pair.suffix)
    assert seen == {"what", "which", "which-not", "name", "kind", "there", "either", "other", "caption"}


def test_half_of_the_questions_of_yes_and_no_are_true():
    rng = np.random.default_rng(0)
    answers = [there_pair(about("beagle"), about("beagle").true, rng).suffix for _ in range(400)]
    assert 160 < answers.count("yes") < 240


def test_questions_are_read_as_templates_have_them():
    assert normalised(" Is there  a DOG") == "is there a dog?"
    assert all(normalised(template) == template for template in texts.WHAT)
    assert not re.search(r"[A-Z]", "".join((*texts.WHAT, *texts.WHICH, *texts.THERE, *texts.EITHER, *texts.OTHER)))


def test_scores_count_what_the_rule_says():
    shown = [about("beagle"), about("sports car")]
    probes = probes_of(shown)
    right = {
        "what": {0: "terrier, a kind of dog", 1: "convertible car"},
        "exact": {0: "beagle, a kind of dog", 1: "car"},  # the second is not exact
        "animal": {0: "dog"},
        "vehicle": {1: "animal"},  # wrong
        "kind": {0: "an animal", 1: "a vehicle"},
        "caption": {0: "a photo of a wolf", 1: "a photo of a car"},  # the first is wrong
        "dog": {0: "yes", 1: "yes"},  # the second is wrong, where it is asked
    }
    answers = [right.get(probe.group, {}).get(probe.image, "yes") for probe in probes]
    scores = score_answers(probes, answers)
    assert {group: scores[group] for group in ("what", "exact", "animal", "vehicle", "kind", "caption")} == {
        "what": ShareRight(right=2, count=2),
        "exact": ShareRight(right=1, count=2),
        "animal": ShareRight(right=1, count=1),
        "vehicle": ShareRight(right=0, count=1),
        "kind": ShareRight(right=2, count=2),
        "caption": ShareRight(right=1, count=2),
    }
    assert scores["there"] == ShareRight(right=2, count=4)
    assert commonest(probes)["there"].share == 0.5
