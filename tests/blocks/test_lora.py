"""Low-rank changes: nothing at first, merged to the same numbers, and the memory that they save."""

import pytest
import torch
from torch import nn

from tapetum.blocks.lora import LoraLinear, add_lora, merge_lora, training_memory
from tapetum.errors import BadInput


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4, bias=False))


def test_a_change_begins_as_none_and_is_merged_to_the_same_numbers() -> None:
    plain, x = network(), torch.randn(5, 6)
    model = add_lora(network(), ["*"], rank=2, alpha=6.0)
    assert torch.equal(model(x), plain(x))
    learning = [p for p in model.parameters() if p.requires_grad]
    assert [tuple(p.shape) for p in learning] == [(2, 6), (8, 2), (2, 8), (4, 2)]
    optimizer = torch.optim.SGD(learning, 0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
    changed = model(x).detach()
    assert not torch.allclose(changed, plain(x), atol=1e-3)
    layer = model[2]
    assert isinstance(layer, LoraLinear)
    by_hand = layer.weight + 6.0 / 2 * layer.lora_b @ layer.lora_a
    merged = merge_lora(model)
    assert type(merged[2]) is nn.Linear
    torch.testing.assert_close(merged[2].weight, by_hand)
    torch.testing.assert_close(merged(x), changed)
    assert merged.state_dict().keys() == plain.state_dict().keys()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="rank"):
        add_lora(network(), ["*"], rank=0)
    with pytest.raises(BadInput, match="no linear layer"):
        add_lora(network(), ["1"], rank=1)


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
        little = training_memory(add_lora(network(), ["0"], rank=1), loss)
    assert little.gradients == 4 * (6 + 8)
    assert little.total < whole.total
    assert "MiB" in str(little)
