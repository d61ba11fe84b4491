"""Statistical power of a study: which differences its runs can detect, and how many seeds would decide the others.

The variation of a comparison of n seeds has two sources: the seeds, whose share falls with n, and the test images, whose share
does not. It is decided if its interval of level 1 - 0.05/q is on one side of a line, where q is the number of comparisons in
the claim (Bonferroni), by Student's t with n - 1 degrees of freedom. A true difference d from the line is decided in 80 % of
studies if

    P(T > t(1 - 0.025/q)) >= 0.8,    T of the noncentral t distribution around |d| / sqrt(images² + seeds²/n)

One seed decides nothing. The deviation between seeds is pooled over all settings with several seeds, so its own error is small.
For a comparison on equal seeds, seeds² is twice the square of a seed's effect after removing what it does to all settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, sqrt

from scipy.optimize import root_scalar
from scipy.stats import nct, t

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
