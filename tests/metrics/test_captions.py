"""Captions beside pycocoevalcap and its tokenizer of Stanford (golden), and by hand."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.scripts import GOLDEN
from tapetum.core.errors import BadInput
from tapetum.metrics.captions import caption_scores, ptb_words, rouge_l

CASES = json.loads((GOLDEN / "captions.json").read_text())


def test_words_are_those_of_the_java_tokenizer() -> None:
    assert len(CASES["words"]) > 500
    wrong = [(line, ptb_words(line), words) for line, words in CASES["words"] if ptb_words(line) != words]
    assert not wrong


@pytest.mark.parametrize("case", CASES["sets"], ids=lambda case: len(case["said"]))
def test_scores_are_those_of_pycocoevalcap(case: dict) -> None:
    scores = caption_scores(dict(enumerate(case["said"])), dict(enumerate(case["references"])))
    assert scores.cider == pytest.approx(case["cider"], abs=1e-9)
    assert list(scores.cider_each.values()) == pytest.approx(case["cider_each"], abs=1e-9)
    assert scores.bleu == pytest.approx(case["bleu"], abs=1e-9)
    assert scores.rouge_l == pytest.approx(case["rouge_l"], abs=1e-9)


def test_by_hand() -> None:
    references = {1: ["a red cat", "the cat"], 2: ["two dogs run in a park"]}
    same = caption_scores({key: several[0] for key, several in references.items()}, references)
    assert (same.bleu[0], same.rouge_l) == (pytest.approx(1), 1)
    assert caption_scores({1: "", 2: ""}, references).cider == 0
    alone = caption_scores({1: "a red cat"}, {1: ["a red cat"]})
    assert (alone.cider, alone.bleu[2]) == (0, pytest.approx(1))  # one image: every word is in all images
    assert rouge_l("a b", ["c d"]) == 0


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_gives_words(text: str) -> None:
    words = ptb_words(text)
    assert words == words.strip(" ")
    assert "  " not in words


@pytest.mark.slow
def test_long_runs_take_no_time() -> None:
    for run in ("a-" * 5000, "(" * 5000, "1/" * 5000, "a." * 5000, "<a " * 3000, "@" * 5000, "x" * 20000, "a=*" * 3000):
        assert ptb_words(run)


def test_bad_input() -> None:
    for said, right, words in [
        ({}, {}, "nothing to score"),
        ({1: "a"}, {1: []}, "references of 1"),
        ({1: "a"}, {1: "a cat"}, "give a list"),
        ({1: None}, {1: ["a"]}, "answer of 1 is None"),
        ({1: "a"}, {1: [None]}, "answer of 1 is None"),
        ({}, {1: ["a"]}, "no prediction"),
    ]:
        with pytest.raises(BadInput, match=words):
            caption_scores(said, right)
