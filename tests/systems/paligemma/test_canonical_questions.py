"""Free questions in the words of scenes: at least ten phrasings of each template."""

from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.scripts import GOLDEN, script
from tapetum.app.make import scenes
from tapetum.systems.paligemma.canonical_questions import canonical_question
from tapetum_world.words import image_candidates
from tapetum_world.words.images import TEMPLATES

PHRASINGS: dict[str, dict[str, list[str]]] = {
    "colour": {
        "What colour is the cup?": [
            "What color is the cup?",
            "what's the color of the cup",
            "What is the colour of that cup?",
            "Which color does the cup have?",
            "whats the cup's color?",
            "Please tell me what color the cup is.",
            "The cup is what colour?",
            "Color of the cup?",
            "cup colour",
            "How is the cup coloured?",
            "Can you tell me the color of the cup in the image, please?",
            "what colour has a cup",
        ],
        "What colour is the larger grey ball left of the wooden box?": [
            "what color is the bigger gray ball to the left of the wood box?",
            "What is the color of the larger gray ball that is left of a wooden box",
        ],
    },
    "material": {
        "What is the red cup made of?": [
            "What's the red cup made of?",
            "what is the red cup made from",
            "What is the red cup made out of?",
            "Of what is the red cup made?",
            "Which material is the red cup made of?",
            "what material is the red cup",
            "What is the material of the red cup?",
            "What is the red cup's material?",
            "What stuff is the red cup made of",
            "The red cup is made of what?",
            "Tell me what the red cup is made of.",
            "What does the red cup consist of?",
        ],
    },
    "shape": {
        "What is the shape of the red thing?": [
            "What's the shape of the red object?",
            "What shape is the red thing?",
            "Which shape does the red item have?",
            "what form does the red thing have",
            "The red thing has what shape?",
            "Shape of the red object",
            "How is the red thing shaped?",
            "What is the red thing's shape?",
            "What kind of shape is the red thing",
            "Could you please tell me the shape of the red object in this image?",
        ],
    },
    "count": {
        "How many cups can be seen?": [
            "How many cups are there?",
            "how many cups do you see",
            "How many cups are visible in the image?",
            "Number of cups?",
            "What is the number of cups in the image?",
            "Count the cups.",
            "Can you count the cups, please?",
            "How many cups?",
            "How many cups are in the photo?",
            "What's the count of cups?",
            "Tell me how many cups there are.",
            "The number of cups",
        ],
        "How many red things can be seen?": [
            "how many red objects are there?",
            "Count all red items",
            "How many things are red?",
        ],
        "How many things can be seen?": ["How many objects are there?", "count the items"],
        "How many boxes can be seen?": ["how many boxes are shown here?", "number of box"],
    },
    "relation": {
        "Where is the cup, seen from the camera, relative to the blue thing?": [
            "Where is the cup relative to the blue thing?",
            "where's the cup, as seen from the camera, relative to the blue object",
            "Relative to the blue thing, where is the cup?",
            "Where is the cup compared to the blue thing?",
            "Where is the cup with respect to the blue item?",
            "Where is the cup in relation to the blue thing?",
            "Where does the cup stand relative to the blue thing?",
            "What is the position of the cup relative to the blue thing?",
            "On which side of the blue thing is the cup?",
            "Seen from the camera, where is the cup relative to the blue thing?",
            "Please tell me where the cup is relative to the blue object",
        ],
    },
    "neighbour": {
        "Which thing is to the left of the cup?": [
            "What is left of the cup?",
            "What's to the left of the cup?",
            "Which object is left of the cup?",
            "What item is on the left side of the cup?",
            "what stands to the left of the cup",
            "What can be seen to the left of the cup?",
            "What do you see left of the cup?",
            "To the left of the cup is what?",
            "Name the thing to the left of the cup.",
            "What is there on the left of the cup?",
            "Which item lies at the left of the cup?",
        ],
        "Which thing is behind the red thing?": ["What's behind the red object?", "what is in back of the red item"],
        "Which thing is in front of the cup?": ["What is in front of the cup?", "which object stands in the front of the cup"],
        "Which thing is on the box?": ["What is on top of the box?", "What lies on the box?"],
    },
    "inside": {
        "What can be seen in the bowl?": [
            "What is in the bowl?",
            "What's inside the bowl?",
            "What is inside of the bowl?",
            "What does the bowl contain?",
            "What does the bowl hold?",
            "What can you see in the bowl?",
            "what do you see inside the bowl",
            "Which things are in the bowl?",
            "What lies in the bowl?",
            "What are the contents of the bowl?",
            "In the bowl, what do you see?",
        ],
    },
    "same-colour": {
        "Which of these has the same colour as the cup: the ball, the box or the egg?": [
            "Which of these has the same color as the cup: the ball, the box, or the egg?",
            "Which one has the same color as the cup: a ball, a box or an egg?",
            "Which of the ball, the box or the egg has the same colour as the cup?",
            "Which of these is the same color as the cup: the ball, the box or the egg?",
            "which of the following has the same colour as the cup, ball, box or egg",
            "The cup has the same color as which of these: the ball, the box or the egg?",
            "Which of these shares its color with the cup: the ball, the box or the egg?",
            "Which of these matches the colour of the cup: the ball, the box or the egg?",
            "The ball, the box or the egg: which of these has the same color as the cup?",
            "Tell me which of these has the same colour as the cup: the ball, the box or the egg.",
        ],
    },
    "larger": {
        "Which is larger, the red ball or the blue ball?": [
            "Which is bigger, the red ball or the blue ball?",
            "which one is larger: the red ball or the blue ball",
            "Is the red ball or the blue ball larger?",
            "What is larger, the red ball or the blue ball?",
            "Which of these is larger, the red ball or the blue ball?",
            "Which of the two is bigger: the red ball or the blue ball?",
            "The red ball or the blue ball: which is larger?",
            "Between the red ball and the blue ball, which is larger?",
            "Which of the red ball and the blue ball is larger?",
            "Which is the larger one, a red ball or a blue ball?",
            "Can you say which is bigger, the red ball or the blue ball?",
        ],
    },
    "nearest": {
        "Which of these is nearest to the camera: the ball, the box or the egg?": [
            "Which of these is closest to the camera: the ball, the box or the egg?",
            "Which one is nearest to the camera: the ball, the box or the egg?",
            "which is the closest to the camera, the ball, the box, or the egg",
            "Which of the ball, the box and the egg is nearest to the camera?",
            "What is nearest to the viewer: the ball, the box or the egg?",
            "Which object is closest: the ball, the box or the egg?",
            "Which of these stands nearest to the camera: a ball, a box or an egg?",
            "The ball, the box or the egg: which is nearest to the camera?",
            "Is the ball, the box or the egg closest to the camera?",
            "Which of the following is nearest to the camera, the ball, the box or the egg?",
        ],
    },
    "read": {
        "What is written on the box?": [
            "What's written on the box?",
            "What is printed on the box?",
            "What does the box say?",
            "What does it say on the box?",
            "Which word is on the box?",
            "What text is written on the box?",
            "What can you read on the box?",
            "Read the text on the box.",
            "What is the word on the box?",
            "what do you read on the box",
            "Please read the word on the box",
            "What can be read on the box?",
        ],
    },
    "present": {
        "Which of these can be seen?": [
            "Which of these is visible?",
            "which of these do you see",
            "Which of these can you see?",
            "Which of those can be seen?",
            "Which of these are there?",
            "Which of these is in the image?",
            "Which of these is shown?",
            "Which of the following can be seen?",
            "What can be seen in the image?",
            "What do you see in the image?",
            "What is in this photo?",
        ],
    },
}
"""Of each template: a question as scenes ask it, and other ways to ask the same."""
PAIRS = [(free, known) for table in PHRASINGS.values() for known, others in table.items() for free in (known, *others)]


