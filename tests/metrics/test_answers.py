"""Answers beside the official evaluation of VQA and that of PaliGemma (golden), and by hand."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.scripts import GOLDEN
from tapetum.core.errors import BadInput
from tapetum.metrics.answers import (
    CONTRACTIONS,
    anls,
    any_match,
    count_of,
    exact_match,
    mmvp_scores,
    option_letter,
    pope_scores,
    relaxed_match,
    simple_vqa_accuracy,
    vqa_accuracy,
    vqa_normalised,
)

CASES = json.loads((GOLDEN / "benchmark_metrics.json").read_text())


def test_vqa_is_the_official_evaluation() -> None:
    for case in CASES["vqa"]:
        assert vqa_normalised(case["answer"]) == case["normalised"], case["answer"]
        if "references" in case:
            assert vqa_accuracy(case["answer"], case["references"]) == pytest.approx(case["accuracy"], abs=1e-9), case
    assert sum(0 < case.get("accuracy", 0) < 1 for case in CASES["vqa"]) > 20
    assert len(CONTRACTIONS) == 120


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("two", "2"),
        ("1,000", "1000"),
        ("a cat.", "cat"),
        ("red, blue", "red blue"),
        ("red,blue", "red blue"),
        ("3.5", "3.5"),
        ("", ""),
    ],
)
def test_vqa_by_hand(text: str, wanted: str) -> None:
    assert vqa_normalised(text) == wanted


def test_references_that_all_agree_are_not_normalised() -> None:
    assert vqa_accuracy("two", ["2"] * 10) == 0
    assert vqa_accuracy(" 2\n", ["2"] * 10) == 1
    assert vqa_accuracy("two", ["2"] * 9 + ["3"]) == 1


def test_anls_relaxed_and_counts_are_those_of_paligemma() -> None:
    for said, right, score in CASES["anls"]:
        assert anls(said, [right]) == pytest.approx(score, abs=1e-12)
    for said, right, score in CASES["relaxed"]:
        assert relaxed_match(said, right) == score, (said, right)
    for word, digits in CASES["counts"]:
        assert count_of(word) == digits
    assert anls("Cat", ["dog", "cat"]) == 1
    assert (anls("ab", ["xb"]), anls("", [""]), anls("x", [""])) == (0, 1, 0)


def test_simple_any_exact_letter() -> None:
    references = ["red", "red", "Red", "blue"]
    assert simple_vqa_accuracy("red", references) == pytest.approx(2 / 3)
    assert (any_match("blue", references), any_match("BLUE", references), any_match("BLUE", references, lower=True)) == (
        1,
        0,
        1,
    )
    assert (exact_match("True", "true"), exact_match("True", "true", lower=True)) == (0, 1)
    assert option_letter("the answer is c.") == "c"
    assert option_letter("So the answer is c.") is None


@pytest.mark.slow
@given(st.text(max_size=12), st.text(max_size=12))
def test_every_score_lies_between_0_and_1(said: str, right: str) -> None:
    scores = [anls(said, [right]), relaxed_match(said, right), vqa_accuracy(said, [right, said, right])]
    assert all(0 <= s <= 1 and math.isfinite(s) for s in scores)
    assert anls(right, [right]) == 1
    assert exact_match(count_of(right), count_of(right)) == 1


def test_pairs_are_right_where_both_answers_are() -> None:
    pairs = {1: "p", 2: "p", 3: "q", 4: "q"}
    found = mmvp_scores({1: "a", 2: "b", 3: "a", 4: "b"}, {1: "a", 2: "b", 3: "a", 4: "a"}, pairs)
    assert found == {"p": True, "q": False}


@pytest.mark.slow
def test_pope_is_sklearn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    right = ["yes", "no", "yes", "yes", "no", "no", "yes"]
    said = ["yes", "yes", "no", "Yes", "no", "maybe", "yes"]
    found = pope_scores(dict(enumerate(said)), dict(enumerate(right)))
    truth, guess = [r == "yes" for r in right], [s.lower() == "yes" for s in said]
    assert found.f1 == pytest.approx(metrics.f1_score(truth, guess))
    assert found.precision == pytest.approx(metrics.precision_score(truth, guess))
    assert found.recall == pytest.approx(metrics.recall_score(truth, guess))
    assert (found.accuracy, found.valid, found.yes) == pytest.approx((4 / 7, 6 / 7, 4 / 7))
    assert pope_scores({1: "no"}, {1: "no"}).f1 == 0


def test_bad_input() -> None:
    for said, right, words in [
        ({}, {}, "nothing to score"),
        ({}, {1: "yes"}, "1 of 1 ids have no prediction, such as 1"),
        ({1: "no", 2: "no"}, {1: "no"}, "1 ids of the predictions are not in the truth, such as 2; leave them out"),
        ({"1": "no"}, {1: "no"}, "ids are int, not str"),
        ({1: None}, {1: "no"}, "answer of 1 is None"),
        ({1: float("nan")}, {1: "no"}, "answer of 1 is nan"),
    ]:
        with pytest.raises(BadInput, match=words):
            pope_scores(said, right)
    with pytest.raises(BadInput, match="1 references"):
        vqa_accuracy("a", ["a"])
    for references in ([], "cat"):
        with pytest.raises(BadInput, match="give a list"):
            anls("a", references)
    with pytest.raises(BadInput, match="must be yes or no"):
        pope_scores({1: "yes"}, {1: "perhaps"})
    with pytest.raises(BadInput, match="1 questions; give two"):
        mmvp_scores({1: "a"}, {1: "a"}, {1: "p"})
