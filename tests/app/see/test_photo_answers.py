"""What a classifier answers about photographs: names, presence of nouns, boxes and masks; else that it cannot say."""

import numpy as np
import pytest
from tests.support.class_evidence import evidence
from tests.support.colour_classifier import ColourClassifier

import tapetum
from tapetum.app.see.answer import ChosenAnswer
from tapetum.app.see.photo_answers import PhotoAnswerer, answer_prompt, read_things
from tapetum.app.see.settings import CANNOT_SAY
from tapetum.core.errors import BadInput
from tapetum.encoders.naming import ClassEvidence
from tapetum.metrics.boxes import box_iou

DOG = evidence(beagle=0.95)
CAT, HORSE, OTHER_DOG = 281, 339, 207


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is this?", "beagle, a kind of dog"),
        ("What's in this picture?", "beagle, a kind of dog"),
        ("answer en what is it", "beagle, a kind of dog"),
        ("caption en", "beagle, a kind of dog"),
        ("is there a dog?", "yes"),
        ("Are there any dogs in the image?", "yes"),
        ("is it an animal", "yes"),
        ("is this a traffic light?", "no"),
    ],
)
def test_what_can_be_said(question: str, answer: str) -> None:
    assert answer_prompt(question, DOG)[0] == answer


@pytest.mark.parametrize(
    "question",
    [
        "what colour is the dog?",
        "how many dogs are there?",
        "what animal is this?",
        "is there a black dog?",
        "is there no dog?",
        "is there a person?",
        "is there a puppy?",
        "is there a mouse?",
        "is there a zebbra?",
        "is it happy?",
        "猫",
        "is " * 10_000,
        "is there a " + "dog " * 10_000,
    ],
)
def test_what_cannot_be_said(question: str) -> None:
    assert answer_prompt(question, DOG) == (CANNOT_SAY, 0.0)


def test_several_images_are_one_question() -> None:
    cat = evidence(tabby=0.95)
    both = ClassEvidence(whole=np.concatenate((DOG.whole, cat.whole)), regions=np.concatenate((DOG.regions, cat.regions)))
    assert answer_prompt("is there a cat?", both)[0] == "yes"
    assert answer_prompt("what is this?", both)[0] == "animal"


@pytest.fixture
def image() -> np.ndarray:
    """A red cat on a green horse, by the classifier below."""
    image = np.full((200, 300, 3), (10, 60, 15), np.uint8)
    image[40:160, 60:200] = 220, 20, 20
    return (image + np.random.default_rng(0).integers(0, 12, image.shape)).astype(np.uint8)


@pytest.fixture
def answerer() -> PhotoAnswerer:
    return PhotoAnswerer(ColourClassifier(CAT, HORSE, OTHER_DOG, classes=1000, gain=40.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("words", ["democracy", "cat and dog", "red cat", "pony", "???"])
def test_words_that_are_no_nouns_are_refused(words: str) -> None:
    with pytest.raises(BadInput, match=r"names no class of ImageNet.*take a vision-language model, such as --model"):
        read_things(f"detect dog ; {words}")


def test_answers_have_boxes_and_masks_as_a_language_model_has_them(answerer: PhotoAnswerer, image: np.ndarray) -> None:
    [reply] = answerer.ask([image[None]], ["segment cat ; dog"])
    assert (reply.text, reply.ended) == ("cat", True)
    found = answerer.find(reply, 300, 200, masks=True)
    assert list(found.boxes.labels) == ["cat"]
    assert box_iou(found.boxes.xyxy, np.array([[60.0, 40, 200, 160]]))[0, 0] > 0.75
    assert found.masks.masks[0].sum() == pytest.approx(140 * 120, rel=0.3)
    assert answerer.find(reply, 300, 200, masks=False).masks.masks.shape == (0, 200, 300)
    [nothing] = answerer.ask([image[None]], ["detect dog"])
    assert (nothing.text, len(answerer.find(nothing, 300, 200, masks=True).boxes)) == ("", 0)
    [words] = answerer.ask([image[None]], ["what is this?"])
    with pytest.raises(BadInput, match="an answer in words"):
        answerer.find(words, 300, 200, masks=False)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3)])
def test_tiny_images_have_boxes(answerer: PhotoAnswerer, size: tuple[int, int]) -> None:
    [reply] = answerer.ask([np.full((1, *size, 3), (220, 20, 20), np.uint8)], ["detect cat"])
    assert answerer.find(reply, size[1], size[0], masks=False).boxes.xyxy.tolist() == [[0, 0, size[1], size[0]]]


def test_what_the_whole_image_does_not_show_is_not_boxed(answerer: PhotoAnswerer, image: np.ndarray) -> None:
    image[:] = 10, 60, 15
    image[:40, :40] = 220, 20, 20
    assert answerer.ask([image[None]], ["detect cat"])[0].text == ""


class Seconds(PhotoAnswerer):
    """Sees a beagle in frames above a brightness, with a probability."""

    def __init__(self, likely: float) -> None:
        self.likely = likely

    def evidence(self, frames: np.ndarray) -> ClassEvidence:
        return evidence(beagle=self.likely if frames.mean() > 100 else 0.0)


@pytest.mark.parametrize(
    ("likely", "options", "answer"),
    [
        (0.9, ("a dog", "a cat"), "a dog"),
        (0.9, ("a dog", "it runs away"), "a dog"),
        (0.9, ("dog", "beagle"), CANNOT_SAY),
        (0.4, ("a dog", "a cat"), CANNOT_SAY),
        (0.9, ("a puppy", "it runs"), CANNOT_SAY),
    ],
)
def test_options_of_a_film_are_compared_as_nouns(
    likely: float, options: tuple[str, str], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PhotoAnswerer, "load", lambda *_: Seconds(likely))
    film = np.zeros((180, 8, 8, 3), np.uint8)
    film[90:] = 255
    made = tapetum.answer(film, "What is it?", options=options)
    assert isinstance(made, ChosenAnswer)
    assert (made.answer, made.by, made.lead) == (answer, "nouns", None)
    assert bool(made.remarks) == any(word in options for word in ("it runs away", "a puppy"))
    with pytest.raises(BadInput, match="compares nouns; leave out --by"):
        tapetum.answer(film, "What is it?", options=options, by="similarity")
