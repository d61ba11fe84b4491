"""The cost of a step by shapes alone."""

import pytest
import torch
from torch import nn

from tapetum.account.plan import measure_step, process_memory
from tapetum.layers.transformer import add_lora


def test_a_step_of_two_layers_costs_what_it_does_by_hand() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
        frozen = nn.Linear(3, 5).requires_grad_(False)
        x = torch.empty(4, 3)
    step = measure_step(lambda: network(x).sum() + frozen(x).sum(), {"network": network, "frozen": frozen}, examples=4)
    assert (step.learning, step.frozen) == (3 * 5 + 5 + 5 * 2 + 2, 3 * 5 + 5)
    assert step.forward == 2 * (3 * 5 + 5 * 2 + 3 * 5)  # a multiply-add is two
    assert step.backward == 2 * (3 * 5 + 2 * 5 * 2)  # weights of both, and what goes back to the first
    assert step.activations == 4 * (3 + 5)  # float32 inputs of the layers that learn


def test_activations_are_what_autograd_saves() -> None:
    with torch.device("meta"):
        model, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4, bias=False)), torch.zeros(7, 6)

    def loss() -> torch.Tensor:
        return model(x).square().mean()

    # the input, the tanh's output (which the second layer needs too), and what is squared
    assert measure_step(loss, {"model": model}, 7).activations == 4 * (6 + 8 + 4)
    assert measure_step(loss, {"model": model}, 7, bf16=True).activations == 2 * (6 + 8 + 4)
    with torch.device("meta"):
        add_lora(model, rank=1)
    assert measure_step(loss, {"model": model}, 7).learning == 6 + 8 + 8 + 4


@pytest.mark.parametrize("processes", [1, 4])
def test_memory_is_shared_out_but_for_activations(processes: int) -> None:
    with torch.device("meta"):
        student, teacher = nn.Linear(8, 16, bias=False), nn.Linear(8, 16, bias=False).requires_grad_(False)
        x = torch.empty(1, 8)
    step = measure_step(lambda: (student(x) - teacher(x)).sum(), {"student": student, "teacher": teacher})
    memory = process_memory(step, 3, processes, moments=1, averages=2)
    own = 4 * 128 // processes
    assert (memory.weights, memory.gradients, memory.optimizer) == (2 * own, own, own)
    assert memory.averages == 2 * 2 * own
    assert memory.activations == 3 * 4 * 8
    assert str(memory).startswith("about 0 MiB: weights")
