"""Scores of answers to questions: of a single one, each 0..1, and means over whole sets, by id.

    vqa_accuracy         VQAv2, TextVQA      arXiv 1612.00837; official code and its quirks
    simple_vqa_accuracy  OKVQA, A-OKVQA, VizWiz (local)
    any_match            RSVQA and others that take any of several answers
    exact_match          GQA, NLVR2, VSR, OCR-VQA (lower), AI2D, video questions
    anls                 DocVQA, InfoVQA, ST-VQA   arXiv 1905.13648
    relaxed_match        ChartQA             arXiv 2203.10244, section 5.1
    option_letter        ScienceQA           arXiv 2209.09513
    count_of             TallyQA, CountBenchQA
    answer_scores        the mean of any of these over a set, also by kind: VQAv2 (yes/no, number, other), ChartQA (human, aug)
    rsvqa_scores         RSVQA (arXiv 2003.07333): the mean over kinds of question, with equal weights
    pope_scores          POPE (arXiv 2305.10355): yes or no, with F1 of yes and the share of answers that are either
    mmvp_scores          MMVP (arXiv 2401.06209): a pair of questions is right if both are

They are those of PaliGemma's evaluation (arXiv 2407.07726; github.com/google-research/big_vision), which lower-cases only where
`lower` is set. Unusual, kept:

- VQA's normaliser deletes a mark everywhere where it touches a space anywhere, or where any digit,digit stands in the text;
  else it puts a space. Of full stops that no digit follows it deletes the first 32 (the official code passes a flag as
  a count). Nothing is normalised where all references are the same.
- ANLS gives 0 from a distance of one half on, as the paper; the server of DocVQA gives 0.5 at one half exactly.

Differs from PaliGemma's evaluation: F1 of POPE is added; its mean of RSVQA without numbers, of which it logs two under one
name, is `rsvqa_scores` with `kinds` of one's choice.
"""

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
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


def simple_vqa_accuracy(answer: str, references: Sequence[str], lower: bool = False) -> float:
    """Score min(1, exact matches / 3), nothing normalised. Raises BadInput without references."""
    return min(1.0, _matches(answer, references, lower) / 3)


def any_match(answer: str, references: Sequence[str], lower: bool = False) -> float:
    """Score 1 if the answer is any of the references. Raises BadInput without references."""
    return min(1.0, float(_matches(answer, references, lower)))


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


def _matches(answer: str, references: Sequence[str], lower: bool) -> int:
    _some(references)
    return sum(exact_match(answer, r, lower) == 1 for r in references)


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
Target = TypeVar("Target")


@dataclass(frozen=True, kw_only=True)
class AnswerScores:
    """Scores of a set of answers; all means 0..1."""

    mean: float
    """Over all questions."""
    by_kind: Mapping[str, float]
    """Over the questions of each kind; empty where no kinds are given."""
    counts: Mapping[str, int]
    """Questions of each kind."""
    count: int
    """Questions."""
    scores: Mapping[Hashable, float]
    """Of each question."""

    @property
    def mean_of_kinds(self) -> float:
        """Compute the mean over kinds, with equal weights. ChartQA reports it."""
        return sum(self.by_kind.values()) / len(self.by_kind) if self.by_kind else self.mean


def answer_scores(
    predictions: Mapping[Key, str],
    targets: Mapping[Key, Target],
    score: Callable[[str, Target], float],
    kinds: Mapping[Key, str] | None = None,
    *,
    missing: str | None = None,
) -> AnswerScores:
    """Score answers by the id of their question.

    `score` is one of `answers`, or any other of (answer, truth). `missing` counts as the answer if there is none;
    None refuses. Raises BadInput for ids without an answer, answers without a question, answers that are not text, and a
    question without a kind if kinds are used.

    >>> from tapetum.metrics.answers import exact_match
    >>> answer_scores({1: "red", 2: "3"}, {1: "red", 2: "4"}, exact_match, {1: "colour", 2: "count"}).by_kind
    {'colour': 1.0, 'count': 0.0}
    """
    scores = {k: float(score(text(answer, k), target)) for k, answer, target in paired(predictions, targets, missing=missing)}
    return _means(scores, kinds)


