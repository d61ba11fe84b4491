"""Boxes and masks as text, by hand and by the arithmetic of the reference and of its demo; boxes of what was asked for."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.locations import (
    box_numbers,
    box_pixels,
    box_text,
    keep_requested,
    mask_text,
    parse,
    paste,
    suffix,
)
from tapetum.types import Boxes

BOX = "<loc0100><loc0200><loc0300><loc0400>"
MASK = "".join(f"<seg{k:03d}>" for k in range(16))


def half_planes(codes: np.ndarray) -> np.ndarray:
    """A codec by hand: the left half where the first code is even, else the right half."""
    soft = np.full((len(codes), 64, 64), -1.0, np.float32)
    for mask, row in zip(soft, codes, strict=True):
        half = slice(None, 32) if row[0] % 2 == 0 else slice(32, None)
        mask[:, half] = 1
    return soft


def test_a_box_by_hand():
    # y first; 320 of 640 pixels is 511.5 of 1023, and halves go to the even number
    assert box_text([0, 120, 320, 480], 640, 480) == "<loc0256><loc0000><loc1023><loc0512>"
    assert box_numbers(np.array([[-5, 0, 999, 480]]), 640, 480).tolist() == [[0, 0, 1023, 1023]]


def test_halves_go_to_the_even_number():
    """As `tf.round` and `numpy.round` of the reference and its demo: of 2046 pixels, the odd ones lie at halves of 1023."""
    for pixel, number in ((1, 0), (3, 2), (5, 2), (7, 4), (509, 254), (511, 256), (1021, 510), (2041, 1020), (2043, 1022)):
        assert box_numbers(np.array([[0, 0, pixel, pixel]]), 2046, 2046).tolist() == [[0, 0, number, number]]


def test_locations_are_exact_at_both_edges():
    numbers = np.array([[0, 512, 1023, 1023]])
    assert box_pixels(numbers, 1024, 1023).tolist() == [[np.float32(512 / 1023 * 1024), 0, 1024, 1023]]


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_a_round_trip_is_as_near_as_the_grid(share: list[float]):
    size = np.array([640.0, 480.0, 640.0, 480.0])
    box = np.array([share]) * size
    back = box_pixels(box_numbers(box, 640, 480), 640, 480)
    assert (np.abs(back - box) / size).max() <= 1 / 2046 + 1e-6


def test_text_comes_back_as_boxes_and_masks():
    boxes = Boxes(xyxy=[[10, 20, 60, 90], [0, 0, 100, 100]], labels=["red cup", ""])
    codes = np.stack([np.arange(16), np.arange(16) + 1])
    text = suffix(boxes, 100, 100, codes)
    assert text.count("<seg") == 32
    assert " red cup ; <loc" in text
    chances = [0.5] * 20 + [0.25] * 4 + [1.0] * 16
    found = parse(text, 100, 100, half_planes, chances=chances)
    assert found.malformed == 0
    assert found.text == ""
    assert found.boxes.labels == ("red cup", "")
    np.testing.assert_allclose(found.boxes.scores, [0.5, 0.25 ** (4 / 20)], rtol=1e-6)
    assert (found.masks.scores == found.boxes.scores).all()
    with pytest.raises(BadInput, match="there are 1 probabilities of 40 tokens"):
        parse(text, 100, 100, chances=[1.0])
    np.testing.assert_allclose(found.boxes.xyxy, boxes.xyxy, atol=100 / 2046 + 1e-4)
    assert found.of_box.tolist() == [0, 1]
    assert found.masks.boxes.xyxy.tolist() == [[10, 20, 35, 90], [50, 0, 100, 100]]
    plain = parse(text, 100, 100)
    assert len(plain.masks) == 0
    assert plain.boxes.scores.tolist() == [1.0, 1.0]  # of text alone nothing is known


def test_paste_as_the_evaluator_of_the_reference_but_for_rounded_corners():
    rng = np.random.default_rng(0)
    soft = rng.normal(size=(64, 64)).astype(np.float32)
    h, w = 61, 83
    for numbers in ([100, 50, 900, 1000], [0, 0, 1023, 1023], [500, 500, 540, 530]):
        y1, x1, y2, x2 = np.array(numbers) / 1023
        y1, x1, y2, x2 = map(round, (y1 * h, x1 * w, y2 * h, x2 * w))
        wanted = np.zeros((h, w), bool)
        inside = np.asarray(Image.fromarray(soft).resize([x2 - x1, y2 - y1], resample=Image.Resampling.BILINEAR))
        wanted[y1:y2, x1:x2] = inside > 0.0
        assert (paste(soft, numbers, (h, w)) == wanted).all()
    assert not paste(soft, [500, 500, 501, 501], (h, w)).any()


CASES = {
    "": (0, "", 0),
    "a cat": (0, "a cat", 0),
    BOX: (1, "", 0),
    f"{BOX} cat": (1, "", 0),
    f"{BOX} cat ; {BOX} cat": (2, "", 0),
    f"{BOX}{BOX} cat": (2, "", 0),
    f"{BOX} cat {BOX} dog": (2, "", 0),
    f"I see {BOX} cat; and no more": (1, "I see and no more", 0),
    f"{BOX}{MASK} cat": (1, "", 0),
    f"{BOX} {MASK} cat": (1, "", 0),
    f"{BOX}{MASK}{BOX}{MASK}": (2, "", 0),
    f"{BOX}{MASK}<seg001> cat": (0, "cat", 1),
    f"{BOX}{MASK[:-8]} cat ; {BOX} dog": (1, "cat", 1),
    f"{MASK} cat": (0, "cat", 1),
    "<loc0001><loc0002><loc0003> cat": (0, "cat", 1),
    f"{BOX}<loc0001>": (0, "", 1),
    "<loc0300><loc0200><loc0100><loc0400> upside down": (0, "upside down", 1),
    "<loc0300><loc0200><loc0300><loc0400> flat": (0, "flat", 1),
    "<loc0300><loc0200><loc0400><loc1024> outside": (0, "outside", 1),
    "<loc0300><loc0200><loc400><loc0900> three digits": (0, "three digits", 1),
    BOX + "<seg999>" * 16: (0, "", 1),
    "<loc> <loc0001 <seg": (0, "<loc0001 <seg", 1),
}


@pytest.mark.parametrize("text", CASES)
def test_what_follows_no_grammar_is_skipped_and_counted(text: str):
    found = parse(text, 64, 48, half_planes)
    assert (len(found.boxes), found.text, found.malformed) == CASES[text]


DEMO = re.compile("(.*?)" + r"<loc(\d{4})>" * 4 + r"\s*" + "(?:" + r"<seg(\d{3})>" * 16 + r")?\s*([^;<>]+)? ?(?:; )?")
"""The grammar of the public demo, as notes 5.1 describe it."""


@given(st.lists(st.sampled_from([BOX, f"{BOX}{MASK}", " cat", " red dog", " ; ", "x"]), max_size=8))
def test_as_many_boxes_as_a_parser_by_regular_expression(parts: list[str]):
    text = "".join(parts)
    assert len(parse(text, 64, 48).boxes) == len(DEMO.findall(text))


def test_wrong_codes_sizes_and_labels_are_refused():
    with pytest.raises(BadInput, match="a mask has 15 codes"):
        mask_text([0] * 15)
    with pytest.raises(BadInput, match="wanted 16 from 0 to 127"):
        mask_text([128] * 16)
    with pytest.raises(BadInput, match="the image is 0x5"):
        parse("", 0, 5)
    with pytest.raises(BadInput, match="holds ; or <"):
        suffix(Boxes(xyxy=[[0, 0, 1, 1]], labels=["a;b"]), 8, 8)
    with pytest.raises(BadInput, match="there are 1 boxes and codes of 2 masks"):
        suffix(Boxes(xyxy=[[0, 0, 1, 1]]), 8, 8, np.zeros((2, 16), int))
    with pytest.raises(BadInput, match="NaN"):
        box_text([0, 0, np.nan, 1], 8, 8)


def test_boxes_and_masks_of_other_things_are_left_out():
    box = "<loc0000><loc0000><loc{0:04d}><loc{0:04d}>"
    codes = "<seg001>" * 16
    text = f"{box.format(100)}{codes} cup ; {box.format(200)} cat ; {box.format(300)}{codes} cat"
    found = parse(text, 64, 64, lambda numbers: np.ones((len(numbers), 64, 64), np.float32))
    kept = keep_requested(found, ["cat"])
    assert kept.boxes.labels == ("cat", "cat")
    assert kept.boxes.xyxy[:, 2].tolist() == found.boxes.xyxy[1:, 2].tolist()
    assert kept.unasked == ("cup",)
    assert kept.of_box.tolist() == [1]
    assert (kept.masks.masks == found.masks.masks[1:]).all()
    assert keep_requested(found, None) is found
    assert len(keep_requested(found, ["dog"]).boxes) == 0
    assert keep_requested(found, ["Red Cup", "cat"]).unasked == ()
