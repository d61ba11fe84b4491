"""Patches and positions against convolutions, loops, timm, scipy and transformers."""

import itertools

import numpy as np
import pytest
import scipy.ndimage
import torch

from tapetum.core.errors import BadInput
from tapetum.layers.patches import (
    ImagePatches,
    VideoTubelets,
    from_patches,
    inflate_weight,
    interpolate,
    sine_1d,
    sine_2d,
    to_patches,
)


def test_a_patch_is_what_a_loop_cuts_out():
    x = torch.rand(2, 3, 8, 12)
    patches = to_patches(x, 4)
    for row, column in itertools.product(range(2), range(3)):
        cut = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].movedim(1, -1)
        assert torch.equal(patches[:, 3 * row + column], cut.flatten(1))
    assert torch.equal(from_patches(patches, 4, (2, 3)), x)


def test_layers_are_linear_on_the_bare_patches():
    images, layer = torch.rand(2, 3, 8, 12), ImagePatches(4, 5)
    weight = layer.weight.movedim(1, -1).flatten(1)
    torch.testing.assert_close(layer(images).flatten(1, 2), to_patches(images, 4) @ weight.T + layer.bias)
    video, layer = torch.rand(2, 3, 4, 6, 8), VideoTubelets((2, 3, 4), 5)
    for t, row, column in itertools.product(range(2), range(2), range(2)):
        cut = video[:, :, 2 * t : 2 * t + 2, 3 * row : 3 * row + 3, 4 * column : 4 * column + 4].flatten(1)
        torch.testing.assert_close(layer(video)[:, t, row, column], cut @ layer.weight.flatten(1).T + layer.bias)


def test_inflated_weights_see_a_still_video_as_its_image():
    image, layer = torch.rand(1, 3, 4, 4), ImagePatches(4, 5)
    for how, video in (
        ("average", image[:, :, None].expand(-1, -1, 3, -1, -1)),
        ("central", torch.stack([torch.rand(1, 3, 4, 4), image, torch.rand(1, 3, 4, 4)], 2)),
    ):
        tubelets = VideoTubelets((3, 4, 4), 5)
        with torch.no_grad():
            tubelets.weight.copy_(inflate_weight(layer.weight, 3, how))
            tubelets.bias.copy_(layer.bias)
        torch.testing.assert_close(tubelets(video)[:, 0], layer(image))


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


@pytest.mark.parametrize("new", [(7, 5), (3, 2), (1, 9), (2, 12)])
def test_positions_are_interpolated_as_naflex_does(new):
    """By transformers' own weights, which it does not take from torch."""
    transformers = pytest.importorskip("transformers")
    table = torch.randn(16, 6)
    resize = transformers.models.siglip2.modeling_siglip2.Siglip2VisionEmbeddings.resize_positional_embeddings
    want = resize(table.reshape(4, 4, 6), torch.tensor([new]), new[0] * new[1])[0]
    torch.testing.assert_close(interpolate(table, (4, 4), new, how="naflex"), want, atol=1e-6, rtol=0)


def test_the_ways_differ_and_wrong_ones_are_refused():
    table = torch.randn(16, 3)
    shrunk = [interpolate(table, (4, 4), (2, 3), how) for how in ("timm", "big_vision", "transformers", "naflex")]
    assert all((a - b).abs().max() > 0.01 for a, b in itertools.combinations(shrunk, 2))
    assert interpolate(table, (4, 4), (4, 4)) is table
    with pytest.raises(BadInput, match="16 positions are not a grid of 3 x 4"):
        interpolate(table, (3, 4), (4, 4))
    with pytest.raises(BadInput, match="no way 'nearest'"):
        interpolate(table, (4, 4), (2, 2), "nearest")
