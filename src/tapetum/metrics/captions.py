"""Captions against references, as COCO's evaluation scores them (Chen et al., arXiv 1504.00325): CIDEr, BLEU-1 to 4, ROUGE-L.

    CIDEr    arXiv 1411.5726: cosine of the weighted n-grams (1 to 4) of a caption and each reference, an n-gram weighing less
             the more images of the set have it in their references; times 10, the mean over n and references. Papers print
             it times 100, so 1.2 here is 120 there
    BLEU     shares of n-grams that a reference has, over all captions together, less where they are shorter than the closest
             reference
    ROUGE-L  F of the longest common subsequence, recall counting 1.2 squared times, the best of references for each part

Unusual, kept: the usual CIDEr is CIDEr-D: counts are clipped, and the score is multiplied by a Gaussian of the difference in
length (sigma 6); lengths are counted in word pairs. Weights come from the references that are scored, so a set of one image has
CIDEr 0, and scores of two sets, or of parts of one, are not comparable.

Words are split by `ptb`; METEOR and SPICE need Java and are not included.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from tapetum.core.errors import BadInput, check_several
from tapetum.metrics.pairing import paired, text
from tapetum.metrics.ptb import ptb_words

MOST_WORDS = 4
"""Longest n-grams."""
_SIGMA = 6.0
_BETA = 1.2
_TINY, _SMALL = 1e-15, 1e-9
Counts = Counter[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class CaptionScores:
    """Scores of captions against their references."""

    cider: float
    """0..10; papers print it times 100."""
    bleu: tuple[float, float, float, float]
    """BLEU-1 to BLEU-4, 0..1."""
    rouge_l: float
    """0..1"""
    cider_each: Mapping[Hashable, float]
    """Of each caption."""
    rouge_each: Mapping[Hashable, float]


def caption_scores(
    predictions: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]], *, missing: str | None = None
) -> CaptionScores:
    """Score captions by image (or clip), one an image against one reference or more.

    `missing` counts as the caption if there is none; None refuses. Raises BadInput for ids that don't match, captions
    that are not text, and an image without a reference.

    >>> scores = caption_scores({1: "A red cat.", 2: "two dogs"}, {1: ["a red cat", "a cat"], 2: ["three dogs run"]})
    >>> round(scores.cider, 3), round(scores.bleu[0], 3), round(scores.rouge_l, 3)
    (2.882, 0.655, 0.693)
    """
    candidates, tokenized = {}, {}
    for key, prediction, several in paired(predictions, references, missing=missing):
        check_several(several, f"the references of {key!r}")
        if not len(several):
            raise BadInput(f"the references of {key!r} are {several!r}; give a list of one text or more")
        candidates[key] = ptb_words(text(prediction, key))
        tokenized[key] = [ptb_words(text(reference, key)) for reference in several]
    each = cider_scores(candidates, tokenized)
    rouge = {key: rouge_l(words, tokenized[key]) for key, words in candidates.items()}
    return CaptionScores(
        cider=sum(each.values()) / len(each),
        bleu=bleu(candidates, tokenized),
        rouge_l=sum(rouge.values()) / len(rouge),
        cider_each=each,
        rouge_each=rouge,
    )


def cider_scores(candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]]) -> dict[Hashable, float]:
    """Compute CIDEr-D of each caption, 0..10. Words are split at spaces; the same ids on both sides."""
    counted = {key: [_grams(reference) for reference in several] for key, several in references.items()}
    images: Counter[tuple[str, ...]] = Counter()
    for several in counted.values():
        images.update({gram for grams in several for gram in grams})
    log_all = math.log(len(counted))
    return {
        key: _cider(_weighted(_grams(words), images, log_all), [_weighted(g, images, log_all) for g in counted[key]])
        for key, words in candidates.items()
    }


def bleu(candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]]) -> tuple[float, float, float, float]:
    """Compute BLEU-1 to 4 of all captions together. Words are split at spaces; the same ids on both sides."""
    matched, possible = [0] * MOST_WORDS, [0] * MOST_WORDS
    length = reference_length = 0
    for key, words in candidates.items():
        several = [_grams(reference) for reference in references[key]]
        long = len(words.split())
        most: Counts = Counter()
        for grams in several:
            most |= grams
        for gram, count in _grams(words).items():
            matched[len(gram) - 1] += min(count, most[gram])
        for n in range(MOST_WORDS):
            possible[n] += max(0, long - n)
        length += long
        reference_length += min((abs(len(r.split()) - long), len(r.split())) for r in references[key])[1]
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for n in range(MOST_WORDS):
        product *= (matched[n] + _TINY) / (possible[n] + _SMALL)
        scores.append(product ** (1 / (n + 1)) * brevity)
    return scores[0], scores[1], scores[2], scores[3]


def rouge_l(candidate: str, references: Sequence[str]) -> float:
    """Compute ROUGE-L of one caption, 0..1. Words are split at spaces.

    >>> round(rouge_l("the cat sat", ["a cat sat down", "the dog"]), 4)
    0.5571
    """
    check_several(references, "the references")
    words = candidate.split(" ")
    common = [(_longest_common(words, r.split(" ")), len(r.split(" "))) for r in references]
    precision, recall = max(c for c, _ in common) / len(words), max(c / long for c, long in common)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision) if precision and recall else 0.0


def _grams(words: str) -> Counts:
    split = words.split()
    return Counter(tuple(split[i : i + n]) for n in range(1, MOST_WORDS + 1) for i in range(len(split) - n + 1))


@dataclass(frozen=True)
class _Weighted:
    """n-grams of a text with their weights, by n."""

    grams: list[dict[tuple[str, ...], float]]
    norms: list[float]
    pairs: int


def _weighted(grams: Counts, images: Counts, log_all: float) -> _Weighted:
    weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(MOST_WORDS)]
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * (log_all - math.log(max(1, images[gram])))
    norms = [math.sqrt(sum(weight * weight for weight in one.values())) for one in weights]
    return _Weighted(weights, norms, sum(count for gram, count in grams.items() if len(gram) == 2))


def _cider(candidate: _Weighted, references: list[_Weighted]) -> float:
    total = 0.0
    for reference in references:
        likeness = 0.0
        for n in range(MOST_WORDS):
            norm = candidate.norms[n] * reference.norms[n]
            if norm:
                weights = reference.grams[n]
                shared = sum(
                    min(weight, weights.get(gram, 0.0)) * weights.get(gram, 0.0) for gram, weight in candidate.grams[n].items()
                )
                likeness += shared / norm
        total += likeness / MOST_WORDS * math.exp(-((candidate.pairs - reference.pairs) ** 2) / (2 * _SIGMA**2))
    return 10 * total / len(references)


def _longest_common(a: list[str], b: list[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        corner = 0
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = corner + 1 if word == other else max(above, row[j - 1])
            corner = above
    return row[-1]
