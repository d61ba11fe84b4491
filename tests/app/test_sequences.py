"""Where several texts or files are wanted, one is one item or refused; its letters are never taken."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from tapetum.app.see.answer import AnswerOptions
from tapetum.app.verb import Listener, several_fields, verb
from tapetum.core.errors import BadInput
from tapetum.encoders import byte_text
from tapetum.metrics import answers, captions
from tapetum.systems import longvideo
from tapetum.systems.paligemma import prompts


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_one_file_is_one_item(image: Path, tmp_path: Path) -> None:
    for one in (image, str(image)):
        assert tapetum.embed(one).paths == (str(image),)
    np.save(tmp_path / "v.npy", np.zeros((3, 40, 48, 3), np.uint8))
    assert len(tapetum.track_many(str(tmp_path / "v.npy"), model="static", grid=1, out=tmp_path / "out").done) == 1
    assert tapetum.track(tmp_path / "v.npy", model="static", query="0,10.5,20").tracks.points == 1


def test_one_name_is_one_item(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--options are 1; give two or more"):
        tapetum.answer("none.mp4", "what?", options="ab")


def test_every_verb_takes_texts_whole() -> None:
    """What the decorator does is done for all fields of all verbs."""
    seen: list[Any] = []

    @verb(AnswerOptions)
    def look(options: AnswerOptions, listener: Listener) -> None:
        seen.append(options.options)

    look("v.mp4", "what?", options="ab")
    look("v.mp4", "what?", options=["a", "b"])
    look("v.mp4", "what?")
    assert seen == [("ab",), ["a", "b"], ()]
    counted = 0
    for name in tapetum._FUNCTIONS:
        of = getattr(getattr(tapetum, name), "options", None)
        counted += 0 if of is None else len(several_fields(of))
        assert of is None or several_fields(of) <= {field.name for field in fields(of)}
    assert counted >= 10


@pytest.mark.parametrize(
    "call",
    [
        lambda: byte_text.tokens("ab", 8),
        lambda: byte_text.numbers("ab"),
        lambda: prompts.choose("what?", "ab"),
        lambda: answers.any_match("a", "ab"),
        lambda: answers.vqa_accuracy("a", "ab"),
        lambda: captions.rouge_l("a", "ab"),
        lambda: captions.caption_scores({1: "a", 2: "a"}, {1: "ab", 2: ["a"]}),
        lambda: longvideo.build_video_text("mcvit-nano").compare(torch.zeros(1, 2, 112, 112, 3), "ab"),
    ],
)
def test_a_text_is_no_list_of_letters(call: Callable[[], Any]) -> None:
    with pytest.raises(BadInput, match="one text, 'ab'; give a list of texts"):
        call()
