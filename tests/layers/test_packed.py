"""Copies of weights in oneDNN's order: the same products, never those of numbers that a weight no longer has."""

import copy

import pytest
import torch
from torch import nn

from tapetum.layers import kernels, packed
from tapetum.layers.linear import linear, times
from tapetum.layers.packed import has_copies, is_packed, pack, using_packed

pytestmark = pytest.mark.skipif(packed._REORDER is None, reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def onednn(monkeypatch):
    """On any processor."""
    monkeypatch.setattr(kernels, "LINEAR", "onednn")


def module(kind=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.Linear(96, 64, bias=False), nn.Embedding(40, 64)).to(kind)


def product(model, x):
    with torch.no_grad(), using_packed():
        return times(linear(linear(x, model[0], gelu=True), model[1]), model[2].weight)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 4, 70])
def test_products_are_those_of_the_weights(kind, rows):
    model, x = module(kind), torch.randn(rows, 64, generator=torch.Generator().manual_seed(1)).to(kind)
    wanted = product(model, x)
    assert not has_copies(model)
    there = kind in packed._KINDS
    assert pack(model) == has_copies(model) == there
    if not there:  # a processor without such products goes on without copies
        return
    assert packed.found(model[0].weight) is None  # outside of using_packed
    torch.testing.assert_close(product(model, x), wanted, atol=1e-5 if kind == torch.float32 else 0.02, rtol=0.02)
    with torch.no_grad(), using_packed():
        assert times(x, model[2].weight, 13).shape == (rows, 13)
        torch.testing.assert_close(times(x, model[2].weight, 13), times(x, model[2].weight)[:, :13])


@pytest.mark.parametrize("way", ["in place", "data", "to and back", "load"])
def test_changed_weights_are_copied_anew(way):
    model, x = module(), torch.randn(2, 64)
    pack(model)
    before = product(model, x)
    with torch.no_grad():
        if way == "in place":
            model[1].weight.mul_(2)
        elif way == "data":
            model[1].weight.data = model[1].weight.data * 2
        elif way == "to and back":
            model.to(torch.bfloat16).to(torch.float32)
        else:
            model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()})
    assert not is_packed(model[1].weight)
    pack(model)
    fresh = nn.Sequential(nn.Linear(64, 96), nn.Linear(96, 64, bias=False), nn.Embedding(40, 64))
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(product(model, x), product(fresh, x))
    assert not torch.equal(product(model, x), before)


def test_copies_are_gone_with_the_weights_and_no_part_of_them():
    count = len(packed._HELD)
    model = module()
    pack(model)
    assert len(packed._HELD) == count + 3
    twin = copy.deepcopy(model)
    assert not has_copies(twin)
    assert model.state_dict().keys() == twin.state_dict().keys()
    del model
    assert len(packed._HELD) == count


def test_there_must_be_room(monkeypatch):
    model = module()
    monkeypatch.setattr(packed, "free_bytes", lambda: 8 * sum(part.weight.nbytes for part in model) - 1)
    assert not pack(model)
    assert not has_copies(model)
    monkeypatch.setattr(packed, "free_bytes", lambda: 8 * sum(part.weight.nbytes for part in model))
    assert pack(model)


def test_what_learns_does_not_use_copies():
    model, x = module(), torch.randn(2, 64)
    pack(model)
    with using_packed():
        linear(x, model[0]).sum().backward()
    assert model[0].weight.grad is not None
