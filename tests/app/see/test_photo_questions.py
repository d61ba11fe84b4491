"""Questions about photographs are read by their frame and their nouns, and answered by probabilities or not at all."""

import numpy as np
import pytest
from tests.support.class_evidence import evidence

from tapetum.app.see.photo_questions import CANNOT_SAY, answer_question, read_question
from tapetum.encoders.naming import ClassEvidence

DOG = evidence(beagle=0.95)


def answered(question: str, **likely: float) -> str:
    return answer_question(read_question(question), evidence(**likely) if likely else DOG)[0]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is this?", "beagle, a kind of dog"),
        ("What's in this picture?", "beagle, a kind of dog"),
        ("name this.", "beagle, a kind of dog"),
        ("answer en what do you see", "beagle, a kind of dog"),
        ("what animal is this?", "beagle, a kind of dog"),
        ("What breed of dog is it?", "beagle, a kind of dog"),
        ("what is this animal called?", "beagle, a kind of dog"),
        ("what vehicle is this?", "no vehicle: beagle, a kind of dog"),
        ("what kind of thing is this?", "an animal"),
        ("is there a dog?", "yes"),
        ("are there any dogs in the image?", "yes"),
        ("is it an animal", "yes"),
        ("Do you see a cat?", "no"),
        ("is this a lighthouse?", "no"),
        ("is it a dog or a wolf?", "dog"),
        ("do you see a cat, a dog or a bird?", "dog"),
        ("is it a cat or a bird?", "neither"),
        ("dog", "yes"),
        ("is there a zebbra?", "no"),
        ("caption en", "a photo of a beagle, a kind of dog"),
    ],
)
def test_what_can_be_said(question: str, answer: str) -> None:
    assert answered(question) == answer


@pytest.mark.parametrize(
    "question",
    [
        "what colour is the dog?",
        "how many dogs are there?",
        "what does the sign say?",
        "who is this?",
        "what is the dog doing?",
        "is the dog asleep?",
        "is there a black dog?",
        "is there no dog?",
        "is it not a dog?",
        "what is left of the dog?",
        "is there a person?",
        "is there a man?",
        "is there a puppy?",
        "is there a mouse?",
        "is it happy?",
        "is it raining?",
        "is there a flurb?",
        "is it red or blue?",
        "это собака?",
        "猫",
        "???",
        "is " * 10_000,
        "x" * 99_000,
        "is there a " + "dog " * 10_000,
    ],
)
def test_what_cannot_be_said(question: str) -> None:
    assert answered(question) == CANNOT_SAY


def test_an_adjective_leaves_a_no_and_takes_a_yes_and_is_named_in_a_remark() -> None:
    assert answered("is there a black cat?") == "no"
    assert list(read_question("is there a black dog?").remarks()) == ["not looked at: black; the classifier knows nouns alone"]


def test_of_two_senses_the_answer_says_which_is_there() -> None:
    assert answered("is there a crane?", **{"crane_(machine)": 0.9}) == "yes: crane"
    assert any("bird" in remark for remark in read_question("is there a crane?").remarks())


def test_several_images_are_one_question() -> None:
    cat = evidence(tabby=0.95)
    both = ClassEvidence(whole=np.concatenate((DOG.whole, cat.whole)), regions=np.concatenate((DOG.regions, cat.regions)))
    assert answer_question(read_question("is there a cat?"), both)[0] == "yes"
    assert answer_question(read_question("is there a cat and a dog?"), both)[0] == "yes"
    assert answer_question(read_question("what is this?"), both)[0] == "animal"
