"""The comparisons on which a claim of the study rests: differences with intervals, each with the side on which it should be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, interval

Verdict = Literal["held", "falsified", "undecided"]
NONE = "the points that it asks about were not done"
"""The finding where nothing can be compared."""
_CLOSE = 2.0
"""Points of mIoU."""


@dataclass(frozen=True)
class Claim:
    """One claim, and its verdict."""

    name: str
    says: str
    verdict: Verdict
    finding: str
    """In words, with numbers."""


Samples = Float[np.ndarray, " draws"]
Judge = Callable[[float, float], str]
"""From the ends of an interval to a verdict; an empty text where it can't tell."""


@dataclass(frozen=True)
class Comparison:
    """A difference in points of mIoU, and on which side of what it should be."""

    what: str
    samples: Samples
    judge: Judge

    def judge_interval(self, questions: int) -> tuple[str, str]:
        """Judge the interval, as one of so many questions: the verdict, and words for it."""
        low, high = interval(self.samples, questions)
        return self.judge(low, high), f"{self.what} {self.samples.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def above(line: float = 0.0) -> Judge:
    """Build the judge of whether an interval is above a line."""
    return lambda low, high: "held" if low > line else "falsified" if high < line else ""


def below(low: float, high: float) -> str:
    """Judge whether an interval is below 0."""
    return "held" if high < 0 else "falsified" if low > 0 else ""


def close(low: float, high: float) -> str:
    """Judge whether an interval is within two points of 0."""
    return "held" if max(-low, high) < _CLOSE else "falsified" if low > _CLOSE or high < -_CLOSE else ""


def answer_claim(name: str, says: str, settings: Settings, questions: Sequence[Comparison], least: int, lead: str) -> Claim:
    """Answer all questions; a claim with fewer than the least number is not held."""
    if not questions:
        return Claim(name, says, "undecided", NONE)
    answers = [question.judge_interval(len(questions)) for question in questions]
    verdict = joined([verdict for verdict, _ in answers])
    finding = f"{lead}, points of mIoU: {'; '.join(line for _, line in answers)}"
    too_few = verdict == "held" and len(questions) < least
    return require_seeds(settings, Claim(name, says, "undecided" if too_few else verdict, finding))


def require_seeds(settings: Settings, claim: Claim) -> Claim:
    """Decide nothing as long as it is not known how much seeds differ."""
    if settings.seed_deviation is not None or claim.verdict == "undecided":
        return claim
    return Claim(claim.name, claim.says, "undecided", f"{claim.finding}; no setting has two seeds yet, so nothing is decided")


def joined(verdicts: Sequence[str]) -> Verdict:
    """Join verdicts: one that is falsified falsifies, and all must hold.

    >>> joined(["held", ""]), joined(["held", "falsified"]), joined(["held"]), joined([])
    ('undecided', 'falsified', 'held', 'undecided')
    """
    if "falsified" in verdicts:
        return "falsified"
    return "held" if verdicts and all(verdicts) else "undecided"


def minus(one: RunGroup, other: RunGroup) -> Samples:
    """Sample the difference of two settings, in points."""
    return 100 * one.minus(other)[1]
