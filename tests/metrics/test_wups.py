"""WUPS by hand, on a tiny WordNet."""

from pathlib import Path

import pytest

from support.wordnet import write_wordnet
from tapetum.metrics.wordnet import WordNet
from tapetum.metrics.wups import answer_wups, content_words, word_similarity, wups


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


def test_wups_by_hand(wordnet: WordNet) -> None:
    dog_cat, rex_dog, dog_red = 2 / 3, 6 / 7, 1 / 3
    assert word_similarity("dog", "cat", wordnet) == pytest.approx(dog_cat)
    assert word_similarity("unheard", "unheard", wordnet) == 1
    assert word_similarity("unheard", "dog", wordnet) == 0
    assert wups(["dog"], ["cat"], wordnet, 0) == pytest.approx(dog_cat)
    assert wups(["dog"], ["cat"], wordnet, 0.9) == pytest.approx(dog_cat / 10)
    # red's best of the other answer is itself; dog's is cat; the other direction has rex, too, whose best is dog
    assert wups(["red", "dog"], ["red", "cat", "rex"], wordnet, 0) == pytest.approx(min(rex_dog, dog_cat * rex_dog))
    assert wups(["dog"], ["red"], wordnet, 0) == pytest.approx(dog_red)
    assert wups(["dog", "unheard"], ["dog"], wordnet) == 1  # what is like nothing is left out
    assert wups(["unheard"], ["dog"], wordnet) == wups([], ["dog"], wordnet) == wups([], [], wordnet) == 0


def test_answers_lose_stop_words_and_endings(wordnet: WordNet) -> None:
    stop = {"the", "is", "walk"}
    assert content_words("The women, walking: is red.", wordnet, stop) == ["woman", "red"]
    assert answer_wups("the dogs", ["cat", "a dog"], wordnet, stop_words={"the", "a"}) == (1, 1)
    assert answer_wups("dogs", ["cats"], wordnet) == pytest.approx((2 / 3, 2 / 30))
    assert answer_wups("dogs", ["cats"], wordnet, exact=True) == (0, 0)
    assert answer_wups("two dogs", ["one", "Two dog."], wordnet, exact=True) == (1, 1)


def test_scores_are_grouped_as_the_public_program_does(wordnet: WordNet) -> None:
    from tapetum.bench.longvideo import score_wups
    from tapetum.data.questions import Question

    texts = {"a": "dog", "b": "cat", "c": "yes", "d": "two"}
    kinds, answers = ("CW", "CH", "DB", "DC"), (("cat",), ("cat",), ("no",), ("one", "two"))
    questions = [
        Question(key=key, video=Path(), question="", answers=answer, kind=kind)
        for key, answer, kind in zip(texts, answers, kinds, strict=True)
    ]
    table = score_wups(questions, texts, wordnet)
    assert table["C*"] == {"count": 2, "wups_0": pytest.approx(5 / 6), "wups_0.9": pytest.approx((1 + 2 / 30) / 2)}
    assert (table["DB"]["wups_0"], table["DC"]["wups_0"], table["D*"]["wups_0.9"]) == (0, 1, 0.5)
    assert table["all"]["wups_0"] == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
