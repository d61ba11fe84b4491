"""Scores of a transfer task with their intervals, and the answers that they are computed from; see `transfer.scores`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tapetum.metrics.statistics import bootstrap_interval, wilson_interval
from tapetum.systems.paligemma.locations import Unpack
from tapetum.systems.paligemma.transfer.data import Id, TransferExample


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One number."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    """Ends of its interval, where there is one."""
    count: int
    """Of what it is the mean or share."""


@dataclass(frozen=True, kw_only=True)
class TaskAnswers:
    """Examples of one split, and the answers to them."""

    examples: Sequence[TransferExample]
    texts: Mapping[Id, str]
    chances: Mapping[Id, Sequence[float]] = field(default_factory=dict)
    """Probabilities of all tokens of locations and masks in an answer, one after the other; boxes are scored by them."""
    unpack: Unpack | None = None
    """Makes masks of codes."""

    def of(self, part: Sequence[TransferExample]) -> "TaskAnswers":
        """Select some of the examples."""
        return TaskAnswers(examples=part, texts=self.texts, chances=self.chances, unpack=self.unpack)


def row_of(name: str, values: Sequence[float], examples: Sequence[TransferExample]) -> ScoreRow:
    """Compute a mean over examples with its interval."""
    sources = [example.source for example in examples]
    if set(values) <= {0.0, 1.0} and len(set(sources)) == len(sources):
        low, high = wilson_interval(int(sum(values)), len(values))
    else:
        low, high = bootstrap_interval(np.array(values, float), groups=sources)
    return ScoreRow(name=name, value=float(np.mean(values)), low=low, high=high, count=len(values))
