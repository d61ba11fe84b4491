"""Boxes, masks and words on images."""

import numpy as np

from tapetum.types import Boxes, Masks
from tapetum.video.draw import APART
from tapetum.video.draw_regions import draw_regions


def test_boxes_and_masks_are_drawn_where_they_are_and_the_frame_stays():
    frame = np.full((120, 160, 3), 128, np.uint8)
    mask = np.zeros((1, 120, 160), bool)
    mask[0, 60:90, 100:140] = True
    boxes = Boxes(xyxy=[[20, 30, 60, 80], [-50, -50, -10, -10], [150, 100, 300, 300]], labels=["a cup", "outside", ""])
    drawn = draw_regions(frame, boxes, Masks(masks=mask))
    assert (frame == 128).all()
    assert drawn.shape == frame.shape
    changed = (drawn != 128).any(-1)
    assert changed[30, 20:60].all()
    assert changed[79, 20:60].all()
    assert not changed[35:75, 25:55].any()  # the inside of a box is left alone
    assert changed[18:29, 20:50].any()  # the label above it
    assert (drawn[60, 100] == APART[0]).all()  # the rim of the mask
    inside = drawn[75, 120]
    assert (inside != 128).any()
    assert (inside != APART[0]).any()
    assert not changed[:10, :10].any()
    assert (draw_regions(frame) == frame).all()
