"""Maps of classes: of a classifier whose cells are known, where they lie, what they leave out; images of every shape."""

import numpy as np
import pytest
import torch
from tests.support.colour_classifier import ColourClassifier

from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.encoders.class_maps import box_around, dense_probabilities, find_region
from tapetum.metrics.boxes import box_iou

BOX = np.array([[60.0, 40.0, 180.0, 130.0]])


def scene(box: np.ndarray = BOX[0]) -> np.ndarray:
    """A red thing on a green ground, 200 rows and 300 columns."""
    image = np.full((200, 300, 3), (0, 255, 0), np.uint8)
    x1, y1, x2, y2 = box.astype(int)
    image[y1:y2, x1:x2] = 255, 0, 0
    return image


def box_of(encoder: ColourClassifier, image: np.ndarray) -> np.ndarray:
    box = box_around(dense_probabilities(encoder, image).of([0]).mask)
    assert box is not None
    return box


def test_a_thing_is_boxed_where_it_is_and_mirrored_where_the_image_is():
    encoder = ColourClassifier()
    box = box_of(encoder, scene())
    assert box_iou(box[None], BOX)[0, 0] > 0.8
    mirrored = box_of(encoder, scene()[:, ::-1].copy())
    np.testing.assert_allclose(mirrored[[2, 0]], 300 - box[[0, 2]], atol=300 / 56 + 1e-3)  # a cell of the grid


def test_a_map_is_what_is_above_the_share_of_the_classes():
    blind = dense_probabilities(ColourClassifier(classes=10, gain=0.0), scene())
    for classes in ([0], [0, 1, 2]):
        nothing = blind.of(classes)
        assert nothing.whole == pytest.approx(0, abs=1e-6)
        assert nothing.values.max() == pytest.approx(0, abs=1e-6)
    sure = dense_probabilities(ColourClassifier(classes=10, gain=50.0), scene()).of([0, 1])
    assert sure.values.min() > 0.95  # red or green is everywhere
    assert blind.of([0]).score < 0.1


def test_a_map_of_zeros_has_no_box():
    made = dense_probabilities(ColourClassifier(), np.full((50, 60, 3), (0, 255, 0), np.uint8)).of([0])
    made.values[:] = 0
    assert box_around(made.mask) is None


def test_of_several_parts_the_one_with_most_probability_is_taken():
    values = np.zeros((6, 9))
    values[0, :5] = 0.2  # larger
    values[3:5, 6:8] = 0.9
    assert find_region(values).sum() == 4
    assert find_region(values, 0.99)[3, 6]
    assert not find_region(np.zeros((3, 4))).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (7, 3), (2, 900)])
def test_images_of_every_shape_have_a_map(size: tuple[int, int]):
    np.testing.assert_allclose(box_of(ColourClassifier(), np.full((*size, 3), (255, 0, 0), np.uint8)), (0, 0, size[1], size[0]))


def test_what_has_no_such_classifier_is_refused():
    image = scene()
    with pytest.raises(BadInput, match="does not classify the mean of a map"):
        dense_probabilities(build("vit-tiny-16", seed=0), image)
    headless = ColourClassifier()
    headless.head = None
    with pytest.raises(BadInput, match="does not classify the mean of a map"):
        dense_probabilities(headless, image)
    dense = dense_probabilities(ColourClassifier(), image)
    for classes in ([], [3], [-1]):
        with pytest.raises(BadInput, match="give one or more of 0 to 2"):
            dense.of(classes)
    broken = ColourClassifier()
    assert broken.head is not None
    torch.nn.init.constant_(broken.head.weight, torch.nan)
    with pytest.raises(BadInput, match="not finite"):
        dense_probabilities(broken, image)
