"""Confidence intervals of fractions and of means, and verdicts on claims from an interval.

    wilson_interval      of a share of n independent trials (Wilson, J. Am. Stat. Assoc. 1927)
    bootstrap_interval   of a mean, or any number of a sample: percentiles over resamples (Efron, Ann. Stat. 1979)
    t_interval           of the mean of a few independent values, such as a score by seed (Student, Biometrika 1908)
    judge_interval       held, falsified or undecided: on which side of a bound an interval lies

All intervals take a confidence, usually 0.95. Groups: if examples come in groups (questions of one image, frames of one
video), whole groups are drawn, because examples within one are not independent.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Num
from scipy.stats import norm, t

from tapetum.core.errors import BadInput
from tapetum.metrics.pairing import finite_array

Interval = tuple[float, float]
Verdict = Literal["held", "falsified", "undecided"]


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Compute the interval of the fraction of successes. Raises BadInput for incompatible numbers.

    >>> [round(end, 4) for end in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    _check(confidence)
    if not 0 <= successes <= trials or trials < 1:
        raise BadInput(f"there are {successes} successes of {trials}; give 0 to {trials} of one trial or more")
    z = float(norm.ppf((1 + confidence) / 2))
    share, whole = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / whole
    reach = z / whole * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else float(middle - reach)
    return low, 1.0 if successes == trials else float(middle + reach)


def bootstrap_interval(
    values: Num[np.ndarray, " n"],
    confidence: float = 0.95,
    *,
    groups: Sequence[Hashable] | None = None,
    statistic: Callable[[np.ndarray], float] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Compute the interval of the mean of n values, or of another `statistic` of them.

    `groups` names the group of each value. The same seed gives the same interval. Raises BadInput if there are no values or
    one is not finite, for groups of another length, and fewer than 100 draws.
    """
    _check(confidence)
    values = finite_array(values, "values", 1)
    if not len(values) or draws < 100:
        raise BadInput(f"there are {len(values)} values and {draws} draws; give one value or more, and 100 draws or more")
    if groups is not None and len(groups) != len(values):
        raise BadInput(f"there are {len(groups)} groups of {len(values)} values; name the group of each")
    rng = np.random.default_rng([seed, 2027])
    numbers: dict[Hashable, int] = {}
    number = np.array([numbers.setdefault(group, len(numbers)) for group in (range(len(values)) if groups is None else groups)])
    bunches = int(number.max()) + 1
    if statistic is None:  # a mean needs the sums of bunches alone
        sums, sizes = np.bincount(number, values, bunches), np.bincount(number, minlength=bunches)
        estimates = np.empty(draws)
        for k in range(draws):
            drawn = rng.integers(0, bunches, bunches)
            estimates[k] = sums[drawn].sum() / sizes[drawn].sum()
    else:
        members = [np.flatnonzero(number == k) for k in range(bunches)]
        drawn = (rng.integers(0, bunches, bunches) for _ in range(draws))
        estimates = np.array([statistic(values[np.concatenate([members[k] for k in some])]) for some in drawn])
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def t_interval(values: Sequence[float] | Num[np.ndarray, " n"], confidence: float = 0.95) -> Interval:
    """Compute the interval of the mean of n independent values by Student's t with n - 1 degrees of freedom.

    A single value has an unbounded interval. Raises BadInput if there is no value or one is not finite.

    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    _check(confidence)
    x = finite_array(np.asarray(values, float), "values", 1)
    if not len(x):
        raise BadInput("there are no values; give one or more")
    if len(x) == 1:
        return float("-inf"), float("inf")
    reach = float(t.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return float(x.mean()) - reach, float(x.mean()) + reach


def judge_interval(interval: Interval, bound: float = 0.0) -> Verdict:
    """Judge the claim that a number is above a bound by the number's interval, which may be above, below or contain it."""
    low, high = interval
    return "held" if low > bound else "falsified" if high < bound else "undecided"


def join_verdicts(verdicts: Sequence[Verdict]) -> Verdict:
    """Combine the verdicts on the parts of a claim: a single falsified part falsifies it, and all must hold.

    >>> join_verdicts(["held", "undecided"]), join_verdicts(["held", "falsified"]), join_verdicts(["held"]), join_verdicts([])
    ('undecided', 'falsified', 'held', 'undecided')
    """
    if "falsified" in verdicts:
        return "falsified"
    return "held" if verdicts and set(verdicts) == {"held"} else "undecided"


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise BadInput(f"the confidence is {confidence}; give a share between 0 and 1, such as 0.95")
