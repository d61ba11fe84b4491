import pytest
import torch
from torch import nn

from tapetum.train.measure_step import measure_step


def test_a_step_of_two_layers_costs_what_it_does_by_hand() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
        frozen = nn.Linear(3, 5).requires_grad_(False)
        x = torch.empty(4, 3)
    step = measure_step(lambda: network(x).sum() + frozen(x).sum(), {"network": network, "frozen": frozen}, examples=4)
    assert (step.learning, step.frozen) == (3 * 5 + 5 + 5 * 2 + 2, 3 * 5 + 5)
    assert step.forward == 2 * (3 * 5 + 5 * 2 + 3 * 5)  # a multiply-add is two
    assert step.backward == pytest.approx(2 * (3 * 5 + 2 * 5 * 2))  # weights of both, and what goes back to the first
    assert step.activations == pytest.approx(4 * (3 + 5))  # float32 inputs of the layers that learn