def rsvqa_scores(
    predictions: Mapping[Key, str],
    targets: Mapping[Key, Sequence[str]],
    types: Mapping[Key, str],
    kinds: Sequence[str] | None = None,
    lower: bool = True,
) -> AnswerScores:
    """Score questions of RSVQA; `mean_of_kinds` is its average accuracy and `mean` its overall accuracy.

    `kinds` selects kinds, such as ("comp", "presence", "rural_urban") for the low resolution without numbers and
    ("comp", "presence") for the high; None: all. Raises BadInput as `answer_scores`, and if no question is of `kinds`.
    """
    if kinds is not None:
        check_several(kinds, "kinds")
        targets = {key: target for key, target in targets.items() if types.get(key) in kinds}
        if not targets:
            raise BadInput(
                f"no question is of the types {', '.join(kinds)}; the types are {', '.join(sorted(set(types.values())))}"
            )
        predictions = {key: answer for key, answer in predictions.items() if types.get(key, kinds[0]) in kinds}
    return answer_scores(predictions, targets, lambda answer, target: any_match(answer, target, lower), types)


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
    """Share of questions answered yes."""
    valid: float
    """Share of questions answered yes or no; any other answer is wrong, and no yes."""
    count: int
    """Questions."""


def pope_scores(predictions: Mapping[Key, str], targets: Mapping[Key, str], *, missing: str | None = None) -> YesNoScores:
    """Score answers to yes-or-no questions, in any case of letters. Raises BadInput for a truth that is neither, and as
    `answer_scores`."""
    rows = [(text(answer, k).lower(), target.lower(), k) for k, answer, target in paired(predictions, targets, missing=missing)]
    for _, target, key in rows:
        if target not in ("yes", "no"):
            raise BadInput(f"the right answer of {key!r} is {target!r}; it must be yes or no")
    n, hits = len(rows), sum(answer == target == "yes" for answer, target, _ in rows)
    predicted_yes, target_yes = (
        sum(answer == "yes" for answer, _, _ in rows),
        sum(target == "yes" for _, target, _ in rows),
    )
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
    predictions: Mapping[Key, str],
    targets: Mapping[Key, str],
    pairs: Mapping[Key, Hashable],
    score: Callable[[str, str], float] = exact_match,
) -> AnswerScores:
    """Score pairs of questions: 1 if both are right. `pairs` maps each question to its pair.

    Raises BadInput unless every pair has two questions, and as `answer_scores`.

    >>> mmvp_scores({1: "a", 2: "b"}, {1: "a", 2: "a"}, {1: "p", 2: "p"}).mean
    0.0
    """
    single = answer_scores(predictions, targets, score).scores
    members: dict[Hashable, list[float]] = {}
    for key in targets:
        if key not in pairs:
            raise BadInput(f"question {key!r} is in no pair; tell the pair of every question")
        members.setdefault(pairs[key], []).append(single[key])
    for pair, scores_of_pair in members.items():
        if len(scores_of_pair) != 2:
            raise BadInput(f"the pair {pair!r} has {len(scores_of_pair)} questions; give two")
    return _means({pair: float(all(value == 1 for value in scores_of_pair)) for pair, scores_of_pair in members.items()}, None)


def _means(scores: dict, kinds: Mapping | None) -> AnswerScores:
    by_kind: dict[str, list[float]] = {}
    for key, value in scores.items() if kinds is not None else ():
        if key not in kinds:  # type: ignore[operator]
            raise BadInput(f"question {key!r} has no kind; tell the kind of every question, or of none")
        by_kind.setdefault(kinds[key], []).append(value)  # type: ignore[index]
    return AnswerScores(
        mean=sum(scores.values()) / len(scores),
        by_kind={kind: sum(values) / len(values) for kind, values in sorted(by_kind.items())},
        counts={kind: len(values) for kind, values in sorted(by_kind.items())},
        count=len(scores),
        scores=scores,
    )
