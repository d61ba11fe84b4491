from pathlib import Path

import pytest

from tapetum.core.errors import BadInput
from tapetum.encoders import wordnet
from tapetum.encoders.imagenet import class_names, synsets
from tapetum.encoders.wordnet import find_noun, hypernyms, senses


def names(text: str) -> list[str]:
    noun = find_noun(text)
    return [] if noun is None else [class_names()[number] for number in noun.classes]


def test_every_class_is_a_sense_and_all_are_entities() -> None:
    assert all(index in senses()[number].classes for index, number in enumerate(synsets()))
    assert senses()["n00001740"].classes == tuple(range(1000))
    assert next(sense.number for sense in hypernyms(151)) == synsets()[151]
    assert hypernyms(151)[-1].words == ("entity",)


@pytest.mark.parametrize(("said", "name"), [("horse", "sorrel"), ("Killer-Whale", "killer whale"), ("ORCAS", "killer whale")])
def test_synonyms_and_hypernyms_are_found(said: str, name: str) -> None:
    assert name in names(said)


def test_hypernyms_have_all_their_classes() -> None:
    assert len(names("dog")) == 118  # 151 to 268 are dogs; dingo and dhole are other members of the family
    assert len(names("bird")) == 59
    assert names("cats") == names("cat")
    assert "lion" in names("big cat")
    assert "tabby" not in names("big cat")


def test_words_of_several_senses_keep_the_usual_one_or_all() -> None:
    assert names("car")
    assert "passenger car" not in names("car")
    assert names("cranes") == ["crane (bird)", "crane (machine)"]
    mouse = find_noun("mice")
    assert mouse is not None
    assert names("mouse") == ["mouse"]
    assert mouse.elsewhere is not None
    assert "rodent" in mouse.elsewhere


def test_kinds_of_a_thing_are_not_the_thing() -> None:
    pony = find_noun("ponies")
    assert pony is not None
    assert (pony.kind_of, pony.word) == (True, "pony")


def test_other_spellings_and_sentences_are_not_mended() -> None:
    assert names("a zebra") == names("Zebras") == ["zebra"]
    assert names("zebbra") == names("black cat") == names("xyz") == names("democracy") == names("") == names("犬") == []


def test_kinds_follow_english_where_wordnet_does_not() -> None:
    assert {"school bus", "bullet train", "sports car"} <= set(names("vehicle"))
    assert {"broccoli", "banana", "pizza"} <= set(names("food"))
    assert {"steam locomotive", "bullet train"} <= set(names("train"))
    assert {"crib", "cradle"} <= set(names("bed"))
    assert {"common newt", "amphibian"} <= set(names("amphibian"))


def test_a_missing_table_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: Path, encoding: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "read_text", gone)
    with pytest.raises(BadInput, match=r"wordnet\.txt, cannot be read .* install tapetum again"):
        wordnet._rows.__wrapped__()
