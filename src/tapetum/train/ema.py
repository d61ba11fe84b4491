"""A moving average of a model's weights (Polyak averaging), often a better model than the last step's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """Average of every floating-point entry of the state dict; other entries (counters) are copied.

    If `rising`, the decay rises with the number of updates n as min(decay, (1 + n) / (10 + n)), so that a short run is not
    an average over its initial weights.
    """

    def __init__(self, model: nn.Module, decay: float, rising: bool = True):
        self.decay, self.rising = decay, rising
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the model by one step."""
        weight = 1.0 - (min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.rising else self.decay)
        self.updates += 1
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, weight)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model has the averaged weights; after it, its own again, to the bit."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(own)
