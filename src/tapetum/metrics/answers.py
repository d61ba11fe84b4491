"""Scores of answers to questions, each 0..1; of whole sets POPE and MMVP.

    vqa_accuracy         VQAv2, TextVQA      arXiv 1612.00837; official code and its quirks
    simple_vqa_accuracy  OKVQA, A-OKVQA, VizWiz (local)
    any_match            RSVQA and others that take any of several answers
    exact_match          GQA, NLVR2, VSR, OCR-VQA (lower), AI2D, video questions
    anls                 DocVQA, InfoVQA, ST-VQA   arXiv 1905.13648
    relaxed_match        ChartQA             arXiv 2203.10244, section 5.1
    option_letter        ScienceQA           arXiv 2209.09513
    count_of             TallyQA, CountBenchQA
    pope_scores          POPE (arXiv 2305.10355): yes or no, with F1 of yes and the share of answers that are either
    mmvp_scores          MMVP (arXiv 2401.06209): a pair of questions is right if both are

They are those of PaliGemma's evaluation (arXiv 2407.07726; github.com/google-research/big_vision), which lower-cases only where
`lower` is set. Unusual, kept:

- VQA's normaliser deletes a mark everywhere where it touches a space anywhere, or where any digit,digit stands in the text;
  else it puts a space. Of full stops that no digit follows it deletes the first 32 (the official code passes a flag as
  a count). Nothing is normalised where all references are the same.
- ANLS gives 0 from a distance of one half on, as the paper; the server of DocVQA gives 0.5 at one half exactly.

Differs from PaliGemma's evaluation: F1 of POPE is added.
"""

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tapetum.core.errors import BadInput, check_several
from tapetum.metrics.pairing import paired, text
from tapetum.metrics.text import levenshtein

# The words of the official evaluation of VQA (Antol et al., arXiv 1505.00468; github.com/GT-Vision-Lab/VQA).
_NUMBERS = "zero one two three four five six seven eight nine ten"
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS.split())}
ARTICLES = frozenset(("a", "an", "the"))
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
"""Each is deleted or becomes a space; apostrophe, colon and full stop are not among them."""

_CONTRACTIONS = """
aint=ain't arent=aren't cant=can't couldve=could've couldnt=couldn't couldn'tve=couldn't've couldnt've=couldn't've
didnt=didn't doesnt=doesn't dont=don't hadnt=hadn't hadnt've=hadn't've hadn'tve=hadn't've hasnt=hasn't havent=haven't
hed=he'd hed've=he'd've he'dve=he'd've hes=he's howd=how'd howll=how'll hows=how's Id've=I'd've I'dve=I'd've Im=I'm
Ive=I've isnt=isn't itd=it'd itd've=it'd've it'dve=it'd've itll=it'll let's=let's maam=ma'am mightnt=mightn't
mightnt've=mightn't've mightn'tve=mightn't've mightve=might've mustnt=mustn't mustve=must've neednt=needn't notve=not've
oclock=o'clock oughtnt=oughtn't ow's'at='ow's'at 'ows'at='ow's'at 'ow'sat='ow's'at shant=shan't shed've=she'd've
she'dve=she'd've she's=she's shouldve=should've shouldnt=shouldn't shouldnt've=shouldn't've shouldn'tve=shouldn't've
somebody'd=somebodyd somebodyd've=somebody'd've somebody'dve=somebody'd've somebodyll=somebody'll somebodys=somebody's
someoned=someone'd someoned've=someone'd've someone'dve=someone'd've someonell=someone'll someones=someone's
somethingd=something'd somethingd've=something'd've something'dve=something'd've somethingll=something'll thats=that's
thered=there'd thered've=there'd've there'dve=there'd've therere=there're theres=there's theyd=they'd theyd've=they'd've
they'dve=they'd've theyll=they'll theyre=they're theyve=they've twas='twas wasnt=wasn't wed've=we'd've we'dve=we'd've
weve=we've werent=weren't whatll=what'll whatre=what're whats=what's whatve=what've whens=when's whered=where'd
wheres=where's whereve=where've whod=who'd whod've=who'd've who'dve=who'd've wholl=who'll whos=who's whove=who've
whyll=why'll whyre=why're whys=why's wont=won't wouldve=would've wouldnt=wouldn't wouldnt've=wouldn't've
wouldn'tve=wouldn't've yall=y'all yall'll=y'all'll y'allll=y'all'll yall'd've=y'all'd've y'alld've=y'all'd've
y'all'dve=y'all'd've youd=you'd youd've=you'd've you'dve=you'd've youll=you'll youre=you're youve=you've
"""
CONTRACTIONS = {wrong: right for wrong, _, right in (pair.partition("=") for pair in _CONTRACTIONS.split())}
"""By what was written. "somebody'd" loses its apostrophe, and those with a capital never occur, since texts are lower-cased by
then: both as the official table has it."""

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
    """Normalise a text as the official evaluation of VQA does before comparing.

    >>> vqa_normalised("A cat, two dogs."), vqa_normalised("1,000 t-shirts")
    ('cat 2 dogs', '1000 tshirts')
    """
    comma, out = _COMMA.search(text) is not None, text
    for mark in PUNCTUATION:
        out = out.replace(mark, "" if comma or f"{mark} " in text or f" {mark}" in text else " ")
    words = _FULL_STOP.sub("", out, count=_MOST_FULL_STOPS).lower().split()
    words = [NUMBERS.get(word, word) for word in words]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def simple_vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Score min(1, exact matches / 3), nothing normalised. Raises BadInput without references."""
    _some(references)
    return min(1.0, sum(answer == reference for reference in references) / 3)


def any_match(answer: str, references: Sequence[str], lower: bool = False) -> float:
    """Score 1 if the answer is any of the references. Raises BadInput without references."""
    _some(references)
    return max(exact_match(answer, reference, lower) for reference in references)


def exact_match(answer: str, reference: str, lower: bool = False) -> float:
    """Score 1 if the answer is exactly the reference."""
    return float(answer.lower() == reference.lower() if lower else answer == reference)


def anls(answer: str, references: Sequence[str]) -> float:
    """Score 1 minus the edit distance as a fraction of the longer text, 0 from a half on; the best reference counts.

    Only an empty answer matches an empty reference. Raises BadInput without references.

    >>> anls("Helo", ["hello"]), anls("abcd", ["hello"])
    (0.8, 0.0)
    """
    _some(references)
    return max(_similarity(answer.lower(), r.lower()) for r in references)


def relaxed_match(answer: str, reference: str) -> float:
    """Score 1 if both are numbers (5% is 0.05) that differ by at most 5% of the right one, or texts that are equal except
    for case.

    A right number of 0 must be matched exactly.

    >>> relaxed_match("104", "100"), relaxed_match("5%", "5"), relaxed_match("0.0", "0"), relaxed_match("Blue", "blue")
    (1.0, 0.0, 0.0, 1.0)
    """
    answer, reference = answer.lower(), reference.lower()
    predicted, expected = _number(answer), _number(reference)
    if predicted is not None and expected:
        return float(abs(predicted - expected) / abs(expected) <= 0.05)
    return float(answer == reference)


def option_letter(text: str) -> str | None:
    """Read the letter of "The answer is B." at the start of a text, in lower case; None if it has another form.

    >>> option_letter("The answer is B. Because ..."), option_letter("B")
    ('b', None)
    """
    match = _SCIENCE.match(text.lower())
    return match[1] if match else None


def count_of(text: str) -> str:
    """Write the digits of a number word from none and zero to twenty; any other text as it is.

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


