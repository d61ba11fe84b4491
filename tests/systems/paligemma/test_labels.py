"""Which boxes are of what was asked for."""

import numpy as np
import pytest

from tapetum.systems.paligemma.labels import keep_requested, label_matches
from tapetum.systems.paligemma.locations import parse


@pytest.mark.parametrize(
    ("label", "thing", "yes"),
    [
        ("cup", "cat", False),
        ("cup", "cup", True),
        ("cup", "Cups", True),
        ("box", "boxes", True),
        ("cup", "the red cup", True),
        ("red cup", "cup", False),
        ("red", "red cup", False),
        ("cup", "cup of tea", True),
        ("tea", "cup of tea", False),
        ("table", "the cup on a table", False),
        ("person in the middle", "person in the middle", True),
        ("berry", "berries", True),
        ("glass", "glasses", True),
        ("the", "the", True),
        ("", "cat", True),
    ],
)
def test_a_label_answers_to_what_was_asked(label: str, thing: str, yes: bool):
    assert label_matches(label, [thing]) == yes
    assert label_matches(label, ["zebra", thing]) == yes


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
