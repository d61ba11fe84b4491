"""The comparisons on which a claim of the study rests: differences with intervals, each with the side on which it should be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np
from jaxtyping import Float

from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, interval
from tapetum.systems.pretraining.study.power import ComparedPair, describe_power

Verdict = Literal["held", "falsified", "undecided"]
NONE = "the points that it asks about were not done"
"""The finding where nothing can be compared."""
CLOSE = 2.0
"""Points of mIoU."""


@dataclass(frozen=True)
class Claim:
    """One claim, and its verdict."""

    name: str
    says: str
    verdict: Verdict
    finding: str
    """In words, with numbers."""
    power: str = ""
    """Whether the runs can decide it, with the calculation (`power`), or why that is not asked."""


Samples = Float[np.ndarray, " draws"]
Judge = Callable[[float, float], str]
"""From the ends of an interval to a verdict; an empty text where it can't tell."""


@dataclass(frozen=True)
class Comparison:
    """A difference in points of mIoU, and on which side of what it should be."""

    what: str
    samples: Samples
    judge: Judge
    lines: tuple[float, ...] = (0.0,)
    """Where the judge changes its mind."""
    seeds: int = 0
    """On which both settings were done; 0: it is not of two settings alone."""

    def power(self, seed_deviation: float) -> ComparedPair:
        """Split its deviation into that of seeds (`seed_deviation`, in points, of one setting) and of the test images.

        Where it is not of two settings alone, all of it counts as of seeds, so that what it takes is a lower bound.
        """
        between = sqrt(2) * seed_deviation if self.seeds else float(self.samples.std())
        images = max(float(self.samples.var()) - between**2 / self.seeds, 0.0) if self.seeds else 0.0
        mean = float(self.samples.mean())
        return ComparedPair(self.what, min(abs(mean - line) for line in self.lines), max(self.seeds, 1), between, sqrt(images))

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
    return "held" if max(-low, high) < CLOSE else "falsified" if low > CLOSE or high < -CLOSE else ""


def answer_claim(name: str, says: str, settings: Settings, questions: Sequence[Comparison], least: int, lead: str) -> Claim:
    """Answer all questions; a claim with fewer than the least number is not held."""
    if not questions:
        return Claim(name, says, "undecided", NONE)
    answers = [question.judge_interval(len(questions)) for question in questions]
    verdict = joined([verdict for verdict, _ in answers])
    finding = f"{lead}, points of mIoU: {'; '.join(line for _, line in answers)}"
    too_few = verdict == "held" and len(questions) < least
    claim = Claim(name, says, "undecided" if too_few else verdict, finding, power_of(settings, questions, least))
    return require_seeds(settings, claim)


def power_of(settings: Settings, questions: Sequence[Comparison], least: int) -> str:
    """Describe which of the comparisons the runs can decide."""
    if settings.own_deviation is None:
        return "No setting has two seeds, so that the deviation between seeds is not known: run some again with --seeds."
    pairs = [question.power(100 * settings.own_deviation) for question in questions]
    few = f" It has {len(questions)} comparisons of {least} at least." if len(questions) < least else ""
    return describe_power(pairs, len(questions)) + few


def require_seeds(settings: Settings, claim: Claim) -> Claim:
    """Decide nothing as long as it is not known how much seeds differ."""
    if settings.seed_deviation is not None or claim.verdict == "undecided":
        return claim
    finding = f"{claim.finding}; no setting has two seeds yet, so nothing is decided"
    return replace(claim, verdict="undecided", finding=finding)


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


def compare(what: str, one: RunGroup, other: RunGroup, judge: Judge, lines: tuple[float, ...] = (0.0,)) -> Comparison:
    """Compare two settings on the seeds that both have."""
    seeds = {row["seed"] for row in one.rows} & {row["seed"] for row in other.rows}
    return Comparison(what, minus(one, other), judge, lines, len(seeds))
