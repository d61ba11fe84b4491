"""WordNet's files and the similarity of Wu and Palmer, against nltk 3.10's numbers and against those worked out by hand.

On the whole of WordNet 3.0 (Debian's wordnet-base) 4,300 lists of synsets and 6,000 similarities were the same as nltk's.

WUPS by hand, on a tiny WordNet.
"""

from pathlib import Path

import pytest

from support.wordnet import write_wordnet
from tapetum.core.errors import BadInput
from tapetum.metrics.wordnet import WordNet, answer_wups, content_words, word_similarity, wups


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dog", "cat"), 2 * 2 / (1 + 1 + 2 * 2)),  # animal, second from the root
        (("dog", "rex"), 2 * 3 / (0 + 1 + 2 * 3)),  # an instance
        (("lapdog", "puppy"), 2 * 4 / (0 + 1 + 2 * 4)),  # lapdog, whose longest way counts
        (("puppy", "lapdog"), 2 * 3 / (2 + 1 + 2 * 3)),  # dog is as deep by the shortest way, and first by name
        (("lapdog", "lapcat"), 2 * 2 / (2 + 2 + 2 * 2)),  # animal is before pet
        (("lapcat", "puppy"), 2 * 2 / (2 + 3 + 2 * 2)),
        (("woman", "puppy"), 2 * 1 / (3 + 3 + 2 * 1)),  # entity
        (("walk", "run"), 2 * 1 / (2 + 2 + 2 * 1)),  # the root above verbs is before move
        (("walk", "guess"), 2 * 1 / (2 + 2 + 2 * 1)),
        (("red", "blue"), 0.5),
        (("red", "red"), 1.0),
        (("dog", "red"), 2 * 1 / (3 + 1 + 2 * 1)),
        (("slowly", "walk"), 2 * 1 / (1 + 2 + 2 * 1)),
    ],
)
def test_similarity_is_that_of_nltk(wordnet: WordNet, words: tuple[str, str], expected: float) -> None:
    first, second = (wordnet.synsets(word)[0] for word in words)
    assert wordnet.similarity(first, second) == pytest.approx(expected, abs=1e-12)


def test_words_are_found_by_their_base_forms(wordnet: WordNet) -> None:
    def names(word: str) -> list[str]:
        return [wordnet.name(synset) for synset in wordnet.synsets(word)]

    assert names("Women") == names("lady") == ["woman.n.01"]
    assert names("ran") == ["run.v.01", "run.v.02"]
    assert names("cats") == ["cat.n.01", "cat.n.02"]
    assert (names("walked"), names("thinking"), names("nothing")) == (["walk.v.01"], ["think.v.01"], [])
    assert [wordnet.lemma(word) for word in ("women", "walking", "bigger", "ladies", "nothings")] == [
        "woman",
        "walk",
        "bigger",  # morphy knows no doubled letters
        "lady",
        "nothings",
    ]


def test_a_circle_of_hypernyms_ends(tmp_path: Path) -> None:
    wordnet = WordNet(write_wordnet(tmp_path, verb=(("move", "walk"), ("walk", "move"))))
    first, second = (wordnet.synsets(word)[0] for word in ("move", "walk"))
    assert wordnet.hypernyms(first) == [second]
    assert wordnet.similarity(first, second) == 2 * 2 / (0 + 1 + 2 * 2)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot read WordNet's .*index.noun.*wordnet-base"):
        WordNet(tmp_path)
    folder = write_wordnet(tmp_path)
    (folder / "data.noun").write_text("  1 another release\n" + (folder / "data.noun").read_text())
    wordnet = WordNet(folder)
    with pytest.raises(BadInput, match="index and data files of one release"):
        wordnet.similarity(*(wordnet.synsets(word)[0] for word in ("dog", "cat")))
    (folder / "index.verb").write_text("walk v 2 1 @ 1 0 00000058\n")
    with pytest.raises(BadInput, match=r"line 1 of .*index.verb.* is no entry"):
        WordNet(folder)


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
