"""Large layers that learn: the same numbers and gradients as torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.account.flops import count_flops
from tapetum.core.errors import BadInput
from tapetum.layers import kernels
from tapetum.layers import linear as module
from tapetum.layers.kernels import choose_kernel
from tapetum.layers.linear import linear
from tapetum.layers.packed import pack

pytestmark = pytest.mark.skipif(module._ONEDNN is None, reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any processor."""
    monkeypatch.setattr(kernels, "LINEAR", "onednn")


def layer_and_rows(bias: bool = True) -> tuple[nn.Linear, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(96, 160, bias=bias), torch.randn(7, 50, 96)


def learned(layer: nn.Linear, x: Tensor, gelu: bool = False) -> bool:
    """Whether the product was oneDNN's."""
    return "_linear_pointwise" in count_flops(lambda: linear(x, layer, gelu=gelu)).by_op


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_outputs_and_gradients_are_torchs(bias: bool, gelu: bool) -> None:
    layer, x = layer_and_rows(bias)
    assert learned(layer, x, gelu)
    layer.zero_grad()
    found = []
    for turn in range(2):
        own = x.clone().requires_grad_()
        y = linear(own, layer, gelu=gelu) if turn else F.gelu(layer(own), approximate="tanh") if gelu else layer(own)
        y.square().mean().backward()
        found.append([y.detach(), own.grad, *(p.grad.clone() for p in layer.parameters())])
        layer.zero_grad()
    for ours, theirs in zip(*reversed(found), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_gradients_of_gradients_are_torchs() -> None:
    layer, x = layer_and_rows()
    found = []
    for call in (lambda own: linear(own, layer), layer):
        own = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(call(own).tanh().sum(), own, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), (own, layer.weight)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_only_what_learns_has_a_gradient_and_flops_are_the_same() -> None:
    layer, x = layer_and_rows()
    layer.weight.requires_grad_(False)
    own = x.clone().requires_grad_()
    linear(own, layer).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert own.grad is not None
    layer.weight.requires_grad_(True)
    ours, theirs = (count_flops(lambda call=call: call(own)) for call in (lambda v: linear(v, layer), layer))
    assert (ours.forward, ours.backward) == (theirs.forward, theirs.backward)


def test_small_layers_hooks_autocast_and_other_precisions_are_torchs() -> None:
    layer, x = layer_and_rows()
    assert not learned(layer, x[:1, :4])
    wide = nn.Linear(2048, 2048)  # a single row of much, which is all copying of the weight
    assert not learned(wide, torch.randn(1, 2048))
    assert learned(wide, torch.randn(32, 2048))
    assert not learned(layer.double(), x.double())
    layer = layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert not learned(layer, x)
    heard = []
    layer.register_forward_hook(lambda *_: heard.append(1))
    assert not learned(layer, x)
    assert heard == [1]


@pytest.mark.parametrize("learns", [True, False])
def test_where_torchs_products_are_faster_they_are_taken(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_and_rows()
    with torch.set_grad_enabled(learns):
        ours = linear(x, layer, gelu=True)
        assert learned(layer, x)
        monkeypatch.setattr(kernels, "LINEAR", "torch")
        assert not learned(layer, x)
        torch.testing.assert_close(linear(x, layer, gelu=True), ours, rtol=1e-4, atol=1e-6)
        assert not pack(layer)
    if torch.bfloat16 in module._FAST:
        with torch.no_grad():
            assert learned(layer.bfloat16(), x.bfloat16())  # torch's own are oneDNN's there, too


def test_the_kernel_is_the_vendors_unless_the_environment_says_another() -> None:
    assert choose_kernel("AuthenticAMD") == choose_kernel("arm64") == "onednn"
    assert choose_kernel("GenuineIntel") == "torch"
    for kernel in ("onednn", "torch"):
        assert choose_kernel("GenuineIntel", kernel) == choose_kernel("AuthenticAMD", kernel) == kernel
    with pytest.raises(BadInput, match="TAPETUM_LINEAR is 'fast'; it may be onednn or torch"):
        choose_kernel("AuthenticAMD", "fast")
    assert kernels.processor().vendor
