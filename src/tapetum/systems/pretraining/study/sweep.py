"""A whole study: every point of a plan run once, locally or on Ray, and the table of results.

OUT/study.json          which plan on which data; another plan is refused
OUT/points/NAME/        a point: ledgers and logs of its trainings, the encoder, row.json
OUT/points.jsonl        the rows of all points that are done, in the order of the plan

The time of points on this machine is predicted from timing a little of each kind of work:

    point = pre-training: start + steps x step      first steps of each method on each network (`tapetum.train.rehearsal`)
          + neighbours and probe                    on few images
          + rates x fine-tuning, and its scores     first steps on each network; some images

Expensive work is measured on fewer images per step, down to `_LEAST_IMAGES`. Once the measuring time is used up, a method is
assumed to reach the same FLOPs per second as the one measured on the nearest network.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tapetum.account.config import LedgerConfig
from tapetum.account.machine import of_cpu_seconds
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.finished import write_settings
from tapetum.core.jobs import Engine, gpus_for, run_jobs
from tapetum.core.reading import read_json
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.run import duration, loop_config
from tapetum.systems.pretraining.study.data import KEPT, pool, varied
from tapetum.systems.pretraining.study.plan import SHAPES, UNTRAINED, PlanSource, StudyPlan, StudyPoint
from tapetum.systems.pretraining.study.point import (
    ROW,
    PixelTask,
    PredictedPoint,
    encoder_of,
    predicted,
    probed,
    read_row,
    run_point,
)
from tapetum.train.launch_config import Launch
from tapetum.train.rehearsal import Rehearsal, Seconds, rehearse
from tapetum.transfer.fine_tune import fine_tune_config

_OF_EACH = 0.15
"""Seconds for the steps of one method on one network."""
_ALL = 20.0
"""Seconds after which nothing more is measured."""
_DEAR, _LEAST_IMAGES = 2e10, 2
"""FLOPs of a step that is measured at most, if it has more images than these."""
_KNOWN, _QUERIES, _SCORED = 100, 60, 8
"""Images on which probes and scores are measured."""
_SHOWN = 64
"""Images of which steps are measured where they are drawn once and kept."""


@dataclass(frozen=True)
class Times:
    """Predicted times of points on this machine, one after the other in one process."""

    points: Mapping[str, Seconds]
    """Of each point, by its name."""
    once: Seconds
    """Of the drawing of images that are kept in memory after that."""

    @property
    def all(self) -> Seconds:
        """Sum all times."""
        return sum(self.points.values(), self.once)


def time_points(plan: StudyPlan, points: Sequence[PredictedPoint]) -> Times:
    """Measure a little of all kinds of work."""
    if not points:
        return Times({}, Seconds(0.0, 0.0))
    until = time.monotonic() + _ALL
    once = _drawing(plan)
    probed(_few(plan), encoder_of(plan, points[0].point, None))  # its images are kept in memory from now on
    learned: dict[tuple[str, str], tuple[Rehearsal, float]] = {}
    around: dict[str, Seconds] = {}
    for cost in sorted(points, key=lambda cost: cost.flops_per_step):
        point, key = cost.point, (cost.point.size, cost.point.method)
        if point.size not in around:
            around[point.size] = _around(plan, point)
        if point.method != UNTRAINED and key not in learned and (time.monotonic() < until or not _like(learned, key)):
            learned[key] = _learning(plan, cost)
    return Times({cost.point.name: around[cost.point.size] + _of(cost, learned) for cost in points}, once)


def _few(plan: StudyPlan) -> StudyPlan:
    """The plan with less to probe."""
    config = plan.probes
    return replace(plan, probes=replace(config, known=min(config.known, _KNOWN), queries=min(config.queries, _QUERIES)))


def _kept(plan: StudyPlan) -> bool:
    """Whether images are kept in memory once drawn."""
    return plan.images.data == SHAPES and plan.images.count + plan.probes.known + plan.probes.queries < KEPT


def _drawing(plan: StudyPlan) -> Seconds:
    if not _kept(plan):
        return Seconds(0.0, 0.0)
    began, images = Seconds.now(), varied(pool(plan.images), "curated", min(plan.images.count, _SHOWN)).images
    for k in range(len(images)):
        images[k]
    probes = plan.probes.known + plan.probes.queries
    left = plan.images.count - len(images) + max(probes - _KNOWN - _QUERIES, 0)
    return (Seconds.now() - began) * (left / len(images))


def _of(cost: PredictedPoint, learned: Mapping[tuple[str, str], tuple[Rehearsal, float]]) -> Seconds:
    """The time of a point's pre-training."""
    key = cost.point.size, cost.point.method
    if cost.point.method == UNTRAINED:
        return Seconds(0.0, 0.0)
    measured, flops = learned[key] if key in learned else learned[_like(learned, key)[-1]]
    return measured.start + measured.step * (cost.flops_per_step / flops * cost.steps)


