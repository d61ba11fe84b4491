"""Predicted time of a study's points on this machine, from timing a little of each kind of work.

    point = pre-training: start + steps x step      first steps of each method on each network (`tapetum.train.rehearsal`)
          + neighbours and probe                    on few images
          + rates x fine-tuning, and its scores     first steps on each network; some images

Expensive work is measured on fewer images per step, down to `_LEAST_IMAGES`. Once the measuring time is used up, a method is
assumed to reach the same FLOPs per second as the one measured on the nearest network.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tapetum.systems.pretraining.methods import TEXT_METHODS, task_of
from tapetum.systems.pretraining.run import loop_config
from tapetum.systems.pretraining.study.data import pool
from tapetum.systems.pretraining.study.plan import SHAPES, UNTRAINED, StudyPlan, StudyPoint
from tapetum.systems.pretraining.study.point import PixelTask, PredictedPoint, encoder_of, probed
from tapetum.systems.pretraining.study.shapes import KEPT
from tapetum.systems.pretraining.study.variants import varied
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
    return began.until(Seconds.now()) * (left / len(images))


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
    source = varied(pool(plan.images, run.method in TEXT_METHODS), "curated", count)
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
    probing = began.until(Seconds.now()) * ((config.known + config.queries) / images)
    task = PixelTask(partial(encoder_of, plan, point, None), plan, point.seed)
    tuning_config = fine_tune_config(task.config, task.config.learning_rates[0], tensorboard=False)
    tuning = rehearse(task, tuning_config, _OF_EACH).of(tuning_config.steps) * len(task.config.learning_rates)
    model, count = task.model(), min(_SCORED, len(task.test_part))
    task.count(model, "test", count)
    began = Seconds.now()
    task.count(model, "test", count)
    scored = len(task.config.learning_rates) * len(task.validation) + len(task.test_part)
    return probing + tuning + began.until(Seconds.now()) * (scored / count)
