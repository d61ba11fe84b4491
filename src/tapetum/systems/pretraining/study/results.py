"""Results of a study so far, as JSON and as a table: settings with their intervals, Pareto front, crossings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import write_json
from tapetum.core.reading import no_pipe
from tapetum.systems.pretraining.study.fronts import (
    RunGroup,
    SettingKey,
    crossing,
    front,
    group_rows,
    interval,
    seed_deviations,
)
from tapetum.systems.pretraining.study.plan import UNTRAINED, StudyPlan
from tapetum.systems.pretraining.study.point import COUNTS
from tapetum.systems.pretraining.study.sweep import POINTS, read_plan_source, write_table

RESULTS = "results.json"
_MIN_SHARE = 0.05
_MIN_CROSSINGS = 20


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    plan: StudyPlan
    rows: tuple[Mapping[str, Any], ...]
    groups: Mapping[SettingKey, RunGroup]


def read_results(out: Path) -> StudyResults:
    """Read the finished part of a study in a folder. Raises BadInput if it is not a study, or has no finished point."""
    plan = read_plan_source(out).read()
    rows, counts = write_table(plan, out), []
    for row in rows:
        file = out / POINTS / row["name"] / COUNTS
        try:
            counts.append(np.load(no_pipe(file))["counts"])
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"{file} cannot be read; remove its folder, and run the study again") from error
    return StudyResults(plan=plan, rows=tuple(rows), groups=group_rows(rows, counts))


def on_front(groups: Mapping[SettingKey, RunGroup]) -> Iterator[tuple[RunGroup, float, bool]]:
    """Yield the curated settings by budget, each with the share of samples in which it is on the front, and whether it is.

    A budget in whole steps differs by less than a step between methods; this is ignored.
    """
    curated = (group for group in groups.values() if group.variant == "curated" and group.method != UNTRAINED)
    if learned := sorted(curated, key=lambda group: group.budget):
        costs = np.array([group.budget for group in learned])
        members = front(costs, np.array([group.miou for group in learned]))
        shares = front(costs, np.stack([group.samples for group in learned], axis=1)).mean(0)
        yield from zip(learned, shares.tolist(), members.tolist(), strict=True)


def size_pairs(plan: StudyPlan, groups: Mapping[SettingKey, RunGroup]) -> Iterator[tuple[str, str]]:
    """Yield the smallest and the largest network of each family with at least two."""
    cost = {group.size: group.forward_flops for group in groups.values()}
    for family in dict.fromkeys(size.family for size in plan.sizes.values()):
        names = sorted((n for n, size in plan.sizes.items() if size.family == family and n in cost), key=lambda n: cost[n])
        if len(names) > 1:
            yield names[0], names[-1]


def find_crossings(results: StudyResults) -> Iterator[dict[str, Any]]:
    """Find the budget at which the large network overtakes the small one, for each family and method: `flops`, None where it
    does not; `ends` of 95 % of the samples that have one, None where few have; and the `share` of samples that do.
    """
    groups = results.groups
    for small, large in size_pairs(results.plan, groups):
        for method in dict.fromkeys(row["method"] for row in results.rows if row["method"] != UNTRAINED):
            keys = sorted(key for key in groups if key[0] == small and key[1] == method and key[3] == "curated")
            both = [(groups[key], groups[large, *key[1:]]) for key in keys if (large, *key[1:]) in groups]
            if len(both) < 2:
                continue
            flops = np.array([one.budget for one, _ in both])
            values, samples = zip(*(other.minus(one) for one, other in both), strict=True)
            ahead = np.stack(samples, -1)
            at, drawn = float(crossing(flops, 0 * flops, np.array(values))), crossing(flops, 0 * ahead, ahead)
            finite = drawn[np.isfinite(drawn)]
            yield {
                "family": results.plan.sizes[small].family,
                "method": method,
                "flops": at if np.isfinite(at) else None,
                "ends": interval(finite) if len(finite) >= _MIN_CROSSINGS else None,
                "share": len(finite) / len(drawn),
            }


def write_results(results: StudyResults, path: Path) -> None:
    """Write the results, without the rows, as JSON."""
    pooled, own = seed_deviations(results.rows)
    content = {
        "points": len(results.rows),
        "wanted": len(results.plan.points()),
        "seed_deviation": pooled,
        "own_deviation": own,
        "front": [
            {"size": s.size, "method": s.method, "budget": s.budget, "variant": s.variant, "miou": s.miou}
            | {"interval": list(interval(s.samples)), "share": share, "on": on}
            for s, share, on in on_front(results.groups)
            if on or share > _MIN_SHARE
        ],
        "crossings": list(find_crossings(results)),
    }
    write_json(path, content)


def results_table(results: StudyResults) -> str:
    """Format all settings as a table; of several seeds means are shown."""
    front_points = {id(group) for group, _, on in on_front(results.groups) if on}
    lines = [f"{'point':44} seeds     FLOPs   CPU s  neighbours  linear    mIoU  95 %               front"]
    for group in results.groups.values():
        near, linear = ("" if value is None else f"{value:.3f}" for value in (group.knn, group.linear))
        low, high = interval(group.samples)
        name = f"{group.size}, {group.method}, {group.variant}"
        lines.append(
            f"{name:44} {len(group.rows):5} {group.flops:9.3g} {group.cpu_seconds:7.0f} {near:>11} {linear:>7} "
            f"{group.miou:7.4f}  {low:.4f} to {high:.4f}  {'on' if id(group) in front_points else ''}".rstrip()
        )
    return "\n".join(lines)
