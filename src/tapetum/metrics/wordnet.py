"""WordNet from its own text files: synsets, base forms, the similarity of Wu and Palmer; and WUPS of two short answers.

The files are those of Princeton's releases 3.0 and 3.1 (manual page wndb(5WN)): index.PART, data.PART and PART.exc of noun,
verb, adj and adv in one folder. None of them is shipped: Debian's package wordnet-base has all twelve.

    similarity(a, b) = 2 depth(c) / (distance(a, c) + distance(b, c) + 2 depth(c))        (Wu and Palmer, ACL 1994)

with c the lowest common hypernym, and depths counted from 1.

Unusual, and the same as in nltk, whose numbers benchmarks report: c is chosen by its shortest way to the root, but its depth
is that of the longest; of several such c, the first by name counts, so that order matters; verbs, adjectives and adverbs have a
root above all of them, one further than the most distant hypernym. So two adjectives that differ have 0.5.

Differs from nltk: a hypernym that is reached again on its own path ends that path (nltk refuses).

WUPS (Malinowski and Fritz, arXiv 1410.0210) as open-ended NExT-QA scores it (Xiao et al., arXiv 2105.08276, and its public
program): for each word the most similar one of the other answer is found; these similarities are multiplied, in both
directions, and the lesser product counts. Of a similarity below the threshold a tenth counts; thresholds are 0 and 0.9.

Unusual, and so in that program: only the most frequent sense of a word counts, and a word that is like none of the other answer
is left out of the product instead of making it 0. Where answers are numbers, or yes and no, the same words count 1, others 0.

Differs from that program: it finds base forms with a tagger of parts of speech and a stemmer, here with WordNet alone
(`WordNet.lemma`); punctuation is no word.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes
from tapetum.metrics.captions import ptb_words

Synset = tuple[str, int]
"""Part of speech (noun, verb, adj, adv) and position in the file data.PART."""
_PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_ROOT: Synset = ("", -1)
_ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}
"""Endings and what replaces them (morphy(7WN)), in the order in which base forms are listed."""


class WordNet:
    """Synsets and their hypernyms."""

    def __init__(self, folder: str | Path) -> None:
        """Read the index of all words. Raises BadInput where one of the twelve files is missing or is not WordNet's."""
        self.folder = Path(folder)
        self._index = {part: dict(self._index_lines(part)) for part in _PARTS}
        self._exceptions = {part: dict(self._exception_lines(part)) for part in _PARTS}
        self._data = {part: self._read(f"data.{part}") for part in _PARTS}
        self.synsets = lru_cache(1 << 16)(self._synsets)
        self.similarity = lru_cache(1 << 16)(self._similarity)

    def base_forms(self, word: str, part: str) -> list[str]:
        """List the forms of a word that WordNet has in a part of speech: the word itself, then its bases, each once."""
        listed = self._exceptions[part].get(word)
        if listed is None:
            listed = [word[: len(word) - len(end)] + other for end, other in _ENDINGS[part] if word.endswith(end)]
        return [form for form in dict.fromkeys((word, *listed)) if form in self._index[part]]

    def _synsets(self, word: str) -> list[Synset]:
        """List the synsets of a word and its base forms: nouns, verbs, adjectives, adverbs, the most frequent of each first."""
        word = word.lower()
        return [(part, at) for part in _PARTS for form in self.base_forms(word, part) for at in self._index[part][form]]

    def lemma(self, word: str) -> str:
        """Find the shortest base form of a word, as noun or verb, else as adjective or adverb; else the word itself."""
        for parts in (("noun", "verb"), ("adj", "adv")):
            forms = [form for part in parts for form in self.base_forms(word, part)]
            if forms:
                return min(forms, key=len)
        return word

    def hypernyms(self, synset: Synset) -> list[Synset]:
        """List hypernyms and instance hypernyms of a synset."""
        fields = self._fields(synset)
        pointers = fields[4 + 2 * int(fields[3], 16) :]
        own = [pointers[k : k + 2] for k in range(1, 1 + 4 * int(pointers[0]), 4)]
        return [(synset[0], int(at)) for symbol, at in own if symbol in ("@", "@i")]

    def name(self, synset: Synset) -> str:
        """Compute the name of a noun or verb as nltk writes it, such as dog.n.01: first word, part, number of the sense."""
        fields = self._fields(synset)
        word = fields[4].partition("(")[0].lower()
        return f"{word}.{fields[2]}.{self._index[synset[0]][word].index(synset[1]) + 1:02}"

    def _similarity(self, first: Synset, second: Synset) -> float:
        """Compute the similarity of Wu and Palmer, 0..1; 0 where nothing stands above both."""
        rooted = first[0] != "noun" or second[0] != "noun"
        ways = self._distances(first, rooted), self._distances(second, rooted)
        common = ways[0].keys() & ways[1].keys()
        if not common:
            return 0.0
        depths = {each: 0 if each == _ROOT else min(self._depths(each)) for each in common}
        lowest = [each for each in common if depths[each] == max(depths.values())]
        subsumer = first if first in lowest else min(lowest, key=lambda each: "*" if each == _ROOT else self.name(each))
        above = {_ROOT: 0} if subsumer == _ROOT else self._distances(subsumer, rooted)
        depth = 1 + (0 if subsumer == _ROOT else max(self._depths(subsumer)))
        lengths = [min(way[each] + above[each] for each in way.keys() & above.keys()) for way in ways]
        return 2 * depth / (sum(lengths) + 2 * depth)

    def _distances(self, synset: Synset, rooted: bool) -> dict[Synset, int]:
        """Compute how far above a synset each of its hypernyms stands, by the shortest way; itself at 0."""
        distances, level = {synset: 0}, [synset]
        while level:
            above = [each for below in level for each in self.hypernyms(below)]
            level = [each for each in dict.fromkeys(above) if each not in distances]
            distances |= dict.fromkeys(level, max(distances.values()) + 1)
        return distances | {_ROOT: max(distances.values()) + 1} if rooted else distances

    def _depths(self, synset: Synset, below: frozenset[Synset] = frozenset()) -> Iterator[int]:
        """List how far below a root a synset stands, by every way."""
        above = [each for each in self.hypernyms(synset) if each not in below]
        if not above:
            yield 0
        for each in above:
            for depth in self._depths(each, below | {synset}):
                yield depth + 1

    def _fields(self, synset: Synset) -> list[str]:
        part, at = synset
        data = self._data[part]
        line = data[at : data.find(b"\n", at)].decode("latin-1").partition("|")[0]
        if line[:9] != f"{at:08} ":
            raise BadInput(f"{self.folder} has no synset {at:08} in data.{part}; give index and data files of one release")
        return line.split()

    def _read(self, name: str) -> bytes:
        try:
            return read_bytes(self.folder / name)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"cannot read WordNet's {self.folder / name}: {error}; give the folder of its index, data and exc files, such "
                "as /usr/share/wordnet of Debian's wordnet-base"
            ) from None

    def _index_lines(self, part: str) -> Iterator[tuple[str, list[int]]]:
        for number, line in enumerate(self._read(f"index.{part}").decode("latin-1").splitlines(), 1):
            if line[:1] in ("", " "):  # the licence
                continue
            fields = line.split()
            try:
                count = int(fields[2])
                offsets = [int(each) for each in fields[-count:]]
                known = fields[1] == _PARTS[part] and len(fields) == 6 + int(fields[3]) + count > 6
            except (IndexError, ValueError):
                known, offsets = False, []
            if not known:
                raise BadInput(
                    f"line {number} of {self.folder / f'index.{part}'} is no entry of WordNet; give the official file"
                )
            yield fields[0], offsets

    def _exception_lines(self, part: str) -> Iterator[tuple[str, list[str]]]:
        for line in self._read(f"{part}.exc").decode("latin-1").splitlines():
            form, *bases = line.split()
            yield form, bases


