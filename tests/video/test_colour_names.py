"""Names of colours: CIELAB beside scikit-image's, the eleven colours by their own names, and what has no clear one."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from tapetum.video.colour_names import COLOURS, name_colour, name_pixels, to_lab

TYPICAL = {
    "black": (15, 15, 15), "grey": (128, 128, 128), "white": (245, 245, 245), "red": (200, 20, 25), "orange": (245, 130, 20),
    "yellow": (250, 220, 30), "green": (30, 140, 50), "blue": (30, 70, 200), "purple": (110, 30, 140), "pink": (250, 150, 180),
    "brown": (110, 65, 30),
}  # fmt: skip


def test_lab_is_that_of_scikit_image():
    rgb = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    np.testing.assert_allclose(to_lab(rgb), rgb2lab(rgb), atol=0.1)


def test_typical_colours_have_their_names():
    assert tuple(TYPICAL) == COLOURS
    assert [COLOURS[k] for k in name_pixels(np.array(list(TYPICAL.values()), np.uint8))] == list(COLOURS)


@pytest.mark.parametrize("step", [1, 3])
def test_every_colour_has_a_name(step: int):
    levels = np.arange(0, 256, 17 * step)
    rgb = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3).astype(np.uint8)
    assert set(name_pixels(rgb)) <= set(range(len(COLOURS)))


def test_a_thing_has_the_colour_of_most_of_its_pixels_or_none():
    image = np.zeros((40, 50, 3), np.uint8)
    image[:, 10:] = TYPICAL["blue"]
    mask = np.zeros((40, 50), bool)
    assert name_colour(image, mask) is None
    mask[:, 10:] = True
    assert name_colour(image, mask) == "blue"
    image[:14], image[14:27] = TYPICAL["red"], TYPICAL["yellow"]
    assert name_colour(image, mask) is None
    assert name_colour(np.array([[TYPICAL["pink"]]], np.uint8), np.ones((1, 1), bool)) == "pink"
