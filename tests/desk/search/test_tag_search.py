"""Words mean names of classes: by groups, by words in names, in the plural."""

import pytest

from tapetum.core.errors import BadInput
from tapetum.desk.search.tag_search import Meaning, find_meanings, score_tags
from tapetum.encoders.imagenet import class_groups, class_names


def meant(words: str) -> dict[str, frozenset[str]]:
    return {meaning.word: meaning.names for meaning in find_meanings(words, class_names(), class_groups())[0]}


def test_common_nouns_mean_their_classes() -> None:
    assert meant("cats") == {"cats": {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}}
    assert len(meant("a dog")["dog"]) == 118
    assert "plane" not in meant("plane")["plane"]  # the carpenter's
    assert meant("a Red Wine bottle")["red wine"] == {"red wine"}
    assert meant("traffic lights") == {"traffic lights": {"traffic light"}}
    assert set(meant("a dog on the beach")) == {"dog", "beach"}
    assert meant("butterflies")["butterflies"] == set(class_groups()["butterfly"])
    assert meant("foxes")["foxes"] == {"red fox", "kit fox", "Arctic fox", "grey fox"}
    assert "bass" not in meant("bassoon")


def test_words_in_names_are_whole_words() -> None:
    meanings, unknown = find_meanings("wood xylophone", class_names(), class_groups())
    assert [meaning.names for meaning in meanings] == [{"wood rabbit"}]
    assert unknown == ("xylophone",)


def test_what_means_nothing_is_refused_with_what_is_near() -> None:
    with pytest.raises(BadInput, match=r"by 'a trombon'; near are trombone"):
        find_meanings("a trombon", class_names(), class_groups())
    for words in ("", "???", "猫", "x" * 1000):
        with pytest.raises(BadInput, match="no name of the classifier's classes is meant"):
            find_meanings(words, class_names(), class_groups())


def test_all_words_should_be_there() -> None:
    dog, beach = Meaning("dog", frozenset(("pug", "boxer"))), Meaning("beach", frozenset(("seashore",)))
    both = score_tags([("pug", 0.25), ("boxer", 0.25), ("seashore", 0.5)], [dog, beach])
    assert both == pytest.approx(0.5)
    assert score_tags([("pug", 0.75)], [dog, beach]) == pytest.approx(0.375)
    assert score_tags([], [dog]) == 0
