"""The memory of a training, counted without computing."""

import torch
from torch import nn

from tapetum.layers.transformer import add_lora
from tapetum.train.measure_step import training_memory


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4, bias=False))


def test_memory_is_counted_without_computing() -> None:
    def loss(model: nn.Module) -> torch.Tensor:
        return model(torch.zeros(7, 6, device="meta")).square().mean()

    with torch.device("meta"):
        model = network()
    whole = training_memory(model, loss)
    numbers = 6 * 8 + 8 + 8 * 4
    assert whole.weights == whole.gradients == 4 * numbers
    assert whole.optimizer == 8 * numbers
    # Kept are the input, the tanh's output (which the second layer needs too), and what is squared.
    assert whole.activations == 4 * 7 * (6 + 8 + 4)
    with torch.device("meta"):
        model = network()
        add_lora(model, rank=1)
    little = training_memory(model, loss)
    assert little.gradients == 4 * (6 + 8 + 8 + 4)
    assert little.optimizer == 2 * little.gradients
    assert "MiB" in str(little)
