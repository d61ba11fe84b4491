"""1x1 convolutions of any stride: the numbers of torch's, and no processor dies of them.

The channels-last instance norm against torch's own.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.forks import Forks
from tapetum.account.flops import count_flops
from tapetum.core.devices import knows_int8, processor
from tapetum.layers import convolution as convolution_module
from tapetum.layers.convolution import (
    Activation,
    FusedConvolution,
    InstanceNorm,
    Int8Convolution,
    PointwiseConv2d,
    SameConv2d,
    convolve,
    convolve_chain,
    pad_same,
)
from tapetum.layers.cpu import speed_up

ISSUE = """
import sys

import torch
from tapetum.layers.convolution import PointwiseConv2d

layer = PointwiseConv2d(3, 32, stride=2, bias=False)
x = torch.randn(int(sys.argv[1]), 3, 224, 224).contiguous(memory_format=torch.channels_last)
y = layer(x)
y.backward(torch.randn_like(y))
assert layer.weight.grad.isfinite().all()
"""


def layer_and_maps(
    stride: int = 2, groups: int = 1, bias: bool = True, size: tuple = (7, 10)
) -> tuple[PointwiseConv2d, Tensor]:
    torch.manual_seed(0)
    layer = PointwiseConv2d(6, 12, stride, groups, bias).double()
    return layer, torch.randn(3, 6, *size, dtype=torch.float64)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "changes", [{}, {"stride": 1}, {"stride": 3}, {"groups": 6}, {"groups": 2}, {"bias": False}, {"size": (1, 2)}]
)
def test_outputs_and_gradients_are_torchs_to_the_bit(changes: dict, order: torch.memory_format) -> None:
    layer, maps = layer_and_maps(**changes)
    results = []
    for call in (layer, lambda x: F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)):
        x = maps.contiguous(memory_format=order).requires_grad_()
        y = call(x)
        results.append([y, *torch.autograd.grad(y.tanh().square().sum(), (x, *layer.parameters()))])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("batch", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_a_process_survives_the_shape_that_kills_torchs(batch: int, tmp_path: Path, forks: Forks) -> None:
    script, errors = tmp_path / "issue.py", tmp_path / "errors"
    script.write_text(ISSUE)
    assert forks.start(script, batch, errors=errors).wait() == 0, errors.read_text()


def test_flops_are_those_of_a_strided_convolution() -> None:
    layer, theirs = PointwiseConv2d(6, 12, 2), nn.Conv2d(6, 12, 1, 2)
    x = torch.randn(3, 6, 7, 10, requires_grad=True)
    ours, wanted = count_flops(layer, x), count_flops(theirs, x)
    assert (ours.forward, ours.backward) == (wanted.forward, wanted.backward)


def test_it_is_exported_with_sizes_left_open() -> None:
    layer, maps = layer_and_maps()
    sizes = {2: torch.export.Dim("rows", min=3, max=64), 3: torch.export.Dim("columns", min=3, max=64)}
    exported = torch.export.export(layer, (maps,), dynamic_shapes=(sizes,)).module()
    for size in ((7, 10), (8, 5)):
        x = torch.randn(3, 6, *size, dtype=torch.float64)
        torch.testing.assert_close(exported(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(dtype, layout):
    torch.manual_seed(0)
    ours, torchs = InstanceNorm(5), torch.nn.InstanceNorm2d(5, affine=True)
    torch.nn.init.normal_(ours.weight)
    torch.nn.init.normal_(ours.bias)
    torchs.load_state_dict(ours.state_dict())
    x = (3 * torch.randn(2, 5, 6, 7) + 1).to(dtype).to(memory_format=layout).requires_grad_()
    dy = torch.randn(2, 5, 6, 7).to(dtype)
    y = ours(x)
    grads = torch.autograd.grad(y, [x, ours.weight, ours.bias], dy)
    reference = x.detach().float().requires_grad_()
    wanted = torch.autograd.grad(torchs(reference), [reference, torchs.weight, torchs.bias], dy.float())
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 5e-2, "atol": 5e-2}
    torch.testing.assert_close(y.float(), torchs(reference), **close)
    for have, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(have.float(), want, **close)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), y)
    assert y.is_contiguous(memory_format=layout)


def block(convolution: nn.Conv2d, training: bool = False) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution that may be fused, and a norm whose statistics are not those of a fresh one."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(convolution.out_channels)
    for each in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert each is not None
        each.data.uniform_(0.5, 2)
    return speed_up(convolution), norm.train(training)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize(
    "convolution",
    [
        lambda: nn.Conv2d(6, 12, 3, 2, 1, bias=False),
        lambda: SameConv2d(6, 12, 5, 2),
        lambda: SameConv2d(6, 6, 3, 1, groups=6),
        lambda: PointwiseConv2d(6, 12, 2, bias=False),
    ],
    ids=["even", "same", "depthwise", "pointwise"],
)
def test_fused_is_conv_then_norm_then_activation(convolution: Any, activation: Activation | None) -> None:
    conv, norm = block(convolution())
    x = torch.randn(2, 6, 9, 12)
    function = {None: lambda y: y, "relu": F.relu, "relu6": F.relu6}[activation]
    with torch.no_grad():
        expected = function(norm(conv(x)))
        with fused_calls() as count:
            actual = convolve(x, conv, norm, activation)
    assert count() == (1 if fusion_there() else 0)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_weight_that_changes_is_folded_again() -> None:
    conv, norm = block(SameConv2d(3, 4, 3))
    x = torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        before = convolve(x, conv, norm)
        conv.weight.mul_(2)
        torch.testing.assert_close(convolve(x, conv, norm), norm(conv(x)))
        assert norm.running_mean is not None
        norm.running_mean.add_(1)
        torch.testing.assert_close(convolve(x, conv, norm), norm(conv(x)))
        assert not torch.equal(convolve(x, conv, norm), before)


def test_gradients_training_and_hooks_get_the_layers_themselves() -> None:
    x = torch.randn(2, 3, 6, 6)
    conv, norm = block(SameConv2d(3, 4, 3))
    with fused_calls() as count:
        assert convolve(x, conv, norm).requires_grad
        with torch.no_grad():
            convolve(x, *block(SameConv2d(3, 4, 3), training=True))
            outputs = list[Tensor]()
            conv.register_forward_hook(lambda module, args, out: outputs.append(out))
            convolve(x, conv, norm)
    assert len(outputs) == 1
    assert count() == 0


def test_norms_without_statistics_and_weights_without_a_version_get_the_layers_themselves() -> None:
    conv, _ = block(SameConv2d(3, 4, 3))
    without = nn.BatchNorm2d(4, track_running_stats=False).eval()
    with torch.inference_mode():
        inside, norm = block(SameConv2d(3, 4, 3))
    x = torch.randn(2, 3, 6, 6)
    with torch.inference_mode(), fused_calls() as count:
        torch.testing.assert_close(convolve(x, conv, without), without(conv(x)))
        torch.testing.assert_close(convolve(x, inside, norm), norm(inside(x)))
    assert count() == 0


def test_speeding_up_again_keeps_what_is_folded() -> None:
    conv, norm = block(SameConv2d(3, 4, 3))
    with torch.no_grad():
        convolve(torch.randn(1, 3, 6, 6), conv, norm)
    fused = conv.fused
    assert speed_up(conv).fused is fused


def test_what_is_folded_is_neither_saved_nor_copied() -> None:
    conv, norm = block(SameConv2d(3, 4, 3))
    with torch.no_grad():
        convolve(torch.randn(1, 3, 6, 6), conv, norm)
    assert list(conv.state_dict()) == ["weight"]
    assert not copy.deepcopy(conv).fused.made_of  # pyright: ignore[reportAttributeAccessIssue]


def fusion_there() -> bool:
    return convolution_module._CONVOLVE is not None


@contextmanager
def fused_calls() -> Iterator[Callable[[], int]]:
    """Count the fused convolutions of the block."""
    calls = list[int]()
    call = FusedConvolution.__call__

    def counted(self: FusedConvolution, *args: Any) -> Tensor:
        calls.append(1)
        return call(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FusedConvolution, "__call__", counted)
        yield lambda: len(calls)


def rounded(x: Tensor, low: float, high: float) -> Tensor:
    """Numbers rounded to the 256 steps between two, of which one is 0."""
    step = (high - low) / 255
    zero = round(-low / step)
    return ((x / step + zero).round().clamp(0, 255) - zero) * step


@pytest.mark.skipif(not knows_int8(processor()), reason="a processor that multiplies bytes")
@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_int8_rounds_inputs_inner_results_and_weights(activation: Activation) -> None:
    layers = [SameConv2d(6, 24, 1), SameConv2d(24, 24, 5, 2, groups=24), SameConv2d(24, 8, 1)]
    chain = [(*block(layer), activation if layer is not layers[-1] else None) for layer in layers]
    x, function = torch.randn(3, 6, 9, 12), {"relu": F.relu, "relu6": F.relu6}[activation]
    for layer in layers:
        layer.fused = Int8Convolution()  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        floats = convolve_chain(x, chain)
        y = rounded(x, float(x.min()), float(x.max()))
        for conv, norm, between in chain:
            assert norm.running_var is not None
            assert norm.running_mean is not None
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = conv.weight * factor[:, None, None, None]
            step = weight.abs().amax((1, 2, 3), keepdim=True) / 127
            y = pad_same(y, conv.kernel_size[0], conv.stride[0])
            shift = norm.bias - norm.running_mean * factor
            y = F.conv2d(y, (weight / step).round() * step, shift, conv.stride, groups=conv.groups)
            conv.fused.measuring = False  # pyright: ignore[reportAttributeAccessIssue]
            y = y if between is None else rounded(function(y), 0, float(conv.fused.top))  # pyright: ignore
        actual = convolve_chain(x, chain)
        alone = torch.cat([convolve_chain(image[None], copy.deepcopy(chain)) for image in x])
    assert torch.equal(actual, alone)
    error = (actual - y).abs().mean()
    assert error < 0.2 * (actual - floats).abs().mean() < 0.02 * floats.abs().mean()


@pytest.mark.skipif(not knows_int8(processor()), reason="a processor that multiplies bytes")
def test_int8_gives_floats_to_layers_with_hooks_and_in_training() -> None:
    chain = [(*block(SameConv2d(6, 6, 3, groups=6)), "relu6"), (*block(SameConv2d(6, 4, 1)), None)]
    for conv, _, _ in chain:
        conv.fused = Int8Convolution(-3, 3, 6, measuring=False)  # pyright: ignore
    x, inputs = torch.randn(2, 6, 8, 8).clamp(-3, 3), list[Tensor]()
    assert convolve_chain(x, chain).requires_grad  # pyright: ignore
    chain[1][0].register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        convolve_chain(x, chain)  # pyright: ignore
        torch.testing.assert_close(inputs[0], F.relu6(chain[0][1](chain[0][0](x))), atol=0.05, rtol=0.05)
