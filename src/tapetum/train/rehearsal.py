"""Predicted time of a run on this machine: its first steps are really executed, in a folder that is deleted afterwards.

    seconds of a run = start + steps x step

`start` is everything done once: starting workers, counting FLOPs, the slow first step, the checkpoint at the end.
`step` includes loading, loss, gradients, optimiser, averages and log. FLOPs alone do not predict that: tiny networks spend
their time between operations.
"""

import io
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tapetum.account.ledger import read as read_ledger
from tapetum.core.devices import spoken
from tapetum.train.checkpoint import CheckpointStore
from tapetum.train.config import TrainConfig
from tapetum.train.launch import checkpoint_parent, stopped_by, world_size
from tapetum.train.loop import fit
from tapetum.train.task import Task

_LONG = 10.0
"""Seconds of measured steps after which their number no longer matters."""

FORECAST_S = 5.0
"""Seconds after which a forecast makes no further step."""
_FEW = 20
"""Steps of a run that is done sooner than it would be forecast."""

_BY_ITSELF: dict[str, Any] = {
    "parallel": "ddp",
    "replicas": 1,
    "checkpoint_folder": None,
    "log_to": (),
    "eval_every": 0,
    "patience": 0,
}
"""Settings of a rehearsal: one process without the others, which writes nothing outside its own folder, and no scores."""


@dataclass(frozen=True)
class Seconds:
    """Time of some work."""

    wall: float
    cpu: float
    """Of all threads and processes."""

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(max(self.wall - other.wall, 0.0), max(self.cpu - other.cpu, 0.0))

    @staticmethod
    def now() -> "Seconds":
        return Seconds(time.perf_counter(), time.process_time())

    def __mul__(self, factor: float) -> "Seconds":
        return Seconds(self.wall * factor, self.cpu * factor)


@dataclass(frozen=True)
class Rehearsal:
    """Measured times of the first steps."""

    start: Seconds
    """Of all that a run does once."""
    step: Seconds
    flops_per_step: int
    """Of all processes, as the loop counts them; 2 a multiply-add."""

    def of(self, steps: int) -> Seconds:
        return self.start + self.step * steps


def rehearse(task: Task, config: TrainConfig, seconds: float = 1.0, steps: int = 3, most: float = math.inf) -> Rehearsal:
    """Measure the first steps of a run, for about this many seconds and at least `steps` steps, after an uncounted first step.

    If steps are long, fewer suffice; after `most` seconds in all there is no further one, and the first is the only one if it
    takes twice that. Of a step with many micro-batches, two are computed; under torchrun this process measures only its share.
    A shorter run is measured as if it continued. Raises as `fit`.
    """
    micro, times = config.micro_batch(world_size()), config.accumulation * world_size()
    few = min(times, 2)
    config = replace(config, batch_size=micro * few, accumulation=few, max_minutes=None, **_BY_ITSELF)
    config = replace(config, steps=max(config.steps, steps + 2))
    marks: list[Seconds] = []
    ready: list[Seconds] = []

    def enough(cpu_seconds: float) -> bool:
        marks.append(Seconds(time.perf_counter(), cpu_seconds))
        passed = marks[-1].wall - marks[0].wall
        if marks[-1].wall - began.wall >= most and (len(marks) > 1 or marks[0].wall - ready[0].wall >= 2 * most):
            return True  # the first step of a run does much that no other does
        return passed >= (seconds if len(marks) > steps else _LONG)

    began = Seconds.now()
    with tempfile.TemporaryDirectory(prefix="tapetum-") as folder, _by_itself(), redirect_stderr(io.StringIO()):
        out = Path(folder) / "run"
        fit(task, config, out, began=lambda: ready.append(Seconds(time.perf_counter(), 0.0)), enough=enough)
        session = read_ledger(out / "ledger.json")["sessions"][-1]
    if (number := stopped_by()) is not None:
        signal.raise_signal(number)
    whole, measured = Seconds.now() - began, marks[-1] - marks[0]
    alone = (marks[0] - ready[0]) * (few / (few + 1))  # a micro-batch more has counted FLOPs
    step = measured * (1 / (len(marks) - 1)) if len(marks) > 1 else alone
    flops = sum(session["flops_per_step"].values())
    return Rehearsal(start=whole - measured - step, step=step * (times / few), flops_per_step=round(flops * times / few))


def begins_alone(config: TrainConfig, out: Path) -> bool:
    """Check whether a run is of one process and begins: of several, the loop says after steps how long they take."""
    return world_size() == 1 and not CheckpointStore(checkpoint_parent(out, config.checkpoint_folder)).checkpoints()


def say_time(task: Task, config: TrainConfig, out: Path, say: Callable[[str], None]) -> None:
    """Say before a run that begins alone how long its steps will take; nothing of one that has few."""
    if config.steps > _FEW and begins_alone(config, out):
        seconds = rehearse(task, config, most=FORECAST_S).of(config.steps).wall
        say(f"{config.steps:,} steps take about {spoken(seconds)} on this machine; what is scored in between comes on top")


@contextmanager
def _by_itself() -> Iterator[None]:
    """Hide the other processes of torchrun, which wait in the meantime."""
    rank = os.environ.pop("RANK", None)
    try:
        yield
    finally:
        if rank is not None:
            os.environ["RANK"] = rank