def _like(learned: Mapping[tuple[str, str], Any], key: tuple[str, str]) -> list[tuple[str, str]]:
    """The measurements of the same method, or else of any, in ascending order."""
    return [other for other in learned if other[1] == key[1]] or list(learned)


def _learning(plan: StudyPlan, cost: PredictedPoint) -> tuple[Rehearsal, float]:
    """First steps of a method on a network, and the FLOPs of one step."""
    run = plan.run(cost.point, max(cost.steps, 50))
    assert run is not None
    whole = run.batch_size
    images = max(min(whole, int(whole * _DEAR / cost.flops_per_step)), _LEAST_IMAGES)
    run = replace(run, batch_size=images, micro_batch=min(run.micro_batch, images))
    count = min(plan.images.count, _SHOWN) if _kept(plan) else plan.images.count
    source = varied(pool(plan.images, task_of(run.method).captions), "curated", count)
    task = task_of(run.method)(run, source)
    launch = Launch(out=Path(), workers=plan.workers, threads=torch.get_num_threads())
    measured = rehearse(task, loop_config(task, launch, tensorboard=False), _OF_EACH)
    return measured, cost.flops_per_step * images / whole


def _around(plan: StudyPlan, point: StudyPoint) -> Seconds:
    """The evaluation of a point's encoder, however it was trained."""
    encoder = encoder_of(plan, point, None)
    config, few = plan.probes, _few(plan)
    began = Seconds.now()
    probed(few, encoder)
    images = few.probes.known + few.probes.queries
    probing = (Seconds.now() - began) * ((config.known + config.queries) / images)
    task = PixelTask(partial(encoder_of, plan, point, None), plan, point.seed)
    tuning_config = fine_tune_config(task.config, task.config.learning_rates[0], tensorboard=False)
    tuning = rehearse(task, tuning_config, _OF_EACH).of(tuning_config.steps) * len(task.config.learning_rates)
    model, count = task.model(), min(_SCORED, len(task.test_part))
    task.count(model, "test", count)
    began = Seconds.now()
    task.count(model, "test", count)
    scored = len(task.config.learning_rates) * len(task.validation) + len(task.test_part)
    return probing + tuning + (Seconds.now() - began) * (scored / count)


STUDY, TABLE, POINTS = "study.json", "points.jsonl", "points"


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """A study, and what it will cost."""

    source: PlanSource
    plan: StudyPlan
    out: Path
    points: tuple[PredictedPoint, ...]
    left: tuple[PredictedPoint, ...]
    """Those that are not done."""
    times: Times
    """What these will take."""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """Result of a call of `run_study`."""

    rows: tuple[dict[str, Any], ...]
    """Of all points that are done, in the order of the plan."""
    stopped: bool
    """A signal ended it."""

    @property
    def done(self) -> int:
        """Count the points that are done."""
        return len(self.rows)