def test_each_template_has_ten_phrasings():
    assert set(PHRASINGS) == set(TEMPLATES)
    for table in PHRASINGS.values():
        first = next(iter(table.values()))
        assert len(set(first)) >= 10


@pytest.mark.parametrize(("free", "known"), PAIRS)
def test_a_free_question_is_said_in_known_words(free: str, known: str):
    assert canonical_question(free) == known
    assert canonical_question(free.upper()) == known
    assert canonical_question(f"  {free.rstrip('?.')} ?") == known


@pytest.mark.parametrize(
    "question",
    [
        "",
        "   ",
        "Who painted this?",
        "Is there a dog?",
        "What is the dog doing?",
        "How old is the man?",
        "Which is smaller, the cup or the ball?",
        "Why is the cup red?",
        "What is the capital of France?",
        "how many cups are left of the box",
        "Where is the cup?",
        "red",
        "QUESTION",
        "was ist das?",
        "<loc0001> cup",
    ],
)
def test_any_other_question_stays_as_it_is(question: str):
    assert canonical_question(question) == question


def test_what_scenes_ask_is_said_as_it_is():
    graphs = script("packages/world/tests/words/test_words_images.py")
    rng = np.random.default_rng(0)
    asked = {c for k in range(30) for c in image_candidates(graphs.random_graph(rng), k)}
    assert {c.template for c in asked} == set(TEMPLATES)
    for c in asked:
        assert canonical_question(c.text) == c.text, c.template


def test_official_models_and_raw_prompts_get_the_words_of_the_user():
    bundled = "paligemma-nano-2"
    image = np.zeros((32, 32, 3), np.uint8)
    free = "what's the color of the cup?"
    taught = str(GOLDEN / "paligemma_taught.safetensors")
    assert tapetum.ask(image, free, model=bundled).images[0].prompt == "answer en What colour is the cup?"
    assert tapetum.ask(image, free, raw=True, model=bundled).images[0].prompt == free
    assert tapetum.ask(image, "the cup?", model=taught).images[0].prompt == "answer en the cup?"
    assert tapetum.ask(image, "cup color", language="de", model=bundled).images[0].prompt == "answer de cup color"


@pytest.mark.slow
def test_the_model_answers_a_free_question_as_the_known_one(tmp_path: Path):
    folder = tmp_path / "scenes"
    scenes.images(folder, n=3, seed=5, size=224)
    images = sorted((folder / "images").glob("*.jpg"))
    for template, table in PHRASINGS.items():
        known, others = next(iter(table.items()))
        answers = [seen.answer for seen in tapetum.ask(images, known, model="paligemma-nano-2").images]
        assert all(answer.text for answer in answers)
        for k, free in enumerate(others[:10]):
            [seen] = tapetum.ask(images[k % 3], free, model="paligemma-nano-2").images
            assert seen.answer.text == answers[k % 3].text, (template, free)
