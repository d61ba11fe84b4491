"""What stands behind a mean in the pages of evidence, "± sample deviation over seeds" or an interval, and behind a verdict.

After ± is the sample standard deviation (n - 1) of runs that differ in their seed. In square brackets is a 95 % interval of the
mean by the bootstrap: 4,000 draws of the scored videos or images with replacement, their 2.5th and 97.5th percentile.
Benchmarks and `claims.py` write both by the functions here.

A claim is one or several `Part`s: means over seeds that are to lie above a bound, or below it. Each is judged by its 95 %
interval on Student's t; a claim is held where all its parts are, falsified where one is, else undecided. An undecided part says
how many seeds (or groups) would decide it with a power of 80 %, if its mean and deviation were the true ones; a few
seeds that do not count say it before a run.
"""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import root_scalar
from scipy.stats import nct, norm, t

from tapetum.metrics.statistics import Interval, Verdict, join_verdicts, judge_interval, t_interval

SEEDS = 1, 2, 3
DRAWS = 4000


def with_deviation(values: Sequence[float], digits: int) -> str:
    """Write the mean of some seeds and their sample standard deviation; of one seed alone its value."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Find the 95 % interval of the mean of what was scored, by the bootstrap."""
    x = np.asarray(values)
    means = x[np.random.default_rng(0).integers(0, len(x), (DRAWS, len(x)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def with_interval(values: Sequence[float], digits: int) -> str:
    """Write the mean change and its 95 % interval, with signs."""
    low, high = interval(values)
    return f"{np.mean(values):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def detectable_difference(seed_deviation: float, image_deviation: float, seeds: int, questions: int = 1) -> float:
    """Compute the smallest difference that is decided with 80 % power by Student's t, in the deviations' unit.

    `seed_deviation`: of the difference with one seed; `image_deviation`: from the test images, for any number of seeds. A
    true difference d is decided in 80 % of studies if P(T > t(1 - 0.025/questions)) >= 0.8, T of the noncentral t
    distribution around |d| / sqrt(images² + seeds²/n) with n - 1 degrees of freedom. One seed decides nothing.
    """
    return _deviations(seeds, questions) * (image_deviation**2 + seed_deviation**2 / seeds) ** 0.5


@cache
def _deviations(seeds: int, questions: int) -> float:
    """Compute how many deviations of the mean a difference must be away from the line."""
    if seeds < 2:
        return float("inf")
    least = float(t.ppf(1 - 0.025 / questions, seeds - 1))
    return root_scalar(lambda off: nct.sf(least, seeds - 1, off) - 0.8, bracket=(0, 4 * least + 10)).root


def seeds_needed(difference: float, seed_deviation: float, image_deviation: float, questions: int = 1) -> int | None:
    """Compute how many seeds decide a difference with 80 % power; None if a thousand don't, often for the test images."""

    def decide(seeds: int) -> bool:
        return detectable_difference(seed_deviation, image_deviation, seeds, questions) <= difference

    low, high = 1, 1000
    if not decide(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decide(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Part:
    """A mean over seeds, of which a claim says that it lies above a bound, or below it."""

    what: str
    values: Sequence[float]
    """One a seed, or one alone that is counted and so has no interval."""
    bound: float = 0.0
    below: bool = False
    counted: bool = False
    digits: int = 1

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the mean."""
        return (self.values[0], self.values[0]) if self.counted else t_interval(self.values)

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        low, high = self.interval
        return judge_interval((-high, -low), -self.bound) if self.below else judge_interval((low, high), self.bound)

    @property
    def needed(self) -> int | None:
        """How many seeds would decide it, were mean and deviation the true ones; None: more than a thousand, or unknown."""
        if self.counted or len(self.values) < 2:
            return None
        away = abs(statistics.fmean(self.values) - self.bound)
        return seeds_needed(away, statistics.stdev(self.values), 0.0) if away else None

    def __str__(self) -> str:
        low, high = self.interval
        undecided = self.verdict == "undecided" and len(self.values) > 1
        more = f" ({self.needed or 'over 1,000'} would decide)" if undecided else ""
        mean, low, high, bound = (f"{n:.{self.digits}f}" for n in (statistics.fmean(self.values), low, high, self.bound))
        known = "" if self.counted else f" ({low} to {high})" if len(self.values) > 1 else " (one seed)"
        return f"{self.what} {mean}{known}, wanted {'below' if self.below else 'above'} {bound}{more}"


def verdict(parts: Sequence[Part]) -> Verdict:
    """Say what came of a claim; one whose runs are not finished has no parts, and is undecided."""
    return join_verdicts([part.verdict for part in parts])


def widened(value: float, interval: Interval, bunches: int) -> Interval:
    """Widen an interval of the bootstrap over a few bunches, as Student's t is wider than the normal distribution.

    Percentiles of n bunches are those of a deviation over n in place of n - 1, and of no doubt about it (Hesterberg, What
    Teachers Should Know About the Bootstrap, 2015, section 4.6).
    """
    factor = float(t.ppf(0.975, bunches - 1) / norm.ppf(0.975) * (bunches / (bunches - 1)) ** 0.5)
    return value - factor * (value - interval[0]), value + factor * (interval[1] - value)


def run_of(runs: Mapping[str, Any], arm: str, seed: int) -> Mapping[str, Any]:
    """Give a run by its arm and seed, at the rate that was chosen with the first; a study's last run has no other name."""
    name = f"{arm}-{seed}"
    return runs[name] if name in runs else runs[f"{name}@{runs[f'{arm}-1']['lr']:g}"]


def seeds_of(runs: Mapping[str, Any], *arms: str) -> list[int]:
    """List the seeds of which all arms have a run, from 1 on."""
    seeds = list[int]()
    with suppress(KeyError):
        while all(run_of(runs, arm, len(seeds) + 1) for arm in arms):
            seeds.append(len(seeds) + 1)
    return seeds


def difference(whole: Mapping[str, Any], run: Mapping[str, Any]) -> np.ndarray:
    """Find what average Jaccard changes by from one run of `evidence/bootstrap/claims.py` to another, in each of the videos."""
    return np.subtract(run["jaccards"], whole["jaccards"])


def as_many(start: Mapping[str, Any], run: Mapping[str, Any], threshold: float = 0.5) -> tuple[float, float]:
    """Find mean cycle error and share within 4 pixels of a run's surest points, as many as the start calls visible."""
    count = sum(confidence > threshold for confidence, _ in start["errors"])
    errors = np.array([error for _, error in sorted(run["errors"], reverse=True)[:count]])
    return float(errors.mean()), float((errors < 4).mean())
