"""Layers swapped for inference: the numbers of torch's, never those of weights that have changed; and weights of bytes."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.networks import has_copies
from tapetum.account.flops import count_flops
from tapetum.core.errors import BadInput
from tapetum.layers import cpu
from tapetum.layers.cpu import FastLinear, Int8Embedding, Int8Linear, choose_kernel, is_quantised, quantise, speed_up
from tapetum.layers.transformer import Mlp, TokenEmbedding

onednn = pytest.mark.skipif(cpu._ONEDNN is None, reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def _onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any processor."""
    if cpu._ONEDNN is not None:
        monkeypatch.setattr(cpu, "KERNEL", "onednn")


class Model(nn.Module):
    """An MLP and a vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mlp, self.last = Mlp(64, 96, "gelu_tanh"), nn.Linear(64, 64, bias=False)
        self.vocabulary = TokenEmbedding(40, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.vocabulary.project(self.last(self.mlp(x)))


def by_onednn(call) -> bool:
    """Whether a product was oneDNN's."""
    return "_linear_pointwise" in count_flops(call).by_op


def rows(count: int, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(1)).to(kind)


@onednn
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 4, 70])
@pytest.mark.parametrize("copies", [False, True])
@torch.no_grad()
def test_products_are_those_of_the_plain_model(kind, count, copies):
    plain, x = Model().to(kind), rows(count, kind)
    fast = speed_up(copy.deepcopy(plain), copies=copies)
    there = kind == torch.float32 or cpu._BFLOAT16
    assert has_copies(fast) == (copies and there)
    assert by_onednn(lambda: fast(x)) == there
    assert not by_onednn(lambda: plain(x)) or kind == torch.bfloat16
    close = {"atol": 1e-5 if kind == torch.float32 else 0.02, "rtol": 0.02}
    torch.testing.assert_close(fast(x), plain(x), **close)
    torch.testing.assert_close(fast.vocabulary.project(x, 13), plain.vocabulary.project(x)[:, :13], **close)


def test_names_and_what_learns_stay_the_same():
    plain = Model()
    fast, x = speed_up(copy.deepcopy(plain), copies=True), rows(5)
    assert isinstance(fast.last, FastLinear)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    for model in (plain, fast):
        model(x).square().sum().backward()
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # torch's own products, to the bit
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x))


@onednn
@torch.no_grad()
def test_a_gelu_that_is_no_neighbour_stays():
    kept = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.ReLU(), nn.GELU("tanh"), nn.Linear(64, 64))
    fast = speed_up(copy.deepcopy(kept))
    assert [type(part) for part in fast if isinstance(part, nn.GELU)] == [nn.GELU] * 2
    torch.testing.assert_close(fast(rows(3)), kept(rows(3)), atol=1e-5, rtol=1e-5)


@onednn
@pytest.mark.parametrize("way", ["in place", "data", "to and back", "load"])
@torch.no_grad()
def test_changed_weights_have_no_copies_until_they_are_copied_anew(way):
    model, x = speed_up(Model(), copies=True), rows(2)
    before = model(x)
    if way == "in place":
        model.last.weight.mul_(2)
    elif way == "data":
        model.last.weight.data = model.last.weight.data * 2
    elif way == "to and back":
        model.to(torch.bfloat16).to(torch.float32)
    else:
        model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()})
    fresh = Model()
    fresh.load_state_dict(model.state_dict())
    for _ in range(2):
        torch.testing.assert_close(model(x), fresh(x), atol=1e-4, rtol=1e-4)
        assert not torch.equal(model(x), before)
        speed_up(model, copies=True)
    assert model.last.copied.fits(model.last.weight)


@onednn
def test_copies_are_no_part_of_copies_and_files():
    model = speed_up(Model(), copies=True)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert has_copies(model)
        assert not has_copies(twin)


@onednn
def test_there_must_be_room(monkeypatch):
    model = Model()
    size = sum(part.weight.nbytes for part in model.modules() if hasattr(part, "weight"))
    monkeypatch.setattr(cpu, "free_bytes", lambda: 8 * size - 1)
    assert not has_copies(speed_up(model, copies=True))
    monkeypatch.setattr(cpu, "free_bytes", lambda: 8 * size)
    assert has_copies(speed_up(model, copies=True))


@onednn
@torch.no_grad()
def test_where_torchs_products_are_faster_they_are_taken(monkeypatch):
    plain, x = Model(), rows(7)
    monkeypatch.setattr(cpu, "KERNEL", "torch")
    fast = speed_up(copy.deepcopy(plain), copies=True)
    assert not has_copies(fast)
    assert not by_onednn(lambda: fast(x))
    assert torch.equal(fast(x), plain(x))


def test_the_kernel_is_the_vendors_unless_the_environment_says_another() -> None:
    assert choose_kernel("AuthenticAMD") == choose_kernel("arm64") == "onednn"
    assert choose_kernel("GenuineIntel") == "torch"
    for kernel in ("onednn", "torch"):
        assert choose_kernel("GenuineIntel", kernel) == choose_kernel("AuthenticAMD", kernel) == kernel
    with pytest.raises(BadInput, match="TAPETUM_LINEAR is 'fast'; it may be onednn or torch"):
        choose_kernel("AuthenticAMD", "fast")
    assert cpu.processor().vendor


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
    wanted = F.linear(x.float(), layer.weight().float(), layer.bias.float())
    torch.testing.assert_close(many.float(), wanted, atol=0.02 if kind == torch.bfloat16 else 1e-5, rtol=0.02)


def test_a_table_is_looked_up_and_multiplied_by():
    table = TokenEmbedding(50, 16)
    bytes_ = Int8Embedding(table)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert torch.equal(bytes_(ids), bytes_.weight()[ids])
    with torch.no_grad():
        assert bytes_.project(torch.randn(2, 16), 20).shape == (2, 20)


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
