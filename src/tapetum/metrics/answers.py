"""One answer against what is right: the scores of question answering, each 0..1. Whole sets: `answer_sets`.

    vqa_accuracy         VQAv2, TextVQA      arXiv 1612.00837; official code and its quirks
    simple_vqa_accuracy  OKVQA, A-OKVQA, VizWiz (local)
    any_match            RSVQA and others that take any of several answers
    exact_match          GQA, NLVR2, VSR, OCR-VQA (lower), AI2D, video questions
    anls                 DocVQA, InfoVQA, ST-VQA   arXiv 1905.13648
    relaxed_match        ChartQA             arXiv 2203.10244, section 5.1
    option_letter        ScienceQA           arXiv 2209.09513
    count_of             TallyQA, CountBenchQA

They are those of PaliGemma's evaluation (arXiv 2407.07726; github.com/google-research/big_vision), which lower-cases only where
`lower` is said. Unusual, kept:

- VQA's normaliser deletes a mark everywhere where it touches a space anywhere, or where any digit,digit stands in the text;
  else it puts a space. Of full stops that no digit follows it deletes the first 32 (the official code passes a flag as
  a count). Nothing is normalised where all references are the same.
- ANLS gives 0 from a distance of one half on, as the paper; the server of DocVQA gives 0.5 at one half exactly.
"""

import math
import re
from collections.abc import Sequence

from tapetum.core.errors import BadInput, check_several
from tapetum.metrics.edits import levenshtein
from tapetum.metrics.vqa_words import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION

_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_MOST_FULL_STOPS = 32
_SCIENCE = re.compile(r"the answer is ([a-z])\.")
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
_COUNTS = NUMBERS | {word: str(number) for number, word in enumerate(_TEENS.split(), 11)}


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Score an answer by its agreement with people: the mean of min(1, matches / 3) over all references but one.

    Raises BadInput for fewer than two references.

    >>> round(vqa_accuracy("two", ["2"] * 3 + ["3"] * 7), 6)
    0.9
    """
    check_several(references, "the references")
    if len(references) < 2:
        raise BadInput(f"there are {len(references)} references; accuracy that leaves one out needs two or more, VQA has ten")
    answer, references = _one_line(answer), [_one_line(r) for r in references]
    if len(set(references)) > 1:
        answer, references = vqa_normalised(answer), [vqa_normalised(r) for r in references]
    matches = sum(r == answer for r in references)
    without = [min(1.0, (matches - (r == answer)) / 3) for r in references]
    return sum(without) / len(without)


def vqa_normalised(text: str) -> str:
    """Return what the official evaluation of VQA compares of a text.

    >>> vqa_normalised("A cat, two dogs."), vqa_normalised("1,000 t-shirts")
    ('cat 2 dogs', '1000 tshirts')
    """
    comma, out = _COMMA.search(text) is not None, text
    for mark in PUNCTUATION:
        out = out.replace(mark, "" if comma or f"{mark} " in text or f" {mark}" in text else " ")
    words = _FULL_STOP.sub("", out, count=_MOST_FULL_STOPS).lower().split()
    words = [NUMBERS.get(word, word) for word in words]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def simple_vqa_accuracy(answer: str, references: Sequence[str], lower: bool = False) -> float:
    """Score min(1, exact matches / 3), nothing normalised. Raises BadInput without references."""
    return min(1.0, _matches(answer, references, lower) / 3)


def any_match(answer: str, references: Sequence[str], lower: bool = False) -> float:
    """Score 1 where the answer is any of the references. Raises BadInput without references."""
    return min(1.0, float(_matches(answer, references, lower)))


def exact_match(answer: str, reference: str, lower: bool = False) -> float:
    """Score 1 where the answer is the reference, to the letter."""
    return float(answer.lower() == reference.lower() if lower else answer == reference)


def anls(answer: str, references: Sequence[str], threshold: float = 0.5) -> float:
    """Score 1 less the edit distance as a share of the longer text, 0 from `threshold` on; the best reference counts.

    An empty reference is matched by an empty answer alone. Raises BadInput without references.

    >>> anls("Helo", ["hello"]), anls("abcd", ["hello"])
    (0.8, 0.0)
    """
    _some(references)
    return max(_similarity(answer.lower(), r.lower(), threshold) for r in references)


def relaxed_match(answer: str, reference: str, tolerance: float = 0.05, lower: bool = True) -> float:
    """Score 1 where both are numbers (5% is 0.05) that differ by at most a share of the right one, or where texts are the same.

    A right number of 0 has to be met to the letter.

    >>> relaxed_match("104", "100"), relaxed_match("5%", "5"), relaxed_match("0.0", "0"), relaxed_match("Blue", "blue")
    (1.0, 0.0, 0.0, 1.0)
    """
    answer, reference = (answer.lower(), reference.lower()) if lower else (answer, reference)
    said, right = _number(answer), _number(reference)
    if said is not None and right:
        return float(abs(said - right) / abs(right) <= tolerance)
    return float(answer == reference)


def option_letter(text: str) -> str | None:
    """Return the letter of "The answer is B." at the start of a text, in lower case; None where it says no such thing.

    >>> option_letter("The answer is B. Because ..."), option_letter("B")
    ('b', None)
    """
    found = _SCIENCE.match(text.lower())
    return found[1] if found else None


def count_of(text: str) -> str:
    """Return the digits of a number word from none and zero to twenty; any other text as it is.

    >>> count_of("Twelve"), count_of("12")
    ('12', '12')
    """
    return _COUNTS.get(text.lower(), text)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _some(references: Sequence[str]) -> None:
    check_several(references, "the references")
    if not len(references):
        raise BadInput(f"the references are {references!r}; give a list of one text or more")


def _matches(answer: str, references: Sequence[str], lower: bool) -> int:
    _some(references)
    return sum(exact_match(answer, r, lower) == 1 for r in references)


def _similarity(answer: str, reference: str, threshold: float) -> float:
    if not reference:
        return float(not answer)
    distance = levenshtein(answer, reference) / max(len(answer), len(reference))
    return 1 - distance if distance < threshold else 0.0


def _number(text: str) -> float | None:
    try:
        number = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
