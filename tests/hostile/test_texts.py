"""Texts that nobody wrote as one, such as a prompt of 100 MB, are refused before they are cut into tokens."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.reading import LONGEST_TEXT, check_length
from tapetum.data.entries import JsonEntry
from tapetum.encoders import byte_text
from tapetum.systems.longvideo.language import ByteLanguage
from tapetum.systems.paligemma.tokens import Tokens

Run = Callable[..., tuple[int, str, str]]

LONG = "word " * 400_000


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_verbs_that_take_words(run: Run, clip: Path, image: Path) -> None:
    for words in [
        ("ask", "IMAGE", LONG),
        ("detect", "IMAGE", LONG),
        ("segment", "IMAGE", LONG),
        ("answer", "CLIP", LONG, "--options", "a", "b"),
    ]:
        code, out, err = run(*({"CLIP": clip, "IMAGE": image}.get(word, word) for word in words))
        assert (code, out) == (2, ""), err[:300]
        assert err.splitlines()[-1].endswith("characters; give 100,000 or fewer")
        assert len(err) < 600


def test_a_prompt_of_a_benchmark(run: Run, image: Path, tmp_path: Path) -> None:
    row = {"image": image.name, "prefix": LONG, "suffix": "a"}
    (tmp_path / "set.jsonl").write_text(json.dumps(row) + "\n")
    code, _, err = run("eval", "paligemma", "--data", tmp_path / "set.jsonl")
    assert code == 2
    assert "has 2,000,000 characters" in err


def test_every_tokenizer() -> None:
    tokens = Tokens.load(Path(__file__).parents[1] / "golden" / "paligemma_taught.model")
    for read in (
        tokens.encode,
        tokens.encode_prefix,
        tokens.encode_suffix,
        lambda text: byte_text.tokens([text], 16),
        lambda text: ByteLanguage.encode_continuation(None, text),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(BadInput, match="has 2,000,000 characters; give 100,000 or fewer"):
            read(LONG)
        read("word" * 100)
    check_length("a" * LONGEST_TEXT, "it")


def test_texts_of_entries() -> None:
    with pytest.raises(BadInput, match=r"question of line 3 of f has 2,000,000 characters"):
        JsonEntry({"question": LONG}, "line 3 of f").text("question")
    with pytest.raises(BadInput, match=r"options of line 3 of f has 2,000,000 characters"):
        JsonEntry({"options": ["a", LONG]}, "line 3 of f").texts("options")
