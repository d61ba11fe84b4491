"""WUPS: how similar the words of two short answers are by WordNet (Malinowski and Fritz, arXiv 1410.0210).

As open-ended NExT-QA scores it (Xiao et al., arXiv 2105.08276, and its public program): for each word the most similar one of
the other answer is found; these similarities are multiplied, in both directions, and the lesser product counts. Of a similarity
below the threshold a tenth counts; thresholds are 0 and 0.9.

Unusual, and so in that program: only the most frequent sense of a word counts, and a word that is like none of the other answer
is left out of the product instead of making it 0. Where answers are numbers, or yes and no, the same words count 1, others 0.

Differs from that program: it finds base forms with a tagger of parts of speech and a stemmer, here with WordNet alone
(`WordNet.lemma`); punctuation is no word.
"""

from collections.abc import Collection, Sequence

from tapetum.metrics.ptb import ptb_words
from tapetum.metrics.wordnet import WordNet

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
