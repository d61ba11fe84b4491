"""A whole study: every point of a plan run once, locally or on Ray, and the table of results.

OUT/study.json          which plan on which data; another plan is refused
OUT/points/NAME/        a point: ledgers and logs of its trainings, the encoder, row.json
OUT/points.jsonl        the rows of all points that are done, in the order of the plan
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tapetum.core.errors import BadInput
from tapetum.core.files import write_json, write_text
from tapetum.core.jobs import Engine, gpus_for, run_jobs
from tapetum.core.reading import read_json
from tapetum.systems.pretraining.study.plan import PlanSource, StudyPlan, StudyPoint
from tapetum.systems.pretraining.study.point import ROW, PredictedPoint, predicted, read_row, run_point

STUDY, TABLE, POINTS = "study.json", "points.jsonl", "points"


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """A study, and what it will cost."""

    source: PlanSource
    plan: StudyPlan
    out: Path
    points: tuple[PredictedPoint, ...]
    left: tuple[PredictedPoint, ...]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """Result of a call of `run_study`."""

    rows: tuple[dict[str, Any], ...]
    """Of all points that are done, in the order of the plan."""
    stopped: bool
    """A signal ended it."""


def predict_study(
    source: PlanSource, out: Path, say: Callable[[str], None] = lambda text: None, plan: StudyPlan | None = None
) -> StudyCost:
    """Count the FLOPs of a study in the folder `out`, and say what is left; nothing is written there. `plan` is that of
    `source`, with remote data replaced by copies on this machine.

    Raises BadInput for a folder of another study, and whatever plan and data raise.
    """
    plan = plan or source.read()
    _check(out, source)
    points = tuple(predicted(plan, point) for point in plan.points())
    left = tuple(cost for cost in points if not (out / POINTS / cost.point.name / ROW).is_file())
    learning, transfer = (sum(getattr(cost, name) for cost in left) for name in ("flops", "transfer_flops"))
    say(
        f"{len(points)} points, {len(points) - len(left)} of them done; left are {learning:.2e} FLOP of pre-training and "
        f"{transfer:.2e} of transfer (2 a multiply-add)"
    )
    return StudyCost(source=source, plan=plan, out=out, points=points, left=left)


def run_study(
    costs: StudyCost,
    *,
    engine: Engine = "local",
    workers: int = 1,
    most: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Swept:
    """Run the points that are not done, at most `most` in this call; `say` gets a line for each row.

    The engine local uses processes on this machine, `workers` points at a time (one: in this process); ray runs wherever Ray
    finds processors. Raises BadInput as `predict_study`.
    """
    plan, out = costs.plan, costs.out
    _check(out, costs.source)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / STUDY, asdict(costs.source))
    points, stopped = [cost.point for cost in costs.left][:most], False
    place = out / POINTS if engine == "local" else Path(os.path.realpath(out / POINTS))
    work = partial(_run_point, plan, place, 1 if engine == "ray" else torch.get_num_threads())
    for done, (_, row) in enumerate(run_jobs(work, points, engine=engine, workers=workers, gpus=gpus_for("auto")), 1):
        if row is None:
            stopped = True
            break
        write_table(plan, out)
        near = "" if row["knn"] is None else f"  neighbours {row['knn']:.3f}  linear {row['linear']:.3f}"
        cost = f"{row['flops']:.2e} FLOP  {row['cpu_seconds']:.0f} CPU s"
        say(f"{done}/{len(points)}  {row['name']}  {cost}{near}  mIoU {row['miou']:.4f}")
    return Swept(rows=tuple(write_table(plan, out)), stopped=stopped)


def _run_point(plan: StudyPlan, place: Path, threads: int, point: StudyPoint, _: None) -> dict[str, Any] | None:
    """Run a point in any process; None if a signal stopped it."""
    torch.set_num_threads(threads)
    return run_point(plan, point, place)


def write_table(plan: StudyPlan, out: Path) -> list[dict[str, Any]]:
    """Write the table of the points that are done; returns its rows."""
    files = (out / POINTS / point.name / ROW for point in plan.points())
    rows = [read_row(file) for file in files if file.is_file()]
    write_text(out / TABLE, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def read_plan_source(out: Path) -> PlanSource:
    """Read which study a folder belongs to. Raises BadInput if it belongs to none."""
    try:
        return PlanSource(**read_json(out / STUDY))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{out} is no folder of a study; give the --out of tapetum study run") from error


def _check(out: Path, source: PlanSource) -> None:
    if (out / STUDY).is_file():
        before = read_plan_source(out)
        same = replace(before, contents=source.contents, plan=source.plan) == source
        if same and before.plan != source.plan:  # an older version may have named a setting differently
            try:
                same = before.read() == source.read()
            except BadInput:
                same = False
        if not same:
            raise BadInput(f"{out} is of a study with another plan or other data; give another --out, or what it began with")
        if before.contents not in ("", source.contents):
            raise BadInput(
                f"{out} is of a study whose data had other files in them, or whose own classes had other code; give another "
                "--out, or those again"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out} is not empty and no study; give another --out")
