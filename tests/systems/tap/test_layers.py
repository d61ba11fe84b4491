"""Convolutions over time beside torch's, at any precision."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from tapetum.systems.tap.layers import over_time


@pytest.mark.parametrize(("frames", "padding"), [(6, 1), (6, 0), (3, 0)])  # one moment goes another way
@pytest.mark.parametrize(("inner", "groups"), [(8, 8), (8, 1)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_sums_are_those_of_float32(
    frames: int, padding: int, inner: int, groups: int, kind: torch.dtype, autocast: bool
) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, frames, inner, generator=draw).to(kind)
    weight = torch.randn(16, inner // groups, 3, generator=draw).to(kind)
    bias = torch.randn(16, generator=draw).to(kind)
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        found = over_time(x, weight, bias, padding)
    wanted = F.conv1d(x.double().mT, weight.double(), bias.double(), padding=padding, groups=groups).mT
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted.float(), atol=1e-5, rtol=1e-5)
