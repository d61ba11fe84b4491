"""Pareto fronts of accuracy against cost, with uncertainty.

A setting is a size, a method, a budget and a variant; its seeds are its rows. Its score has two sources of uncertainty:

    the images it is scored on   resampled, the same ones for all settings, so that differences are those of pairs
    the seed                       normal errors, by the root of the number of seeds: one that all settings of a size share
                                   on that seed (it orders and crops the same images for all of them), which falls out of
                                   differences on equal seeds, and one of each row's own. Their deviations are estimated
                                   from the settings with several seeds; where no setting has two, they are left out

A setting is on the Pareto front if its score is above that of everything that costs no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from tapetum.core.errors import BadInput

DRAWS = 2000
"""Of the bootstrap."""
_SEED = 27


def mean_iou(counts: Int64[np.ndarray, "*n k k"]) -> Float[np.ndarray, "*n"]:
    """Compute the mean IoU of tables of true (row) and predicted classes, over classes that occur or are predicted.

    >>> float(mean_iou(np.array([[1, 0], [1, 2]])))
    0.5833333333333333
    """
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(-1) + counts.sum(-2) - hit
    share = np.where(union > 0, hit / np.maximum(union, 1), np.nan)
    return np.nanmean(share, -1)


@dataclass(frozen=True)
class RunGroup:
    """Rows of one setting, which differ by their seed alone."""

    rows: tuple[Mapping[str, Any], ...]
    by_seed: Float[np.ndarray, "rows draws"]
    """Samples of the score of each row."""

    @property
    def samples(self) -> Float[np.ndarray, " draws"]:
        """Sample the mean of the rows' scores."""
        return self.by_seed.mean(0)

    def minus(self, other: "RunGroup") -> tuple[float, Float[np.ndarray, " draws"]]:
        """Compute the difference to another setting, and samples of it, on the seeds that both have, if any.

        The seed also determines order and crops in the transfer, so a lucky seed is lucky for all settings.
        """
        seeds = {row["seed"] for row in self.rows} & {row["seed"] for row in other.rows}
        one, two = ([k for k, row in enumerate(s.rows) if row["seed"] in seeds or not seeds] for s in (self, other))
        value = np.mean([self.rows[k]["miou"] for k in one]) - np.mean([other.rows[k]["miou"] for k in two])
        return float(value), self.by_seed[one].mean(0) - other.by_seed[two].mean(0)

    def __getattr__(self, name: str) -> Any:
        """Return a value that all rows share, such as `method`, or the mean of a measured one, such as `cpu_seconds`."""
        if name.startswith("__") or name not in self.rows[0]:
            raise AttributeError(name)
        first = self.rows[0][name]
        if isinstance(first, bool | str) or name in ("budget", "flops", "forward_flops"):
            return first
        values = [row[name] for row in self.rows if row[name] is not None]
        return float(np.mean(values)) if values else None


def interval(samples: Float[np.ndarray, " draws"], questions: int = 1) -> tuple[float, float]:
    """Compute the ends of the 95 % interval of samples; for several questions, 95 % jointly (Bonferroni)."""
    low, high = np.quantile(samples, (0.025 / questions, 1 - 0.025 / questions)).tolist()
    return low, high


SettingKey = tuple[str, str, float, str]
"""Size, method, budget and variant."""


def group_rows(
    rows: Sequence[Mapping[str, Any]], counts: Sequence[Int64[np.ndarray, "n k k"]] = (), draws: int = DRAWS
) -> dict[SettingKey, RunGroup]:
    """Group rows by setting, with the counts on each scored image; without counts, samples only reflect seeds.

    Raises BadInput if rows were scored on different images.
    """
    if not rows:
        raise BadInput("the study has no finished point yet; let tapetum study run go on")
    if len({one.shape for one in counts}) > 1:
        raise BadInput("points of the study were scored on different images; run it anew")
    rng = np.random.default_rng(_SEED)
    scores = resampled(counts, rng, draws) if counts else np.array([[row["miou"]] * draws for row in rows])
    pooled, own = (deviation or 0.0 for deviation in seed_deviations(rows))
    shared = np.sqrt(max(pooled**2 - own**2, 0.0))
    luck = {key: shared * rng.standard_normal(draws) for key in dict.fromkeys((row["size"], row["seed"]) for row in rows)}
    groups = {}
    for key, which in _places(rows).items():
        noise = rng.standard_normal((len(which), draws)) * own
        noise += np.stack([luck[rows[k]["size"], rows[k]["seed"]] for k in which])
        groups[key] = RunGroup(tuple(rows[k] for k in which), scores[which] + noise)
    return groups


