"""Weights of bytes: how far from the weights they stand for, both ways of computing, and what takes their place."""

import pytest
import torch
from torch import nn

from tapetum.layers.quantised import Int8Embedding, Int8Linear, is_quantised, quantise


def test_a_weight_is_rounded_to_half_a_step_of_its_row():
    layer = nn.Linear(40, 30)
    weight = Int8Linear(layer).weight()
    step = layer.weight.detach().abs().amax(1, keepdim=True) / 127
    # scales are rounded to bfloat16 (by 1/256 at most): the largest number of a row may lie outside by that
    assert ((weight - layer.weight.detach()).abs() <= step * (0.51 + 127 / 256)).all()
    assert ((weight - layer.weight.detach()).abs() <= step * 0.51).float().mean() > 0.95


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_few_tokens_and_many_give_the_same(kind):
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(64, 48).to(kind))
    x = torch.randn(40, 64).to(kind)
    with torch.no_grad():
        many = layer(x)
        few = torch.cat([layer(row[None, None])[0] for row in x])
    assert many.dtype == few.dtype == kind
    torch.testing.assert_close(few, many, atol=0.02, rtol=0.02)
    wanted = torch.nn.functional.linear(x.float(), layer.weight().float(), layer.bias.float())
    torch.testing.assert_close(many.float(), wanted, atol=0.02 if kind == torch.bfloat16 else 1e-5, rtol=0.02)


def test_a_table_is_looked_up_and_multiplied_by():
    table = nn.Embedding(50, 16)
    bytes_ = Int8Embedding(table)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert torch.equal(bytes_(ids), bytes_.weight()[ids])
    with torch.no_grad():
        assert bytes_.times(torch.randn(2, 16), 20).shape == (2, 20)


def test_all_linear_layers_are_replaced_and_use_a_quarter():
    model = nn.Sequential(nn.Linear(64, 64), nn.Sequential(nn.ReLU(), nn.Linear(64, 64, bias=False)), nn.LayerNorm(64))
    before = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert not is_quantised(model)
    quantise(model)
    assert is_quantised(model)
    assert isinstance(model[1][1], Int8Linear)
    assert sum(tensor.nbytes for tensor in model.state_dict().values()) < 0.32 * before
    assert model(torch.randn(2, 64)).shape == (2, 64)
    assert [name for name, part in model.named_parameters() if part.requires_grad] == ["2.weight", "2.bias"]  # the norm's
