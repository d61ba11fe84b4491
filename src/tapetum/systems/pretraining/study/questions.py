"""The comparisons behind a claim of the study: differences with intervals, each with its expected side of the line.

Statistical power says which differences the runs can detect, and how many seeds would decide the others.

The variation of a comparison of n seeds has two sources: the seeds, whose share falls with n, and the test images, whose share
does not. It is decided if its interval of level 1 - 0.05/q is on one side of a line, where q is the number of comparisons in
the claim (Bonferroni), by Student's t with n - 1 degrees of freedom. A true difference d from the line is decided in 80 % of
studies if

    P(T > t(1 - 0.025/q)) >= 0.8,    T of the noncentral t distribution around |d| / sqrt(images² + seeds²/n)

One seed decides nothing. The deviation between seeds is pooled over all settings with several seeds, so its own error is small.
For a comparison on equal seeds, seeds² is twice the square of a seed's effect after removing what it does to all settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import inf, sqrt

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar
from scipy.stats import nct, t

from tapetum.metrics.statistics import Verdict, join_verdicts, judge_interval, t_interval
from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, interval

POWER = 0.8
"""Share of studies that decide a true difference."""
_LEVEL = 0.05
_MANY = 1000
"""Seeds beyond which nobody goes."""


def detectable_difference(seed_deviation: float, image_deviation: float, seeds: int, questions: int = 1) -> float:
    """Compute the smallest difference that is decided with 80 % power, in the deviations' unit.

    `seed_deviation`: of the difference with one seed; `image_deviation`: from the test images, for any number of seeds.

    >>> round(detectable_difference(1.0, 0.0, 4), 2), detectable_difference(1.0, 0.0, 1)
    (2.13, inf)
    """
    return _deviations(seeds, questions) * sqrt(image_deviation**2 + seed_deviation**2 / seeds)


def seeds_needed(difference: float, seed_deviation: float, image_deviation: float, questions: int = 1) -> int | None:
    """Compute how many seeds decide a difference with 80 % power; None if a thousand don't, usually because of the test images.

    >>> seeds_needed(1.0, 1.0, 0.0), seeds_needed(1.0, 1.0, 0.4)
    (10, None)
    """

    def decide(seeds: int) -> bool:
        return detectable_difference(seed_deviation, image_deviation, seeds, questions) <= difference

    if not decide(_MANY):
        return None
    low, high = 1, _MANY
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decide(middle) else (middle, high)
    return high


@cache
def _deviations(seeds: int, questions: int) -> float:
    """How many deviations of the mean a difference must be away from the line."""
    if seeds < 2:
        return inf
    least = float(t.ppf(1 - _LEVEL / 2 / questions, seeds - 1))
    return root_scalar(lambda off: nct.sf(least, seeds - 1, off) - POWER, bracket=(0, 4 * least + 10)).root


@dataclass(frozen=True)
class ComparedPair:
    """What the power of one comparison follows from, in points of mIoU."""

    what: str
    difference: float
    """From the nearest line on whose sides it may be."""
    seeds: int
    seed_deviation: float
    """Of the difference with one seed."""
    image_deviation: float

    def detectable(self, questions: int) -> float:
        """Compute the smallest difference that the seeds decide."""
        return detectable_difference(self.seed_deviation, self.image_deviation, self.seeds, questions)

    def needed(self, questions: int) -> int | None:
        """Compute the seeds needed if the measured difference is the true one."""
        return seeds_needed(self.difference, self.seed_deviation, self.image_deviation, questions)


def describe_power(pairs: Sequence[ComparedPair], questions: int) -> str:
    """Describe which comparisons of a claim can be decided, with the calculation, and what the others would need."""
    least, most = (extreme(pair.detectable(questions) for pair in pairs) for extreme in (min, max))
    seeds = sorted({pair.seeds for pair in pairs})
    deviations = _range([pair.seed_deviation for pair in pairs]), _range([pair.image_deviation for pair in pairs])
    weak = [pair for pair in pairs if abs(pair.difference) < pair.detectable(questions)]
    difference = f"a difference of {_range([d for d in (least, most) if d < inf])} points" if least < inf else "no difference"
    with_seeds = f"{seeds[0]}{f' to {seeds[-1]}' if len(seeds) > 1 else ''} seed{'s' if seeds[-1] > 1 else ''}"
    lines = [
        f"with {with_seeds} {difference} is told apart (power 80 %, 5 % over {questions} comparisons; a difference deviates by "
        f"{deviations[0]} between seeds and by {deviations[1]} for the test images)"
    ]
    if not weak:
        return f"These runs can decide it: {lines[0]}; all {len(pairs)} differences are larger."
    lines.append(f"{len(weak)} of {len(pairs)} differences are smaller")
    needed = [pair.needed(questions) for pair in weak]
    known = [count for count in needed if count is not None and count <= _MANY]
    if known:
        lines.append(f"{len(known)} of them would take {_range(known)} seeds were they true")
    if hopeless := len(weak) - len(known):
        lines.append(f"{hopeless} more than {_MANY:,} or no number of seeds: longer transfers or more test images are wanted")
    return f"These runs cannot decide all of it: {'; '.join(lines)}."


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


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
    """Whether the runs can decide it, with the calculation, or why that is not asked."""


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
