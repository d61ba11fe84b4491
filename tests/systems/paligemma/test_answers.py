"""A tiny model that has learned a tiny world by heart (tests/golden), with tokenizer and codec."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.answers import CONTEXT, Answerer, first_places
from tapetum.systems.paligemma.tokens import Tokens

WORLD = script("tests/golden/make_paligemma_taught_golden.py")
WEIGHTS = GOLDEN / "paligemma_taught.safetensors"


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    return Answerer.load(WEIGHTS)


def test_it_says_what_it_learned(answerer: Answerer):
    shown = [WORLD.make_image("red", "right")[None], WORLD.make_image("blue")[None], WORLD.make_image(None)[None]]
    prompt = prompts.answer("what color is the square ?")
    replies = answerer.ask(shown, [prompt] * 3, 8)
    assert [reply.text for reply in replies] == ["red", "blue", "none"]
    assert all(reply.ended and 0.5 < reply.score <= 1 for reply in replies)
    mixed = answerer.ask(shown[:2], [prompt, prompts.caption()], 16)
    assert [reply.text for reply in mixed] == ["red", "a blue square"]
    [beamed] = answerer.ask(shown[:1], [prompts.caption()], 16, sampling=SamplingConfig(beams=3))
    assert beamed.text == "a red square"


def test_a_place_is_written_where_places_together_are_likelier_than_nothing(answerer: Answerer):
    tokens, end = answerer.tokens, answerer.model.config.end
    first = tokens.location_ids[0]
    chances = torch.full((3, tokens.size), 1e-9)
    chances[:, end] = 0.4
    chances[0, first + 200 : first + 220] = 0.02  # 0.42 in all, the likeliest 0.04
    chances[0, first + 207] = 0.04
    chances[1, first + 200 : first + 219] = 0.02  # 0.38
    chances[2, first + 3], chances[2, end] = 0.9, 0.1
    assert first_places(chances.log(), tokens, end) == [[first + 207], [], [first + 3]]


def test_an_answer_about_places_begins_with_one(answerer: Answerer, monkeypatch: pytest.MonkeyPatch):
    image = WORLD.make_image("green", "low right")[None]
    plain = answerer.ask([image] * 2, [prompts.detect("square"), prompts.caption()], 16)
    monkeypatch.setattr(
        "tapetum.systems.paligemma.answers.first_places", lambda logits, tokens, end: [[tokens.location_ids[5]]]
    )
    begun = answerer.ask([image] * 2, [prompts.detect("square"), prompts.caption()], 16)
    assert begun[0].text.startswith("<loc0005>")
    assert begun[1].text == plain[1].text
    assert plain[0].text.startswith("<loc")
    official = Answerer(answerer.model, answerer.tokens)
    official.official = True
    assert official.ask([image], [prompts.detect("square")], 16)[0].text == plain[0].text


def test_boxes_and_masks_are_where_the_square_is(answerer: Answerer):
    [reply] = answerer.ask([WORLD.make_image("green", "low right")[None]], [prompts.segment("square")], 32)
    found = answerer.find(reply, 560, 280, masks=True)
    assert found.boxes.labels == found.masks.labels == ("square",)
    x1, y1, x2, y2 = (value * scale for value, scale in zip(WORLD.box("low right"), (10, 5, 10, 5), strict=True))
    np.testing.assert_allclose(found.boxes.xyxy[0], (x1, y1, x2, y2), atol=0.3)
    assert found.boxes.scores is not None
    assert 0.5 < found.boxes.scores[0] <= 1
    whole = np.zeros((280, 560), bool)
    whole[y1:y2, x1:x2] = True
    mask = found.masks.masks[0]
    assert (mask & whole).sum() / (mask | whole).sum() > 0.9
    [nothing] = answerer.ask([WORLD.make_image(None)[None]], [prompts.detect("square")], 32)
    assert nothing.text == ""
    assert len(answerer.find(nothing, 56, 56, masks=False).boxes) == 0


def test_a_cut_answer_is_malformed(answerer: Answerer):
    shown = [WORLD.make_image("red")[None]]
    [cut] = answerer.ask(shown, [prompts.detect("square")], 2)
    assert not cut.ended
    assert answerer.find(cut, 56, 56, masks=False).malformed == 1


def test_what_cannot_be_asked_is_refused_in_one_line(answerer: Answerer):
    shown = [WORLD.make_image("red")[None]]
    cases = {
        "  ": "the prompt is empty",
        "what " * 9000: f"together they may be {CONTEXT}",
        "<loc5000>": "<loc5000> is no token",
    }
    for prompt, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            answerer.ask(shown, [prompt])
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="1 examples of images and 2 prompts"):
        answerer.ask(shown, ["a", "b"])
    with pytest.raises(BadInput, match=r"examples have \[1, 2\] images"):
        answerer.ask([shown[0], np.concatenate([shown[0]] * 2)], ["a", "b"])


def test_a_tokenizer_of_another_model_and_none_are_refused(answerer: Answerer, tmp_path: Path):
    weights = tmp_path / "weights.safetensors"
    shutil.copy(WEIGHTS, weights)
    with pytest.raises(BadInput, match=r"there is no tokenizer beside .*weights.safetensors; put weights.model or"):
        Answerer.load(weights)
    words = ["other words for another model, of which there are a great many more than a few, some of them rather long"]
    Tokens.train(words * 4, 320, tmp_path / "weights.model")
    with pytest.raises(BadInput, match="the tokenizer is another one: it belongs to another model"):
        Answerer.load(weights)
    shutil.copy(GOLDEN / "paligemma_taught.model", tmp_path / "tokenizer.model")
    (tmp_path / "weights.model").unlink()
    (tmp_path / "a.png").write_bytes(b"no weights")
    with pytest.raises(BadInput, match=r"a.png does not say that it is a PaliGemma"):
        Answerer.load(tmp_path / "a.png")
    assert Answerer.load(weights, dtype=torch.bfloat16).model.projector.weight.dtype == torch.bfloat16
