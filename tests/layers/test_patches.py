"""Patches and positions against timm, scipy and transformers.

A stem of convolutions: its grid, what a cell sees, and what is refused.
"""

import itertools

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.layers.patches import (
    ConvolutionalStem,
    ImagePatches,
    TubeletStem,
    VideoTubelets,
    inflate_weight,
    interpolate,
    sine_1d,
    sine_2d,
)


def test_inflated_weights_are_in_their_frames():
    """ViViT's central frame is number frames // 2 (section 3.5: at t / 2); of an average each has weight / frames."""
    weight = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
    for frames in (1, 2, 3, 4):
        central, average = inflate_weight(weight, frames), inflate_weight(weight, frames, "average")
        for frame in range(frames):
            assert torch.equal(central[:, :, frame], weight if frame == frames // 2 else torch.zeros_like(weight))
            assert torch.equal(average[:, :, frame], weight / frames)


def test_what_patches_do_not_divide_is_refused():
    with pytest.raises(BadInput, match="patches of 4x4 do not divide 8x10"):
        ImagePatches(4, 5)(torch.rand(1, 3, 8, 10))
    with pytest.raises(BadInput, match="patches of 2x4x4 do not divide 3x8x8"):
        VideoTubelets((2, 4, 4), 5)(torch.rand(1, 3, 3, 8, 8))


def test_sine_codes_are_what_is_written():
    codes = sine_1d(torch.tensor([0.0, 3.0]), 4)
    assert codes[0].tolist() == [0, 0, 1, 1]
    want = np.concatenate([np.sin([3.0, 3.0 / 100]), np.cos([3.0, 3.0 / 100])])
    np.testing.assert_allclose(codes[1].numpy(), want, rtol=1e-12)
    grid = sine_2d((2, 3), 8)  # cell (1, 2): column 2, then row 1
    want = torch.cat([sine_1d(torch.tensor([2.0]), 4), sine_1d(torch.tensor([1.0]), 4)], 1)[0].float()
    assert torch.equal(grid[5], want)
    with pytest.raises(BadInput, match="pairs of channels"):
        sine_2d((2, 2), 6)
    with pytest.raises(BadInput, match="pairs of channels"):
        sine_1d(torch.tensor([1.0]), 2, inclusive=True)


def test_inclusive_sine_codes_are_those_of_tensor2tensor():
    codes = sine_1d(torch.tensor([3.0]), 6, inclusive=True)
    want = np.concatenate([np.sin([3.0, 3.0 / 100, 3.0 / 10_000]), np.cos([3.0, 3.0 / 100, 3.0 / 10_000])])
    np.testing.assert_allclose(codes[0].numpy(), want, rtol=1e-12)


GRIDS = [((4, 4), (7, 5)), ((6, 6), (3, 4)), ((3, 5), (3, 9))]


@pytest.mark.parametrize(("grid", "new"), GRIDS)
def test_positions_are_interpolated_as_timm_does(grid, new):
    from timm.layers import resample_abs_pos_embed

    table = torch.randn(grid[0] * grid[1], 6)
    want = resample_abs_pos_embed(table[None], list(new), list(grid), num_prefix_tokens=0)[0]
    torch.testing.assert_close(interpolate(table, grid, new), want)


@pytest.mark.parametrize(("grid", "new"), [*GRIDS, ((4, 4), (1, 2))])
def test_positions_are_interpolated_as_big_vision_does(grid, new):
    """That is scipy.ndimage.zoom of order 1 on the grid, as its models/vit.py resamples."""
    table = torch.randn(grid[0] * grid[1], 6)
    zoom = (new[0] / grid[0], new[1] / grid[1], 1)
    want = scipy.ndimage.zoom(table.reshape(*grid, 6).numpy(), zoom, order=1)
    got = interpolate(table, grid, new, how="big_vision").reshape(*new, 6)
    torch.testing.assert_close(got, torch.from_numpy(want))


@pytest.mark.parametrize(("grid", "new"), [((4, 4), (7, 5)), ((6, 6), (3, 4))])
def test_positions_are_interpolated_as_transformers_does(grid, new):
    transformers = pytest.importorskip("transformers")
    from transformers.models.vit.modeling_vit import ViTEmbeddings

    config = transformers.ViTConfig(hidden_size=6, num_attention_heads=1, image_size=4 * grid[0], patch_size=4)
    theirs = ViTEmbeddings(config)
    tokens = torch.zeros(1, 1 + new[0] * new[1], 6)
    want = theirs.interpolate_pos_encoding(tokens, 4 * new[0], 4 * new[1])[0, 1:]
    torch.testing.assert_close(interpolate(theirs.position_embeddings[0, 1:], grid, new, how="transformers"), want)


def test_the_ways_differ_and_wrong_ones_are_refused():
    table = torch.randn(16, 3)
    shrunk = [interpolate(table, (4, 4), (2, 3), how) for how in ("timm", "big_vision", "transformers")]
    assert all((a - b).abs().max() > 0.01 for a, b in itertools.combinations(shrunk, 2))
    assert interpolate(table, (4, 4), (4, 4)) is table
    with pytest.raises(BadInput, match="16 positions are not a grid of 3 x 4"):
        interpolate(table, (3, 4), (4, 4))
    with pytest.raises(BadInput, match="no way 'nearest'"):
        interpolate(table, (4, 4), (2, 2), "nearest")


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
