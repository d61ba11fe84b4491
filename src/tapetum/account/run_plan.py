"""Plan of a training run: steps, examples, FLOPs, and memory and days on H100 GPUs, in closed form. Imports no torch.

A system measures one step of its recipe on the device "meta" (`tapetum.train.measure_step`), and a plan scales that up with
`tapetum.account.cluster`. The layout is that of `--parallel fsdp --replicas N`: the eight GPUs of a machine hold a model
together, and machines are replicas. A device processes as many examples at a time as the recipe's micro-batch, or its share
of the batch if that is smaller. Times are estimates: the fraction of the peak that a step reaches is assumed
(`cluster.H100`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from tapetum.account.cluster import H100, Device, Layout, Memory, Unit, count_memory, count_traffic, step_seconds
from tapetum.account.config import Interval
from tapetum.core.fields import check_fields

GPUS = 8, 64
"""Sizes of clusters that a plan is made for."""
A_MACHINE = 8
"""GPUs of a machine."""
DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """Cost of a training step, for each of its examples."""

    learning: int
    """Parameters that learn."""
    frozen: int
    """Parameters that do not: of frozen networks and of teachers."""
    forward: float
    """FLOPs of the forward passes of an example, teachers' too."""
    backward: float
    """FLOPs of its backward pass."""
    activations: float
    """Bytes that the forward pass of an example keeps for the backward pass."""
    checkpointed: float
    """The same where blocks compute their activations again."""
    units: tuple[Unit, ...]
    """Weights that are sharded together."""
    bf16: bool
    """The loss is computed in bfloat16, else in float32."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A phase of a run on a number of GPUs."""

    gpus: int
    """That are used: the most among which the batch can be divided."""
    layout: Layout
    micro_batch: int
    """Examples that a GPU works on at a time."""
    memory: Memory
    """Of a GPU."""
    checkpointed: Memory
    """Of a GPU that computes activations again, block by block."""
    needs_checkpointing: bool
    """The phase fits into a GPU only so, and its time is of that."""
    excess: int
    """Bytes that are too many for a GPU even so; 0: it fits."""
    most_at_once: int
    """Largest micro-batch that fits into a GPU without recomputation, whatever the batch; 0: none does."""
    step_s: Interval
    """Seconds of a step."""
    days: Interval
    """Of the phase."""


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """A part of a run in which every step costs the same."""

    name: str = ""
    """Of the phase, where a run has several."""
    steps: int
    batch_size: int
    micro_batch: int
    checkpointing: bool = False
    """Activations are computed block by block again in the backward pass."""
    negatives: int = 0
    """Negatives of an example in each other one that its loss compares it with: those of a micro-batch of all devices."""
    step: MeasuredStep

    def __post_init__(self) -> None:
        check_fields(self, steps="[1, inf)", batch_size="[1, inf)", micro_batch="[1, inf)")

    @property
    def examples(self) -> int:
        """Count the examples processed, including repeats."""
        return self.steps * self.batch_size

    @property
    def step_flops(self) -> float:
        """Compute the FLOPs of a step, including recomputation."""
        again = self.step.forward if self.checkpointing else 0
        return self.batch_size * (self.step.forward + self.step.backward + again)

    @property
    def flops(self) -> float:
        """Compute the FLOPs of the phase."""
        return self.steps * self.step_flops

    def negatives_on(self, gpus: int | None = None) -> int:
        """Count the negatives of an example on a number of GPUs; by default those of an undivided batch."""
        share = self.share(gpus) if gpus else None
        return self.negatives * ((share.gpus * share.micro_batch if share else self.batch_size) - 1)

    def share(self, gpus: int, device: Device = H100) -> Share:
        """Compute memory of a GPU and time on `gpus`, or on fewer if they do not divide the batch."""
        used = max(n for n in range(1, min(gpus, self.batch_size) + 1) if self.batch_size % n == 0)
        own = self.batch_size // used
        micro_batch = max(n for n in range(1, min(self.micro_batch, own) + 1) if own % n == 0)
        shards = gcd(used, A_MACHINE)
        layout = Layout(shards=shards, replicas=used // shards, micro_batches=own // micro_batch, weight_bytes=4)
        traffic = count_traffic(self.step.units, layout)
        own_bytes = self.step.checkpointed if self.checkpointing else self.step.activations
        memory, checkpointed = (
            count_memory(self.step.units, layout, round(micro_batch * each)) for each in (own_bytes, self.step.checkpointed)
        )
        room = int(device["memory"].value)
        again = memory.total > room and not self.checkpointing
        spare = room - (memory.total - memory.activations)
        flops = self.step_flops + (self.batch_size * self.step.forward if again else 0)
        *_, step = step_seconds(flops, traffic, layout, bf16=self.step.bf16, device=device)
        days = Interval(*(self.steps * value / DAY for value in (step.value, step.low, step.high)))
        return Share(
            gpus=used,
            layout=layout,
            micro_batch=micro_batch,
            memory=memory,
            checkpointed=checkpointed,
            needs_checkpointing=again,
            excess=max(0, min(memory.total, checkpointed.total) - room),
            most_at_once=max(0, int(spare // max(own_bytes, 1))),
            step_s=step,
            days=days,
        )


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A whole run."""

    phases: tuple[PhasePlan, ...]
    examples_are: str
    """What an example is, such as "images of 224x224"."""
    data: str = ""
    """What the steps follow from, where the size of a data set decides them."""
    unpublished: tuple[str, ...] = ()
    """Fields of the recipe whose values its paper does not publish, or that could not be found, each with its value."""

    @property
    def bf16(self) -> bool:
        """Check whether all phases compute in bfloat16."""
        return all(phase.step.bf16 for phase in self.phases)

    @property
    def steps(self) -> int:
        """Count the optimiser steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def examples(self) -> int:
        """Count the examples of all phases."""
        return sum(phase.examples for phase in self.phases)

    @property
    def flops(self) -> float:
        """Compute the FLOPs of all phases."""
        return sum(phase.flops for phase in self.phases)

    def excess(self, gpus: int, device: Device = H100) -> int:
        """Count the bytes by which the largest phase exceeds the memory of each of `gpus` GPUs; 0: it fits."""
        return max(phase.share(gpus, device).excess for phase in self.phases)

    def needs_checkpointing(self, gpus: int) -> bool:
        """Check whether a phase fits only with recomputed activations, which `days` then includes."""
        return any(phase.share(gpus).needs_checkpointing for phase in self.phases)

    def days(self, gpus: int, device: Device = H100) -> Interval | None:
        """Estimate the days on `gpus` GPUs; None if the run does not fit into them."""
        return None if self.excess(gpus, device) else add_up([phase.share(gpus, device).days for phase in self.phases])


def add_up(values: Sequence[Interval]) -> Interval:
    """Add intervals end by end.

    >>> add_up([Interval(2, 1, 3), Interval(20, 10, 30)])
    Interval(value=22, low=11, high=33)
    """
    total = values[0]
    for value in values[1:]:
        total = total.plus(value)
    return total


def two_digits(value: float) -> str:
    """Write a number with two digits.

    >>> two_digits(0.01234), two_digits(24.2), two_digits(512.3)
    ('0.012', '24', '510')
    """
    return f"{float(f'{value:.2g}'):g}"


def unpublished_values(run: Any, notes: Mapping[str, str]) -> tuple[str, ...]:
    """List fields of a recipe that no paper states, with their values and the basis for these.

    >>> from tapetum.systems.hip.config import Masked
    >>> unpublished_values(Masked(), {"ratio": "as its figures suggest"})
    ('ratio 0.85: as its figures suggest',)
    """
    return tuple(f"{name.replace('_', '-')}{_shown(getattr(run, name, None))}: {note}" for name, note in notes.items())


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f" {' '.join(map(str, value))}"
    return f" {value}" if isinstance(value, str | float | int) and value != "" else ""