def _similarity(answer: str, reference: str) -> float:
    if not reference:
        return float(not answer)
    distance = levenshtein(answer, reference) / max(len(answer), len(reference))
    return 1 - distance if distance < 0.5 else 0.0


def _number(text: str) -> float | None:
    try:
        number = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class YesNoScores:
    """Scores of yes-or-no answers, 0..1."""

    accuracy: float
    precision: float
    """Of yes; 0 where yes was never predicted."""
    recall: float
    """Of yes; 0 where it was never right."""
    f1: float
    """Of yes; 0 where precision and recall are."""
    yes: float
    valid: float
    """Share of questions answered yes or no; any other answer is wrong, and no yes."""
    count: int


def pope_scores(predictions: Mapping[Key, str], targets: Mapping[Key, str]) -> YesNoScores:
    """Score answers to yes-or-no questions, by id, in any case of letters.

    Raises BadInput for a truth that is neither, ids that don't match, and answers that are not text.
    """
    rows = [(text(answer, k).lower(), target.lower(), k) for k, answer, target in paired(predictions, targets)]
    for _, target, key in rows:
        if target not in ("yes", "no"):
            raise BadInput(f"the right answer of {key!r} is {target!r}; it must be yes or no")
    n, hits = len(rows), sum(answer == target == "yes" for answer, target, _ in rows)
    predicted_yes = sum(answer == "yes" for answer, _, _ in rows)
    target_yes = sum(target == "yes" for _, target, _ in rows)
    return YesNoScores(
        accuracy=sum(answer == target for answer, target, _ in rows) / n,
        precision=hits / predicted_yes if predicted_yes else 0.0,
        recall=hits / target_yes if target_yes else 0.0,
        f1=2 * hits / (predicted_yes + target_yes) if predicted_yes + target_yes else 0.0,
        yes=predicted_yes / n,
        valid=sum(answer in ("yes", "no") for answer, _, _ in rows) / n,
        count=n,
    )


def mmvp_scores(
    predictions: Mapping[Key, str], targets: Mapping[Key, str], pairs: Mapping[Key, Hashable]
) -> dict[Hashable, bool]:
    """Score pairs of questions: whether both answers are exactly the truth. `pairs` maps each question to its pair.

    Raises BadInput unless every pair has two questions, for ids that don't match, and answers that are not text.

    >>> mmvp_scores({1: "a", 2: "b"}, {1: "a", 2: "a"}, {1: "p", 2: "p"})
    {'p': False}
    """
    members: dict[Hashable, list[bool]] = {}
    for key, answer, target in paired(predictions, targets):
        members.setdefault(pairs[key], []).append(text(answer, key) == target)
    for pair, right in members.items():
        if len(right) != 2:
            raise BadInput(f"the pair {pair!r} has {len(right)} questions; give two")
    return {pair: all(right) for pair, right in members.items()}