THRESHOLDS = (0.0, 0.9)
_LITTLE = 0.1


def answer_wups(
    prediction: str,
    references: Sequence[str],
    wordnet: WordNet,
    *,
    stop_words: Collection[str] = frozenset(),
    exact: bool = False,
) -> tuple[float, ...]:
    """Compute WUPS of an answer at each of `THRESHOLDS`, the best of its references.

    `exact` is for numbers and for yes and no: 1 where the content words are those of a reference, else 0.
    """
    words = content_words(prediction, wordnet, stop_words)
    several = [content_words(reference, wordnet, stop_words) for reference in references]
    if exact:
        return tuple(float(words in several) for _ in THRESHOLDS)
    return tuple(max(wups(words, each, wordnet, threshold) for each in several) for threshold in THRESHOLDS)


def content_words(text: str, wordnet: WordNet, stop_words: Collection[str] = frozenset()) -> list[str]:
    """Split an answer into base forms, without stop words (which may stand there in any form)."""
    words = [word for word in ptb_words(text).split() if word not in stop_words]
    return [lemma for lemma in map(wordnet.lemma, words) if lemma not in stop_words]


def word_similarity(first: str, second: str, wordnet: WordNet) -> float:
    """Compute the similarity of two words, 0..1, by their most frequent senses; 0 where WordNet lacks one of them."""
    if first == second:
        return 1.0
    synsets = wordnet.synsets(first), wordnet.synsets(second)
    return wordnet.similarity(synsets[0][0], synsets[1][0]) if all(synsets) else 0.0


def wups(prediction: Sequence[str], target: Sequence[str], wordnet: WordNet, threshold: float = 0.9) -> float:
    """Compute WUPS of two answers, given as words (`content_words`), 0..1."""
    return min(_product(prediction, target, wordnet, threshold), _product(target, prediction, wordnet, threshold))


def _product(words: Sequence[str], others: Sequence[str], wordnet: WordNet, threshold: float) -> float:
    product, counted = 1.0, False
    for word in words:
        similar = (word_similarity(word, other, wordnet) for other in others)
        best = max((each if each >= threshold else _LITTLE * each for each in similar), default=0.0)
        if best > 0:
            product, counted = product * best, True
    return product if counted else 0.0
