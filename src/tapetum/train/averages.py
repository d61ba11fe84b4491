"""Moving averages of a model's weights (Polyak averaging): often a better model than the last step's, and a teacher."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from tapetum.train.config import Average


class MovingAverage:
    """Average of every floating-point entry of the state dict, as its config says; other entries (counters) are copied."""

    def __init__(self, model: nn.Module, config: Average, steps: int):
        """Begin with a copy of the weights; `steps` is the length of the run, of which the cosine's rise is a function."""
        self.config, self.steps = config, steps
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @property
    def decay(self) -> float:
        """Give the share of the average that the next update keeps.

        >>> average = MovingAverage(nn.Linear(1, 1), Average(name="slow", decay=0.9, schedule="cosine"), steps=101)
        >>> average.updates = 50
        >>> round(average.decay, 6)
        0.95
        """
        config, n = self.config, self.updates
        if config.schedule == "rising":
            return min(config.decay, (1 + n) / (10 + n))
        if config.schedule == "cosine":
            return 1 - (1 - config.decay) * (math.cos(math.pi * n / max(self.steps - 1, 1)) + 1) / 2
        if config.schedule == "periodic":
            return 0.0 if (n + 1) % config.every == 0 else 1.0
        return config.decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model by one step."""
        decay = self.decay
        self.updates += 1
        if self.config.schedule == "periodic" and decay == 1:
            return
        for name, value in model.state_dict().items():
            if decay > 0 and value.is_floating_point():
                self.average[name].lerp_(value, 1.0 - decay)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights inside the block; after it, its own again, to the bit."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(own)


def new_averages(model: nn.Module, configs: Sequence[Average], steps: int) -> dict[str, MovingAverage]:
    """Begin the averages, each a copy of the weights, by name."""
    return {config.name: MovingAverage(model, config, steps) for config in configs}
