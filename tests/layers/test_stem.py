"""A stem of convolutions: its grid, what a cell sees, and what is refused."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.layers.patches import ConvolutionalStem, ResidualConvolutions, TubeletStem


def test_each_patch_becomes_a_cell() -> None:
    stem = ConvolutionalStem(8, 32, blocks=1).eval()
    x = torch.randn(2, 3, 24, 40)
    cells = stem(x)
    assert cells.shape == (2, 3, 5, 32)
    changed = x.clone()
    changed[:, :, :2, :2] += 5  # a corner reaches its own cell, and not the far ones
    moved = (stem(changed) - cells).abs().amax((0, 3)) > 1e-6
    assert moved[0, 0]
    assert not moved[2, 4]
    with pytest.raises(BadInput, match="do not divide"):
        stem(torch.zeros(1, 3, 20, 24))


def test_residual_blocks_stand_between_the_halvings_and_begin_as_nothing() -> None:
    plain, deep = (ConvolutionalStem(16, 32, blocks) for blocks in (0, 2))
    count = [sum(isinstance(m, nn.Conv2d) for m in stem.modules()) for stem in (plain, deep)]
    assert count == [5, 5 + 2 * 2 * 2]
    same = [m for m in deep.layers if type(m).__name__ != "ResidualConvolutions"]
    for ours, theirs in zip(plain.layers, same, strict=True):
        ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(deep.eval()(x), plain.eval()(x))


@torch.no_grad()
def test_a_still_video_gives_what_its_image_gave_and_a_moving_one_the_mean() -> None:
    torch.manual_seed(0)
    single, video = ConvolutionalStem(8, 32, 1).eval(), TubeletStem((2, 8, 8), 32, 1).eval()
    nn.init.normal_(single.layers[-1].bias)
    video.layers.load_state_dict(single.layers[:-1].state_dict())
    video.inflate(single.layers[-1])
    frames = torch.randn(2, 3, 4, 16, 24)
    each = torch.stack([single(frames[:, :, t]) for t in range(4)], 1)  # (b, t, rows, columns, width)
    torch.testing.assert_close(video(frames), (each[:, ::2] + each[:, 1::2]) / 2, atol=1e-5, rtol=1e-4)
    with pytest.raises(BadInput, match="do not divide"):
        video(torch.zeros(1, 3, 3, 16, 24))


def test_a_videos_stem_has_no_blocks_unless_asked() -> None:
    kinds = [[type(m).__name__ for m in TubeletStem((2, 16, 16), 32, *blocks).layers] for blocks in ((), (0,), (2,))]
    assert kinds[0] == kinds[1]
    assert [kind.count("ResidualConvolutions") for kind in kinds] == [0, 0, 4]


def test_a_vit_may_have_such_a_stem() -> None:
    changes = {"stem": "convolutions", "stem_blocks": 1, "image_size": (32, 32)}
    vit = build("vit-nano", **changes)
    features = vit(torch.randn(1, 3, 32, 32))
    assert features.grid == (4, 4)
    features.tokens.square().sum().backward()
    assert all(p.grad is not None for p in vit.patches.parameters())
    with pytest.raises(BadInput, match="patches of 2, 4, 8 or 16"):
        build("vit-nano", stem="convolutions", patch=7, image_size=(28, 28))
    with pytest.raises(BadInput, match="stem_blocks"):
        build("vit-nano", stem_blocks=1)


@torch.no_grad()
def test_a_residual_block_is_written_out() -> None:
    torch.manual_seed(0)
    block, x = ResidualConvolutions(3).eval(), torch.randn(2, 3, 5, 5)
    nn.init.ones_(block.second_norm.weight)
    kept = 1 / math.sqrt(1 + block.first_norm.eps)  # norms that have seen nothing
    inner = (F.conv2d(x, block.first.weight, padding=1) * kept).clamp(min=0)
    torch.testing.assert_close(block(x), (x + F.conv2d(inner, block.second.weight, padding=1) * kept).clamp(min=0))
