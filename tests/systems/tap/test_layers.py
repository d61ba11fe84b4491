"""Convolutions over time beside torch's, at any precision."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from tapetum.systems.tap.layers import MixerBlock, over_time


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


@pytest.mark.parametrize("expansion", [1, 2, 4])
def test_single_frames_in_a_row_give_what_the_clip_gives_and_so_do_clips_after_single_frames(expansion: int) -> None:
    torch.manual_seed(0)
    block = MixerBlock(8, expansion, causal=True).eval()
    x = torch.randn(3, 7, 8)
    with torch.no_grad():
        whole, last = block(x, block.start(3))
        parts, state = [], block.start(3)
        for length in (1, 1, 3, 1, 1):  # a frame, a frame, three at once, ...
            begin = sum(part.shape[1] for part in parts)
            part, state = block(x[:, begin : begin + length], state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    assert state is not None
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
