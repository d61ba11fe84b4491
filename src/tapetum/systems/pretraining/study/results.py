"""Results of a study so far: settings with their intervals, Pareto front, crossings, claims."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.reading import no_pipe
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.study.claims import budgets_of, judged, pairs_of_sizes
from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, crossing, front, interval, membership, settings_of
from tapetum.systems.pretraining.study.plan import UNTRAINED, StudyPlan
from tapetum.systems.pretraining.study.point import COUNTS
from tapetum.systems.pretraining.study.questions import Claim
from tapetum.systems.pretraining.study.sweep import POINTS, read_plan_source, write_table

RESULTS = "results.json"
_SEEN = 0.05
_ENOUGH = 20


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """Results of a study so far."""

    plan: StudyPlan
    rows: tuple[dict[str, Any], ...]
    settings: Settings
    claims: tuple[Claim, ...]
    planned: int
    """Points of the plan."""


@dataclass(frozen=True, kw_only=True)
class Overtaking:
    """Budget at which the large network of a family overtakes the small one."""

    family: str
    method: str
    flops: float | None
    """None where it does not, in the range of the budgets."""
    ends: tuple[float, float] | None
    """Of 95 % of the samples that have such a place; None where few have."""
    share: float
    """Of the samples that have one."""


def studied(out: Path) -> StudyResults:
    """Read the finished part of a study in a folder. Raises BadInput if it is not a study, or has no finished point."""
    plan = read_plan_source(out).read()
    rows, counts = write_table(plan, out), []
    for row in rows:
        file = out / POINTS / row["name"] / COUNTS
        try:
            counts.append(np.load(no_pipe(file))["counts"])
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"{file} cannot be read; remove its folder, and run the study again") from error
    settings = settings_of(rows, counts)
    claims = tuple(judged(plan, settings, [row["trackers"] for row in rows if row.get("trackers")]))
    return StudyResults(plan=plan, rows=tuple(rows), settings=settings, claims=claims, planned=len(plan.points()))


def on_front(settings: Settings) -> list[tuple[RunGroup, float, bool]]:
    """List the curated settings by budget, each with the share of samples in which it is on the front, and whether it is.

    A budget in whole steps differs by less than a step between methods; this is ignored.
    """
    learned = sorted((s for s in settings.curated() if s.method != UNTRAINED), key=lambda s: s.budget)
    if not learned:
        return []
    costs = np.array([s.budget for s in learned])
    members = front(costs, np.array([s.miou for s in learned]))
    return list(zip(learned, membership(learned, costs).tolist(), members.tolist(), strict=True))


def crossings(results: StudyResults) -> Iterator[Overtaking]:
    """Find where the large network overtakes, for each family and method."""
    settings = results.settings
    for small, large in pairs_of_sizes(results.plan, settings):
        for method in METHODS:
            budgets = budgets_of(settings, small, method)
            pairs = [(settings.get(small, method, b), settings.get(large, method, b)) for b in budgets]
            both = [(one, other) for one, other in pairs if one is not None and other is not None]
            if len(both) < 2:
                continue
            flops = np.array([one.budget for one, _ in both])
            values, samples = zip(*(large_one.minus(small_one) for small_one, large_one in both), strict=True)
            ahead = np.stack(samples, -1)
            at, drawn = (float(crossing(flops, np.zeros(len(flops)), np.array(values))), crossing(flops, 0 * ahead, ahead))
            there = drawn[np.isfinite(drawn)]
            yield Overtaking(
                family=results.plan.sizes[small].family,
                method=method,
                flops=at if np.isfinite(at) else None,
                ends=interval(there) if len(there) >= _ENOUGH else None,
                share=len(there) / len(drawn),
            )


def write_results(results: StudyResults, path: Path) -> Path:
    """Write the results, without the table, as JSON."""
    content = {
        "points": len(results.rows),
        "wanted": results.planned,
        "seed_deviation": results.settings.seed_deviation,
        "own_deviation": results.settings.own_deviation,
        "claims": [vars(claim) for claim in results.claims],
        "front": [
            {**dict(zip(("size", "method", "budget", "variant"), s.key, strict=True)), "miou": s.miou}
            | {"interval": list(s.interval), "share": share, "on": on}
            for s, share, on in on_front(results.settings)
            if on or share > _SEEN
        ],
        "crossings": [vars(place) for place in crossings(results)],
    }
    with whole_file(path) as temporary:
        write_text(temporary, json.dumps(content, indent=1) + "\n")
    return path