def _places(rows: Sequence[Mapping[str, Any]]) -> dict[SettingKey, list[int]]:
    places: dict[SettingKey, list[int]] = {}
    for k, row in enumerate(rows):
        key = str(row["size"]), str(row["method"]), float(row["budget"]), str(row["variant"])
        places.setdefault(key, []).append(k)
    return places


def resampled(
    counts: Sequence[Int64[np.ndarray, "n k k"]], rng: np.random.Generator, draws: int
) -> Float[np.ndarray, "rows draws"]:
    """Score every row on the same resamples of the images."""
    images = len(counts[0])
    weights = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    return np.stack([mean_iou((weights @ one.reshape(images, -1)).reshape(draws, *one.shape[1:])) for one in counts])


def seed_deviations(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float] | tuple[None, None]:
    """Compute the standard deviation of scores between seeds: pooled over settings, and of an additive model of setting and
    seed effects, separately for each size; with too few rows to separate the two they are equal. None if no setting has two.

    >>> rows = [{"size": "s", "method": m, "budget": 1, "variant": "curated", "seed": k, "miou": y}
    ...         for m, k, y in (("a", 1, 1.0), ("a", 2, 3.0), ("b", 1, 2.0), ("b", 2, 6.0))]
    >>> [round(deviation, 6) for deviation in seed_deviations(rows)]
    [2.236068, 1.0]
    """
    several = [which for which in _places(rows).values() if len(which) > 1]
    if not several:
        return None, None
    scores = np.array([row["miou"] for row in rows], float)
    squares = sum(float(((scores[which] - scores[which].mean()) ** 2).sum()) for which in several)
    pooled = float(np.sqrt(squares / sum(len(which) - 1 for which in several)))
    repeated = [k for which in several for k in which]
    seeds = [(row["size"], row["seed"]) for row in rows]
    columns = [[k in which for k in repeated] for which in several]
    columns += [[seeds[k] == seed for k in repeated] for seed in {seeds[k] for k in repeated}]
    design, scores = np.array(columns, float).T, scores[repeated]
    fit, _, rank, _ = np.linalg.lstsq(design, scores, rcond=None)
    if len(repeated) <= rank:
        return pooled, pooled
    return pooled, float(np.sqrt(((scores - design @ fit) ** 2).sum() / (len(repeated) - rank)))


def front(costs: Float[np.ndarray, " n"], scores: Float[np.ndarray, "*b n"]) -> Bool[np.ndarray, "*b n"]:
    """Mark the points whose score is above that of everything that costs no more; if both are equal, the first.

    >>> front(np.array([1.0, 2.0, 2.0, 4.0]), np.array([0.3, 0.2, 0.5, 0.5])).tolist()
    [True, False, True, False]
    """
    order, on = np.arange(len(costs)), np.empty(scores.shape, bool)
    for k, cost in enumerate(costs):
        own = scores[..., k, None]
        first = (costs < cost) | ((costs == cost) & (order < k))
        on[..., k] = (scores[..., costs <= cost] <= own).all(-1) & (scores[..., first] < own).all(-1)
    return on


def crossing(
    flops: Float[np.ndarray, " n"], small: Float[np.ndarray, "*b n"], large: Float[np.ndarray, "*b n"]
) -> Float[np.ndarray, "*b"]:
    """Find the FLOPs at which the large network overtakes for good, interpolating linearly over log FLOPs.

    NaN if it is ahead from the start, or not ahead at the end.

    >>> float(crossing(np.array([1e10, 1e12]), np.array([0.2, 0.3]), np.array([0.1, 0.4])))
    100000000000.0
    """
    ahead, x = large - small, np.log10(flops)
    where = np.full(ahead.shape[:-1], np.nan)
    for k in range(len(x) - 1):
        a, b = ahead[..., k], ahead[..., k + 1]
        passes = (a <= 0) & (b > 0)
        share = np.where(passes, -a / np.where(passes, b - a, 1), 0)
        where = np.where(passes, x[k] + share * (x[k + 1] - x[k]), where)
    where = np.where(ahead[..., -1] > 0, where, np.nan)
    return 10.0**where
