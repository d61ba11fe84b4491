"""Where in its run a loss is computed, and what it may use besides the model and the batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What `Task.loss` is told of the moment; without arguments, the only step of a run.

    >>> Moment(step=50, steps=101).progress
    0.5
    """

    step: int = 0
    """Optimiser steps made so far, so that the first step's is 0."""
    steps: int = 1
    """Optimiser steps of the whole run."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """Lives on the model's device and is seeded by the numbers of the samples in the micro-batch."""
    teachers: Mapping[str, nn.Module] = field(default_factory=dict)
    """By the names in `Task.teachers`: models with the averages before the step, in eval mode, that learn nothing."""

    @property
    def progress(self) -> float:
        """Give the part of the run that is done: 0 in the first step, 1 in the last."""
        return self.step / max(self.steps - 1, 1)
