"""Answers to a whole set of questions, by id, and their means: overall and by kind of question. Single answers: `answers`.

    answer_scores     any score of `answers`, also by kind: VQAv2 (yes/no, number, other), ChartQA (human, aug)
    rsvqa_scores      RSVQA (arXiv 2003.07333): the mean over kinds of question, each kind alike
    pope_scores       POPE (arXiv 2305.10355): yes or no, with F1 of yes and the share of answers that are either
    mmvp_scores       MMVP (arXiv 2401.06209): a pair of questions is right where both are
    science_scores    ScienceQA, with the share of answers that say no letter
    count_scores      TallyQA (arXiv 1810.12440), CountBenchQA: number words are digits; also the mean by true count

Differs from PaliGemma's evaluation: F1 of POPE is added; its mean of RSVQA without numbers, of which it logs two under one
name, is `rsvqa_scores` with `kinds` of one's choice.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tapetum.core.errors import BadInput, check_several
from tapetum.metrics.answers import any_match, count_of, exact_match, option_letter
from tapetum.metrics.pairing import paired, text

Key = TypeVar("Key", bound=Hashable)
Truth = TypeVar("Truth")


@dataclass(frozen=True, kw_only=True)
class AnswerScores:
    """How well a set of questions was answered; all means 0..1."""

    mean: float
    """Over all questions."""
    by_kind: Mapping[str, float]
    """Over the questions of each kind; empty where no kinds were told."""
    counts: Mapping[str, int]
    """Questions of each kind."""
    count: int
    """Questions."""
    scores: Mapping[Hashable, float]
    """Of each question."""

    @property
    def mean_of_kinds(self) -> float:
        """The mean over kinds, each alike. ChartQA reports it."""
        return sum(self.by_kind.values()) / len(self.by_kind) if self.by_kind else self.mean


def answer_scores(
    predictions: Mapping[Key, str],
    truths: Mapping[Key, Truth],
    score: Callable[[str, Truth], float],
    kinds: Mapping[Key, str] | None = None,
    *,
    missing: str | None = None,
) -> AnswerScores:
    """Score answers by the id of their question.

    `score` is one of `answers`, or any other of (answer, truth). `missing` is what counts as the answer where there is none;
    None refuses. Raises BadInput for ids without an answer, answers of no question, answers that are no text, and a question
    without a kind where kinds are told.

    >>> from tapetum.metrics.answers import exact_match
    >>> answer_scores({1: "red", 2: "3"}, {1: "red", 2: "4"}, exact_match, {1: "colour", 2: "count"}).by_kind
    {'colour': 1.0, 'count': 0.0}
    """
    scores = {k: float(score(text(said, k), truth)) for k, said, truth in paired(predictions, truths, missing=missing)}
    return _means(scores, kinds)


def rsvqa_scores(
    predictions: Mapping[Key, str],
    truths: Mapping[Key, Sequence[str]],
    types: Mapping[Key, str],
    kinds: Sequence[str] | None = None,
    lower: bool = True,
) -> AnswerScores:
    """Score questions of RSVQA; `mean_of_kinds` is its average accuracy and `mean` its overall accuracy.

    `kinds` are those that count, such as ("comp", "presence", "rural_urban") for the low resolution without numbers and
    ("comp", "presence") for the high; all where None. Raises BadInput as `answer_scores`, and where no question is of `kinds`.
    """
    if kinds is not None:
        check_several(kinds, "kinds")
        truths = {key: truth for key, truth in truths.items() if types.get(key) in kinds}
        if not truths:
            raise BadInput(
                f"no question is of the types {', '.join(kinds)}; the types are {', '.join(sorted(set(types.values())))}"
            )
        predictions = {key: said for key, said in predictions.items() if types.get(key, kinds[0]) in kinds}
    return answer_scores(predictions, truths, lambda said, right: any_match(said, right, lower), types)


@dataclass(frozen=True, kw_only=True)
class YesNoScores:
    """How well yes-or-no questions were answered, 0..1."""

    accuracy: float
    precision: float
    """Of yes; 0 where yes was never said."""
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


def pope_scores(predictions: Mapping[Key, str], truths: Mapping[Key, str], *, missing: str | None = None) -> YesNoScores:
    """Score answers to yes-or-no questions, in any case of letters. Raises BadInput for a truth that is neither, and as
    `answer_scores`."""
    rows = [(text(said, k).lower(), right.lower(), k) for k, said, right in paired(predictions, truths, missing=missing)]
    for _, right, key in rows:
        if right not in ("yes", "no"):
            raise BadInput(f"the right answer of {key!r} is {right!r}; it must be yes or no")
    n, hits = len(rows), sum(said == right == "yes" for said, right, _ in rows)
    said_yes, true_yes = sum(said == "yes" for said, _, _ in rows), sum(right == "yes" for _, right, _ in rows)
    return YesNoScores(
        accuracy=sum(said == right for said, right, _ in rows) / n,
        precision=hits / said_yes if said_yes else 0.0,
        recall=hits / true_yes if true_yes else 0.0,
        f1=2 * hits / (said_yes + true_yes) if said_yes + true_yes else 0.0,
        yes=said_yes / n,
        valid=sum(said in ("yes", "no") for said, _, _ in rows) / n,
        count=n,
    )


def mmvp_scores(
    predictions: Mapping[Key, str],
    truths: Mapping[Key, str],
    pairs: Mapping[Key, Hashable],
    score: Callable[[str, str], float] = exact_match,
) -> AnswerScores:
    """Score pairs of questions: 1 where both are right. `pairs` tells the pair of each question.

    Raises BadInput for a pair of other than two questions, and as `answer_scores`.

    >>> mmvp_scores({1: "a", 2: "b"}, {1: "a", 2: "a"}, {1: "p", 2: "p"}).mean
    0.0
    """
    single = answer_scores(predictions, truths, score).scores
    members: dict[Hashable, list[float]] = {}
    for key in truths:
        if key not in pairs:
            raise BadInput(f"question {key!r} is in no pair; tell the pair of every question")
        members.setdefault(pairs[key], []).append(single[key])
    for pair, found in members.items():
        if len(found) != 2:
            raise BadInput(f"the pair {pair!r} has {len(found)} questions; wanted two")
    return _means({pair: float(all(right == 1 for right in found)) for pair, found in members.items()}, None)


def science_scores(predictions: Mapping[Key, str], truths: Mapping[Key, str]) -> tuple[AnswerScores, float]:
    """Score answers "The answer is B." against such truths; also the share of answers that say no letter, which are wrong.

    Raises BadInput for a truth that says none, and as `answer_scores`.
    """
    for key, right in truths.items():
        if option_letter(text(right, key)) is None:
            raise BadInput(f"the right answer of {key!r} is {right!r}; it must begin as 'The answer is B.'")
    found = answer_scores(predictions, truths, lambda said, right: float(option_letter(said) == option_letter(right)))
    return found, sum(option_letter(said) is None for said in predictions.values()) / found.count


def count_scores(
    predictions: Mapping[Key, str], truths: Mapping[Key, str], kinds: Mapping[Key, str] | None = None
) -> tuple[AnswerScores, dict[str, float]]:
    """Score counts, number words being digits; also the mean for each true count. `kinds`: TallyQA's simple and complex.

    Raises BadInput as `answer_scores`.

    >>> count_scores({1: "two", 2: "3"}, {1: "2", 2: "4"})[1]
    {'2': 1.0, '4': 0.0}
    """
    found = answer_scores(predictions, truths, lambda said, right: float(count_of(said) == count_of(right)), kinds)
    by_count = _means(dict(found.scores), {key: count_of(right) for key, right in truths.items()}).by_kind
    return found, dict(by_count)


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
