"""Boxes, masks and words on images."""

import numpy as np

from tapetum.types import Boxes, Masks
from tapetum.video.draw import APART
from tapetum.video.draw_regions import contact_sheet, draw_regions, draw_words, enlarged


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


def test_words_and_sheets_fit():
    frame = np.zeros((50, 200, 3), np.uint8)
    drawn = draw_words(frame, ["what is it?", "a very long answer " * 12])
    assert drawn.shape[1] == 200
    assert drawn.shape[0] > 150
    assert drawn[50:].std() > 10
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    sheet = contact_sheet(frames)
    assert sheet.shape == (8, 18, 3)
    assert sheet[0, 0, 0] == 0
    assert sheet[5, 7, 0] == 4
    assert contact_sheet(frames, most=9).shape[1] <= 9
    large, times = enlarged(frames[0])
    assert times == 64
    assert large.shape == (256, 384, 3)
    assert enlarged(np.zeros((400, 10, 3), np.uint8))[1] == 1
