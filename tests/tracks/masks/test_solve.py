"""Masks of one image: the walker beside scikit-image's and by hand, outlines of shapes whose mask is known."""

import numpy as np
import pytest
from skimage.segmentation import random_walker

from tapetum.metrics.masks import mask_iou
from tapetum.tracks.masks.solve import (
    ColourModel,
    Crop,
    Prompt,
    connected,
    edge_weights,
    outline,
    outline_map,
    signed_distance,
    sow,
    walk,
)

ROWS, COLUMNS = np.indices((120, 160)) + 0.5
DISC = np.hypot(COLUMNS - 70, ROWS - 60) < 28


def image(mask: np.ndarray = DISC, seed: int = 0) -> np.ndarray:
    """A red object on a green ground, with noise."""
    colours = np.where(mask[..., None], (170, 70, 60), (70, 130, 80)).astype(float)
    return (colours + np.random.default_rng(seed).normal(0, 12, colours.shape)).clip(0, 255).astype(np.uint8)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float(mask_iou(one[None], other[None])[0])


def test_three_pixels_by_hand():
    # minimise 2 (x1 - x2)² + 1 (x2 - x3)² + 4 (x1 - 1)² + 4 x3²: 6 x1 = 2 x2 + 4, 3 x2 = 2 x1 + x3, 5 x3 = x2
    weights = np.array([[2.0, 1.0]]), np.zeros((0, 3))
    found = walk(weights, np.array([[1.0, 0.5, 0.0]]), np.array([[4.0, 0.0, 4.0]]))
    x2 = 4 / 3 / (3 - 2 / 3 - 1 / 5)
    np.testing.assert_allclose(found, [[(2 * x2 + 4) / 6, x2, x2 / 5]], atol=5e-3)


def test_with_seeds_alone_it_is_the_random_walker_of_scikit_image():
    labels = np.zeros((12, 15), int)
    labels[2, 3] = labels[9, 4] = 1
    labels[5, 12] = labels[0, 14] = 2
    grey = np.random.default_rng(0).random(labels.shape)
    theirs = random_walker(grey, labels, beta=10, mode="bf", return_full_prob=True)[0]  # weights are exp(-difference² / std)
    across, down = (np.exp(-np.square(np.diff(grey, axis=axis)) / grey.std()) for axis in (1, 0))
    ours = walk((across, down), (labels == 1).astype(float), np.where(labels > 0, 1e5, 0.0), 1e-12)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_weights_fall_where_colours_change():
    across, down = edge_weights(image().astype(np.float32))
    assert across[60, 97] < 0.2 < across[60, 60:80].mean()  # the disc ends at column 98
    assert across.shape == (120, 159)
    assert down.shape == (119, 160)


@pytest.mark.parametrize(
    "prompt",
    [Prompt(inside=((70, 60),)), Prompt(box=(42, 32, 98, 88)), Prompt(inside=((60, 50), (84, 70)), outside=((120, 60),))],
)
def test_a_disc_is_outlined(prompt: Prompt):
    assert iou(outline(image(), prompt), DISC) > 0.95


def test_clicks_correct_a_mask():
    both = DISC | ((abs(COLUMNS - 130) < 12) & (abs(ROWS - 60) < 12))
    frame = image(both)
    more = outline(frame, Prompt(inside=((130, 60),)), DISC)
    assert iou(more, both) > 0.9
    less = outline(frame, Prompt(outside=((130, 60),)), both)
    assert iou(less, DISC) > 0.9
    nothing = np.zeros_like(DISC)
    assert not outline(frame, Prompt(outside=((130, 60),)), nothing).any()


def test_colours_that_tell_nothing_are_worth_nothing():
    frame = image().astype(np.float32)
    half = np.full(DISC.shape, 0.5)
    assert ColourModel(frame, half, half).worth == 0
    assert ColourModel(frame, DISC.astype(float), (~DISC).astype(float)).worth > 0.9


def test_distance_has_the_sign_of_the_side():
    mask = np.zeros((5, 9), bool)
    mask[:, 3:6] = True
    assert signed_distance(mask)[2].tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 0.5, -0.5, -1.5, -2.5]
    assert np.isneginf(signed_distance(np.zeros((3, 3), bool))).all()


def test_a_window_comes_back_to_its_place():
    window = Crop.around(np.array([30.0, 20.0, 110.0, 100.0]), DISC.shape, side=40)
    assert window.size == (40, 40)
    assert window.inner(np.array([[30.0, 20.0], [110.0, 100.0]])).tolist() == [[0, 0], [40, 40]]
    np.testing.assert_allclose(window.places()[0, 0], [31, 21])
    assert iou(window.paste(window.crop(DISC), DISC.shape), DISC) > 0.97


def test_parts_without_a_place_are_dropped_and_small_holes_filled():
    mask = DISC.copy()
    mask[60, 70] = False
    mask[5:8, 5:8] = True
    kept = connected(mask, np.array([[70.0, 50.0]]))
    assert (kept == DISC).all()
    assert connected(mask, np.array([[6.0, 6.0]]))[6, 6]


def test_seeds_lie_on_discs():
    seeds = np.zeros((5, 5))
    sow(seeds, np.array([[2.5, 1.5], [0.2, 4.9]]), 1)
    assert np.argwhere(seeds).tolist() == [[0, 2], [1, 1], [1, 2], [1, 3], [2, 2], [3, 0], [4, 0], [4, 1]]


def test_a_coarse_map_is_outlined_along_colours_and_edges():
    rows, columns = np.indices((12, 16)) + 0.5
    odds = 4 - np.hypot(columns - 7.6, rows - 5.6) * 1.2  # a cell of 10 pixels, half a cell off
    region = odds > 0
    coarse = region.repeat(10, 0).repeat(10, 1)
    assert iou(outline_map(image(), odds, region), DISC) > 0.95 > iou(coarse, DISC)
    assert not outline_map(image(), odds, np.zeros_like(region)).any()
    assert outline_map(image()[:1, :1], odds, region).all()
