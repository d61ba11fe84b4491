"""Which model answers where none is named: by the image, by what is installed, and by what the user says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.class_evidence import evidence

import tapetum
from tapetum.app.see import answer_model
from tapetum.app.see.answer_model import is_world, names_other_things, unfamiliar_remark, with_model, with_region_model
from tapetum.app.see.caption import CaptionOptions
from tapetum.app.see.settings import AUTO, CLASSIFIER, MODEL
from tapetum.core.errors import BadInput, Listener
from tapetum.hub.registry import known, location
from tapetum_world.files.items import make_image

INSTALLED = location(known()["efficientnet-lite2"]).is_file()


@pytest.fixture(scope="module")
def world() -> np.ndarray:
    """An image of the world that paligemma-nano-2 was trained on."""
    return make_image(3, 0, size=112).rgb


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """An image of no world: blocks of strong colours."""
    return np.random.default_rng(0).integers(0, 2, (7, 10, 3), np.uint8).repeat(32, 0).repeat(32, 1) * 255


@pytest.mark.slow
def test_the_image_decides_and_the_user_before_it(world: np.ndarray, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answer_model, "can_answer_photos", lambda: True)
    assert is_world((world,))
    assert not is_world((noise,))
    options = CaptionOptions((noise,))
    assert options.model == AUTO
    assert with_model(options, (noise,)).model == CLASSIFIER
    assert with_model(options, (world,)).model == MODEL
    assert with_model(options, (noise, world, world)).model == MODEL  # most of them
    assert with_model(replace(options, model=MODEL), (noise,)).model == MODEL
    monkeypatch.setattr(answer_model, "can_answer_photos", lambda: False)
    assert with_model(options, (noise,)).model == MODEL


@pytest.mark.parametrize(
    ("question", "options", "other"),
    [
        ("What does the man hold?", ("an umbrella", "a backpack", "a ball"), True),
        ("Does the backpack turn?", ("yes", "no"), True),
        ("What is in the hand?", ("a bottle", "a telephone", "a book"), True),
        ("What does the hand take?", ("a cup", "a dog"), False),
        ("How many times does the hand pick something up?", ("one", "two"), False),  # pick is a noun, too
        ("What does the hand do with the orange thing?", ("It pushes it.", "It leaves it alone."), False),
        ("What happens?", ("this", "that"), False),
    ],
)
def test_what_no_scene_has_is_known_by_words(question: str, options: tuple[str, ...], other: bool):
    assert names_other_things(question, options) is other


@pytest.mark.slow
def test_what_no_scene_has_is_no_scene(world: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    shown = {"apple": evidence(Granny_Smith=0.6), "ball": evidence(croquet_ball=0.9)}
    monkeypatch.setattr(answer_model, "can_answer_photos", lambda: True)
    for name, made in shown.items():
        many = SimpleNamespace(evidence=lambda frames, made=made: replace(made, whole=made.whole.repeat(len(frames), 0)))
        monkeypatch.setattr(answer_model, "_classifier", lambda many=many: many)
        assert is_world((world, world)) is (name == "ball")
    monkeypatch.setattr(answer_model, "can_answer_photos", lambda: False)
    assert is_world((world,))


@pytest.mark.slow
def test_what_is_unlike_the_world_is_said_of_its_model_alone(world: np.ndarray, noise: np.ndarray):
    assert unfamiliar_remark(MODEL, (world,)) is None
    assert "unlike those that paligemma-nano-2 was trained on" in str(unfamiliar_remark(MODEL, (noise,)))
    assert unfamiliar_remark(CLASSIFIER, (noise,)) is None
    with pytest.warns(UserWarning, match="unlike those that mcvit-films was trained on"):
        tapetum.answer(noise[None].repeat(4, 0), "What falls?", options=("a cup", "a book"), model="mcvit-films")
    assert unfamiliar_remark(MODEL, ("no-such-file.png",)) is None  # the verb itself says what is wrong


def test_boxes_are_of_the_classifier_but_for_scenes_and_what_has_no_class(
    world: np.ndarray, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answer_model, "can_answer_photos", lambda: True)
    monkeypatch.setattr(answer_model, "is_world", lambda images, frames: images[0] is world)
    options = CaptionOptions((noise,))
    for image, words, model in (
        (world, "cup", MODEL),
        (world, "sea lion", CLASSIFIER),  # which no scene has
        (noise, "cup", CLASSIFIER),
        (noise, "democracy", MODEL),
    ):
        assert with_region_model(options, (image,), f"detect {words}", Listener()).model == model, words
    assert with_region_model(replace(options, masks="codec"), (noise,), "segment cup", Listener()).model == MODEL
    assert with_region_model(replace(options, model=MODEL), (noise,), "detect cup", Listener()).model == MODEL


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="the package of efficientnet-lite2 is not installed")
def test_the_bundled_model_says_which_it_is_and_boxes_what_has_a_class(noise: np.ndarray):
    replies = tapetum.ask((noise,), "Is there a dog in this picture?")
    assert replies.model == CLASSIFIER
    assert replies.images[0].prompt == "answer en Is there a dog in this picture?"
    assert replies.text in ("yes", "no", "I cannot say")
    assert tapetum.caption((noise,)).text.startswith(("a photo of ", "I cannot say"))
    assert tapetum.ask((noise,), "what colour is the cup", model=MODEL).model == MODEL
    assert tapetum.detect((noise,), "cup").model == CLASSIFIER
    assert tapetum.detect((noise,), "democracy").model == MODEL
    with pytest.raises(BadInput, match="names no class"):
        tapetum.detect((noise,), "democracy", model=CLASSIFIER)