def predict_study(
    source: PlanSource, out: Path, say: Callable[[str], None] = lambda text: None, plan: StudyPlan | None = None
) -> StudyCost:
    """Predict the cost of a study in the folder `out` by timing a small part of its work; nothing is written there. `plan` is
    that of `source`, with remote data replaced by copies on this machine.

    Raises BadInput for a folder of another study, and whatever plan and data raise.
    """
    plan = plan or source.read()
    _check(out, source)
    points = tuple(predicted(plan, point) for point in plan.points())
    left = tuple(cost for cost in points if not (out / POINTS / cost.point.name / ROW).is_file())
    costs = StudyCost(source=source, plan=plan, out=out, points=points, left=left, times=time_points(plan, left))
    for line in cost_lines(costs):
        say(line)
    return costs


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
    write_settings(out / STUDY, asdict(costs.source))
    points, stopped = [cost.point for cost in costs.left][:most], False
    for done, row in enumerate(_rows(plan, points, out / POINTS, engine, workers), 1):
        if row is None:
            stopped = True
            break
        write_table(plan, out)
        say(f"{done}/{len(points)}  {row_line(row)}")
    return Swept(rows=tuple(write_table(plan, out)), stopped=stopped)


def write_table(plan: StudyPlan, out: Path) -> list[dict[str, Any]]:
    """Write the table of the points that are done; returns its rows."""
    files = (out / POINTS / point.name / ROW for point in plan.points())
    rows = [read_row(file) for file in files if file.is_file()]
    with whole_file(out / TABLE) as temporary:
        write_text(temporary, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def cost_lines(costs: StudyCost) -> list[str]:
    """Describe what a study will cost, and how much of it is left."""
    learning, transfer = (sum(getattr(cost, name) for cost in costs.left) for name in ("flops", "transfer_flops"))
    time = costs.times.all
    kwh, co2 = of_cpu_seconds(time.cpu, LedgerConfig(energy="estimate"))
    return [
        f"{len(costs.points)} points, {len(costs.points) - len(costs.left)} of them done; left are {learning:.2e} FLOP of "
        f"pre-training and {transfer:.2e} of transfer (2 a multiply-add)",
        f"about {duration(time.wall)} here, one point after the other, and {time.cpu / 3600:.3g} core-hours: a little of all "
        f"was done; {kwh.text('kWh')}, {co2.text('kg of CO2')}, estimated",
    ]


def row_line(row: dict[str, Any]) -> str:
    """Format the results of a point as a line."""
    near = "" if row["knn"] is None else f"  neighbours {row['knn']:.3f}  linear {row['linear']:.3f}"
    return f"{row['name']}  {row['flops']:.2e} FLOP  {row['cpu_seconds']:.0f} CPU s{near}  mIoU {row['miou']:.4f}"


def read_plan_source(out: Path) -> PlanSource:
    """Read which study a folder belongs to. Raises BadInput if it belongs to none."""
    try:
        return PlanSource(**read_json(out / STUDY))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{out} is no folder of a study; give the --out of tapetum study run") from error


def _is_same_plan(before: PlanSource, source: PlanSource) -> bool:
    """Whether two texts are the same plan, for example if an older version named a setting differently."""
    try:
        return before.read() == source.read()
    except BadInput:  # what began the study is no plan of today
        return False


def _check(out: Path, source: PlanSource) -> None:
    """Refuse a folder that contains something else."""
    if (out / STUDY).is_file():
        before = read_plan_source(out)
        same = replace(before, contents=source.contents, plan=source.plan) == source
        if not same or (before.plan != source.plan and not _is_same_plan(before, source)):
            raise BadInput(f"{out} is of a study with another plan or other data; give another --out, or what it began with")
        if before.contents not in ("", source.contents):
            raise BadInput(
                f"{out} is of a study whose data had other files in them, or whose own classes had other code; give another "
                "--out, or those again"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out} is not empty and no study; give another --out")


def _rows(
    plan: StudyPlan, points: Sequence[StudyPoint], folder: Path, engine: Engine, workers: int
) -> Iterator[dict[str, Any] | None]:
    import torch

    place = folder if engine == "local" else Path(os.path.realpath(folder))
    work = partial(_run_point, plan, place, 1 if engine == "ray" else torch.get_num_threads())
    for _, row in run_jobs(work, points, engine=engine, workers=workers, gpus=gpus_for("auto")):
        yield row


def _run_point(plan: StudyPlan, place: Path, threads: int, point: StudyPoint, _: None) -> dict[str, Any] | None:
    """Run a point in any process; None if a signal stopped it."""
    import torch

    torch.set_num_threads(threads)
    return run_point(plan, point, place)
