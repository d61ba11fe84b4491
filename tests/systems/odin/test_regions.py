"""Ids brought from crop to crop go where the pixels go."""

import pytest
import torch
import torch.nn.functional as F

from tapetum.systems.odin.masks import OUTSIDE, Crops, pool_masks, sample_regions, span_crops, warp


def crops(*boxes: tuple[float, float, float, float], flipped: bool = False) -> Crops:
    return Crops(torch.tensor(boxes), torch.full((len(boxes),), flipped))


def cut(image: torch.Tensor, box: tuple[int, int, int, int], flipped: bool) -> torch.Tensor:
    top, left, height, width = box
    part = image[top : top + height, left : left + width]
    return part.flip(1) if flipped else part


@pytest.mark.parametrize("from_flipped", [False, True])
@pytest.mark.parametrize("to_flipped", [False, True])
def test_ids_of_pixels_go_where_the_pixels_go(from_flipped: bool, to_flipped: bool) -> None:
    image = torch.arange(20 * 30).reshape(20, 30)
    source, target = (2, 3, 16, 24), (4, 8, 10, 12)
    found = warp(
        cut(image, source, from_flipped)[None],
        crops(source, flipped=from_flipped),
        crops(target, flipped=to_flipped),
        (10, 12),
    )
    assert torch.equal(found[0], cut(image, target, to_flipped))


def test_ramps_of_pixels_and_of_ids_agree_to_less_than_a_cell() -> None:
    """The image's way: bilinear resizing. The ids' way: lookup. Both of a ramp."""
    ramp = torch.linspace(0, 1, 96)[None].repeat(96, 1)
    ids = torch.arange(32)[None].repeat(32, 1)[None]
    view = (11, 23, 50, 37)
    pixels = F.interpolate(cut(ramp, view, True)[None, None], size=(16, 16), mode="bilinear", antialias=True)[0, 0]
    found = warp(ids, crops((0, 0, 96, 96)), crops(view, flipped=True), (16, 16))[0]
    assert ((found + 0.5) / 32 - pixels).abs().max() < 1 / 32


def test_places_outside_are_said_and_spanning_crops_leave_none() -> None:
    ids = torch.zeros(1, 8, 8, dtype=torch.long)
    first, second = crops((0, 0, 8, 8)), crops((4, 4, 8, 8), flipped=True)
    assert (warp(ids, first, second, (8, 8))[0, :4, 4:] == 0).all()
    assert int((warp(ids, first, second, (8, 8)) == OUTSIDE).sum()) == 48
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(200, 8, generator=generator) * 100 + 0.1
    one, other = Crops(boxes[:, :4], torch.rand(200, generator=generator) < 0.5), Crops(boxes[:, 4:], torch.zeros(200) > 1)
    span = span_crops(one, other)
    for view in (one, other):
        assert (warp(torch.zeros(200, 7, 9, dtype=torch.long), span, view, (5, 6)) == 0).all()


def test_means_inside_of_masks() -> None:
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    ids = torch.randint(-1, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    means, cells = pool_masks(features, ids, 4)
    for b in range(2):
        for k in range(3):
            torch.testing.assert_close(means[b, k], features[b][:, ids[b] == k].mean(1))
            assert int(cells[b, k]) == int((ids[b] == k).sum())
    assert torch.equal(means[:, 3], torch.zeros(2, 3, dtype=torch.float64))
    constant, _ = pool_masks(torch.full((1, 2, 4, 4), 7.0), torch.zeros(1, 4, 4, dtype=torch.long), 1)
    assert torch.equal(constant, torch.full((1, 1, 2), 7.0))


def test_regions_are_drawn_from_those_that_are_there() -> None:
    cells = torch.tensor([[5.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    drawn = sample_regions(cells, 4000, torch.Generator().manual_seed(0))
    assert drawn[0].unique().tolist() == [0, 2]
    assert float((drawn[0] == 2).float().mean()) == pytest.approx(0.5, abs=0.03)  # as likely as the larger one
    assert drawn[1].unique().tolist() == [0, 1, 2, 3]
