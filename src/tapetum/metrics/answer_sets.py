"""Answers to a whole set of questions, by id, and their means: overall and by kind of question. Single answers: `answers`.

    answer_scores     any score of `answers`, also by kind: VQAv2 (yes/no, number, other), ChartQA (human, aug)
    rsvqa_scores      RSVQA (arXiv 2003.07333): the mean over kinds of question, with equal weights
    pope_scores       POPE (arXiv 2305.10355): yes or no, with F1 of yes and the share of answers that are either
    mmvp_scores       MMVP (arXiv 2401.06209): a pair of questions is right if both are

Differs from PaliGemma's evaluation: F1 of POPE is added; its mean of RSVQA without numbers, of which it logs two under one
name, is `rsvqa_scores` with `kinds` of one's choice.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tapetum.core.errors import BadInput, check_several
from tapetum.metrics.answers import any_match, exact_match
from tapetum.metrics.pairing import paired, text

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
