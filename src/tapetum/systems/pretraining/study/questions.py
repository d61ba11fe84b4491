"""The comparisons behind a claim of the study: differences with intervals, each with its expected side of the line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from jaxtyping import Float

from tapetum.metrics.statistics import Verdict, join_verdicts, judge_interval, t_interval
from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, interval
from tapetum.systems.pretraining.study.power import ComparedPair, describe_power

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
Judge = Callable[[float, float], Verdict]
"""From the ends of an interval to a verdict."""


@dataclass(frozen=True)
class Difference:
    """A number in points of mIoU: samples of it, as `fronts` draws them, and what it is on each seed."""

    samples: Samples
    by_seed: Mapping[int, float]

    def minus(self, other: "Difference") -> "Difference":
        """Subtract another difference, on the seeds of both."""
        by_seed = {seed: value - other.by_seed[seed] for seed, value in self.by_seed.items() if seed in other.by_seed}
        return Difference(self.samples - other.samples, by_seed)


def mean_of(differences: Sequence[Difference]) -> Difference:
    """Average differences, on the seeds common to all."""
    seeds = set.intersection(*(set(each.by_seed) for each in differences))
    by_seed = {seed: float(np.mean([each.by_seed[seed] for each in differences])) for seed in sorted(seeds)}
    return Difference(np.mean([each.samples for each in differences], axis=0), by_seed)


@dataclass(frozen=True)
class Comparison:
    """A difference in points of mIoU, and on which side of what it should be."""

    what: str
    difference: Difference
    judge: Judge
    lines: tuple[float, ...] = (0.0,)
    """Where the judge changes its mind."""
    of_two: bool = False
    """It is of two settings alone."""

    def power(self, seed_deviation: float) -> ComparedPair:
        """Split the deviation into a part from seeds (`seed_deviation`, in points, of one setting) and one from test images.

        If more than two settings are involved, all of it counts as from seeds, so the required number is a lower bound.
        """
        samples, seeds = self.difference.samples, len(self.difference.by_seed)
        both = self.of_two and seeds > 0
        between = sqrt(2) * seed_deviation if both else float(samples.std()) * sqrt(max(seeds, 1))
        images = max(float(samples.var()) - between**2 / seeds, 0.0) if both else 0.0
        mean = float(samples.mean())
        return ComparedPair(self.what, min(abs(mean - line) for line in self.lines), max(seeds, 1), between, sqrt(images))

    def judge_seeds(self, questions: int) -> tuple[Verdict, str]:
        """Judge the mean over seeds, as one of several questions: returns the verdict and its wording.

        The interval is Student's t over its own seeds, but no narrower than that of the samples, which include the scatter of
        all settings and the test images: three seeds that happen to agree decide nothing.
        """
        values = [*self.difference.by_seed.values()]
        if len(values) < 2:
            few = "one seed" if values else "no seed in common"
            return "undecided", f"{self.what} {self.difference.samples.mean():+.1f} ({few})"
        ends = t_interval(values, 1 - 0.05 / questions), interval(self.difference.samples, questions)
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return self.judge(low, high), f"{self.what} {np.mean(values):+.1f} ({low:+.1f} to {high:+.1f})"


def above(line: float = 0.0) -> Judge:
    """Build a judge for whether an interval is above a line."""
    return lambda low, high: judge_interval((low, high), line)


def below(low: float, high: float) -> Verdict:
    """Judge whether an interval is below 0."""
    return judge_interval((-high, -low))


def close(low: float, high: float) -> Verdict:
    """Judge whether an interval is within two points of 0."""
    return join_verdicts([judge_interval((low, high), -CLOSE), judge_interval((-high, -low), -CLOSE)])


def answer_claim(name: str, says: str, settings: Settings, questions: Sequence[Comparison], least: int, lead: str) -> Claim:
    """Answer all questions; a claim with fewer than the minimum number is not held."""
    if not questions:
        return Claim(name, says, "undecided", NONE)
    answers = [question.judge_seeds(len(questions)) for question in questions]
    verdict = join_verdicts([verdict for verdict, _ in answers])
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
    """Decide nothing until the deviation between seeds is known."""
    if settings.seed_deviation is not None or claim.verdict == "undecided":
        return claim
    finding = f"{claim.finding}; no setting has two seeds yet, so nothing is decided"
    return replace(claim, verdict="undecided", finding=finding)


def minus(one: RunGroup, other: RunGroup) -> Difference:
    """Subtract the scores of two settings, in points."""
    first, second = ({int(row["seed"]): 100 * float(row["miou"]) for row in group.rows} for group in (one, other))
    by_seed = {seed: first[seed] - second[seed] for seed in sorted(first) if seed in second}
    return Difference(100 * one.minus(other)[1], by_seed)


def compare(what: str, one: RunGroup, other: RunGroup, judge: Judge, lines: tuple[float, ...] = (0.0,)) -> Comparison:
    """Compare two settings on the seeds that both have."""
    return Comparison(what, minus(one, other), judge, lines, of_two=True)
