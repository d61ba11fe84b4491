"""Nouns mean classes by WordNet; other words are ignored, and said to be."""

import pytest

from tapetum.core.errors import BadInput
from tapetum.desk.search.tag_search import Meaning, find_meanings, score_tags
from tapetum.encoders import sentences
from tapetum.encoders.imagenet import class_names


def meant(words: str) -> dict[str, frozenset[str]]:
    return {meaning.word: meaning.names for meaning in find_meanings(words, class_names())[0]}


def test_nouns_mean_their_classes() -> None:
    assert {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"} <= meant("cats")["cat"]
    assert "plane" not in meant("plane")["plane"]  # the carpenter's
    assert set(meant("a Red Wine bottle")) == {"red wine", "bottle"}
    assert set(meant("a dog on the beach")) == {"dog", "seashore"}
    assert meant("lighthouse") == {"lighthouse": {"beacon"}}
    assert meant("butterflies")["butterfly"] > {"monarch"}
    assert "school bus" in meant("vehicle")["vehicle"]


def test_adjectives_are_ignored_and_said_to_be() -> None:
    meanings, remarks = find_meanings("a black cat", class_names())
    assert [meaning.word for meaning in meanings] == ["cat"]
    assert not any("black" in name for name in meanings[0].names)
    assert remarks == ("not looked for: black; the classifier knows nouns alone",)


def test_two_senses_a_kind_and_a_typo_are_said() -> None:
    assert meant("crane")["crane"] == {"crane (bird)", "crane (machine)"}
    assert "wading bird" in find_meanings("crane", class_names())[1][0]
    assert "rodents" in find_meanings("mouse", class_names())[1][0]
    assert find_meanings("pony", class_names())[1] == ("pony is no class, but a kind of horse",)
    assert find_meanings("zebbra", class_names())[1] == ("zebbra is read as zebra",)


def test_names_of_a_classifier_of_ones_own_are_found() -> None:
    assert find_meanings("the sky", ("sky", "Grass"))[0] == (Meaning("sky", frozenset(["sky"])),)
    assert find_meanings("grass", ("sky", "Grass"))[0] == (Meaning("grass", frozenset(["Grass"])),)


def test_what_means_nothing_is_refused_with_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "folder", lambda: None)
    with pytest.raises(BadInput, match=r"by 'tromboning'; near are trombone"):
        find_meanings("tromboning", class_names())
    for words in ("", "???", "猫", "x" * 1000, "gnarl " * 10_000):
        with pytest.raises(BadInput, match="no name of the classifier's classes is meant"):
            find_meanings(words, class_names())


def test_all_nouns_should_be_there() -> None:
    dog, beach = Meaning("dog", frozenset(("pug", "boxer"))), Meaning("beach", frozenset(("seashore",)))
    both = score_tags([("pug", 0.25), ("boxer", 0.25), ("seashore", 0.5)], [dog, beach])
    assert both == pytest.approx(0.5)
    assert score_tags([("pug", 0.75)], [dog, beach]) == pytest.approx(0.375)
    assert score_tags([], [dog]) == 0
