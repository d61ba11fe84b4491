"""Boxes and masks by words: which words are understood, what is ignored, colours, and what is not there."""

import numpy as np
import pytest
from tests.support.colour_classifier import ColourClassifier

from tapetum.app.see.photo_answers import PhotoAnswerer
from tapetum.app.see.photo_questions import CANNOT_SAY
from tapetum.app.see.photo_regions import find_place, find_regions, read_things, remarks, say_place
from tapetum.core.errors import BadInput
from tapetum.encoders.class_maps import dense_probabilities
from tapetum.metrics.boxes import box_iou

CAT, DOG, HORSE = 281, 207, 339


@pytest.fixture
def image() -> np.ndarray:
    """A red cat on a green horse, by the classifier below."""
    image = np.full((200, 300, 3), (10, 60, 15), np.uint8)
    image[40:160, 60:200] = 220, 20, 20
    return (image + np.random.default_rng(0).integers(0, 12, image.shape)).astype(np.uint8)


@pytest.fixture
def encoder() -> ColourClassifier:
    return ColourClassifier(CAT, HORSE, DOG, classes=1000, gain=40.0)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("democracy", "names no class"),
        ("cat and dog", "several things"),
        ("red green cat", "several things"),
        ("???", "names no class"),
    ],
)
def test_words_that_name_nothing_are_refused(words: str, problem: str):
    with pytest.raises(BadInput, match=problem):
        read_things(f"detect {words}")


def test_what_is_ignored_is_said():
    things = read_things("segment big black cats ; dog ; pony")
    assert remarks(things) == [
        '"big black cats" is looked for as cat; ignored: big',
        '"pony" is looked for as horse; ignored: pony',
    ]
    assert [len(thing.classes) > 1 for thing in things] == [True, True, False]


def test_a_thing_is_boxed_and_outlined_where_it_is_and_of_its_colour(encoder: ColourClassifier, image: np.ndarray):
    regions = find_regions(dense_probabilities(encoder, image), image, read_things("detect cat ; dog ; red cat ; blue cat"))
    assert list(regions.boxes.labels) == ["cat", "red cat"]
    assert box_iou(regions.boxes.xyxy[:1], np.array([[60.0, 40, 200, 160]]))[0, 0] > 0.9
    assert regions.masks.masks[0].sum() == pytest.approx(140 * 120, rel=0.05)


def test_the_colour_and_the_place_of_a_thing_are_said_where_they_are_clear(encoder: ColourClassifier, image: np.ndarray):
    def said(question: str, *images: np.ndarray) -> str:
        [reply] = PhotoAnswerer(encoder).ask([np.stack(images or (image,))], [question])  # type: ignore[arg-type]
        return reply.text

    assert said("answer en what colour is the cat?") == "red"
    assert said("What color are the cats") == "red"
    assert said("where is the cat?") == "in the middle"
    corner = np.full_like(image, (10, 60, 15))
    corner[:70, :90] = 220, 20, 20
    assert said("where is the cat?", corner) == "on the left, at the top"
    unknown = "what colour is the dog?", "where is the dog?", "what colour is it?", "where is the man?", "where is the flurb?"
    for question in (*unknown, "what colour is the cat?"):  # of several images
        assert said(question, *([image] * (2 if "cat" in question else 1))) == CANNOT_SAY, question
    striped = image.copy()
    striped[40:160, 60:200:2] = 20, 20, 250
    assert said("what colour is the cat?", striped) == CANNOT_SAY


def test_places_are_thirds_away_from_their_lines():
    def place(x: float, y: float) -> str | None:
        return say_place(*find_place(np.array([x - 1, y - 1, x + 1, y + 1]), (100, 100)))

    assert [place(x, 50) for x in (10, 30, 50, 90)] == ["on the left", None, "in the middle", "on the right"]
    assert [place(50, y) for y in (10, 38, 70, 90)] == ["at the top", None, None, "at the bottom"]
    assert place(35, 10) == "at the top"


def test_answers_have_boxes_and_masks_as_a_language_model_has_them(encoder: ColourClassifier, image: np.ndarray):
    answerer = PhotoAnswerer(encoder)  # type: ignore[arg-type]
    [reply] = answerer.ask([image[None]], ["detect cat"])
    assert (reply.text, reply.ended) == ("cat", True)
    found = answerer.find(reply, 300, 200, masks=False)
    assert len(found.boxes) == 1
    assert found.masks.masks.shape == (0, 200, 300)
    assert len(answerer.find(reply, 300, 200, masks=True).masks) == 1
    [nothing] = answerer.ask([image[None]], ["segment dog"])
    assert (nothing.text, len(answerer.find(nothing, 300, 200, masks=True).boxes)) == ("", 0)
    with pytest.raises(BadInput, match="names no class"):
        answerer.prefix("detect democracy")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3)])
def test_tiny_images_are_no_trouble(encoder: ColourClassifier, size: tuple[int, int]):
    red = np.full((*size, 3), (220, 20, 20), np.uint8)
    assert find_regions(dense_probabilities(encoder, red), red, read_things("detect cat")).boxes.xyxy.tolist() == [
        [0, 0, size[1], size[0]]
    ]


def test_what_the_whole_image_does_not_show_is_not_boxed(encoder: ColourClassifier, image: np.ndarray):
    image[:] = 10, 60, 15
    image[:40, :40] = 220, 20, 20
    assert not len(find_regions(dense_probabilities(encoder, image), image, read_things("detect cat")).boxes)
