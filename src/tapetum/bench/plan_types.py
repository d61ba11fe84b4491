"""What a plan of a training run says: its phases, their steps, FLOPs and memory (`tapetum.bench.plans`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tapetum.account.plan import Memory, StepCost, process_memory
from tapetum.train import TrainConfig

MACHINE = 8
"""Processes of the second figure of memory."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Part of a run in which every step costs the same."""

    name: str = ""
    config: TrainConfig
    step: StepCost
    recomputes: bool = False
    """The recipe itself recomputes activations in the backward pass."""

    @property
    def micro_batch(self) -> int:
        """Count the examples that a process handles at a time."""
        return self.config.micro_batch(1)

    @property
    def examples(self) -> int:
        """Count the examples processed, including repeats."""
        return self.config.steps * self.config.batch_size

    @property
    def step_flops(self) -> float:
        """Compute the FLOPs of a step of all processes."""
        again = self.step.forward if self.recomputes or self.config.activation_checkpointing else 0
        return self.config.batch_size * (self.step.forward + self.step.backward + again)

    def memory(self, processes: int = 1) -> Memory:
        """Compute the memory of one of `processes` that shard the model, without recomputation of activations."""
        teachers = 0 if self.step.frozen else len(self.config.every_average)
        moments = 2 if self.config.optimizer == "adamw" else 1
        return process_memory(self.step, self.micro_batch, processes, moments=moments, averages=teachers)


@dataclass(frozen=True, kw_only=True)
class Plan:
    phases: tuple[Phase, ...]
    examples_are: str
    """What an example is, such as "images of 224x224"."""
    data: str = ""
    """Size of the data set, where the steps follow from it."""
    unpublished: tuple[str, ...] = ()
    """Settings that the recipe's paper does not give, each with its value here."""

    @property
    def steps(self) -> int:
        return sum(phase.config.steps for phase in self.phases)

    @property
    def flops(self) -> float:
        return sum(phase.config.steps * phase.step_flops for phase in self.phases)


def unpublished_values(run: Any, notes: Mapping[str, str]) -> tuple[str, ...]:
    """List settings that no paper states, with their values and the basis for these.

    >>> from tapetum.systems.hip.config import Masked
    >>> unpublished_values(Masked(), {"ratio": "as its figures suggest"})
    ('ratio 0.85: as its figures suggest',)
    """

    def shown(value: Any) -> str:
        if isinstance(value, tuple):
            return f" {' '.join(map(str, value))}"
        return f" {value}" if isinstance(value, str | float | int) and value != "" else ""

    return tuple(f"{name.replace('_', '-')}{shown(getattr(run, name, None))}: {note}" for name, note in notes.items())
