"""An empty name is no name of the current folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from tapetum.app.shell.main import VERBS
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.types import Tracks
from tapetum.video import open_video


@pytest.fixture(autouse=True)
def images_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    monkeypatch.chdir(tmp_path)


def test_every_verb_refuses_an_empty_word(run, tmp_path: Path) -> None:
    for verb in VERBS:
        code, out, errors = run(verb, "")
        assert (code, out) == (2, "")
        assert "empty word" in errors or "has no ''" in errors, verb  # where a command below the verb must stand
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("embed", "0.png", "--out", ""), "--out is followed by an empty word"),
        (("embed", "0.png", "--out="), "--out has an empty value"),
        (("eval", "davis", ""), "there is an empty word"),
    ],
)
def test_an_empty_value_is_refused(words: tuple, message: str, run) -> None:
    code, _, errors = run(*words)
    assert code == 2
    assert message in errors


@pytest.mark.parametrize(
    "call",
    [
        lambda: open_video(""),
        lambda: tapetum.load(""),
        lambda: tapetum.classify(["0.png", ""]),
        lambda: tapetum.embed("0.png", out=""),
        lambda: tapetum.ask("", "what is this?"),
        lambda: tapetum.detect("", "cat"),
        lambda: tapetum.discover("", out="made"),
        lambda: Tracks.load(""),
        lambda: whole_file("").__enter__(),
    ],
)
def test_python_refuses_it_too(call) -> None:
    with pytest.raises(BadInput, match="empty"):
        call()
