"""Files of masks, read by pycocotools, by the reader of DAVIS and by Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from tapetum.data.rle import encode_mask
from tapetum.data.segmentation import read_values
from tapetum.tracks.masks import ClipMasks
from tapetum.tracks.masks.files import draw_masks, write_coco, write_davis, write_pngs
from tapetum.video import open_video

rng = np.random.default_rng(0)
MASKS = rng.random((3, 20, 30)) < 0.4
MASKS[1] = False
OTHER = np.zeros_like(MASKS)
OTHER[:, 4:9, 5:20] = True


def clip(masks: np.ndarray) -> ClipMasks:
    return ClipMasks(30, 20, tuple(encode_mask(mask) for mask in masks), ())


OBJECTS = {1: clip(MASKS), 4: clip(OTHER)}


def test_pycocotools_reads_the_masks(tmp_path: Path):
    coco = COCO(write_coco(tmp_path / "masks.json", OBJECTS, {1: "bear", 4: "cub"}))
    assert coco.getImgIds() == [0, 1, 2]
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["bear", "cub"]
    for number, masks in ((1, MASKS), (4, OTHER)):
        for frame in range(3):
            found = coco.loadAnns(coco.getAnnIds(imgIds=frame, catIds=number))
            assert len(found) == masks[frame].any()
            for each in found:
                assert (coco.annToMask(each) == masks[frame]).all()
                assert dict(each)["track_id"] == number


def test_pngs_are_white_where_the_object_is(tmp_path: Path):
    write_pngs(tmp_path, OBJECTS[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert (np.asarray(Image.open(tmp_path / "00002.png")) == MASKS[2] * 255).all()


def test_davis_has_the_numbers_of_objects(tmp_path: Path):
    write_davis(tmp_path, OBJECTS)
    numbers = read_values(tmp_path / "00000.png")
    assert (numbers == np.where(OTHER[0], 4, MASKS[0])).all()
    with Image.open(tmp_path / "00000.png") as image:
        assert image.mode == "P"
        assert (image.getpalette() or [])[:6] == [0, 0, 0, 128, 0, 0]


def test_masks_are_drawn():
    video = open_video(np.full((3, 20, 30, 3), 100, np.uint8))
    drawn = list(draw_masks(video, {1: OBJECTS[1]}))
    assert len(drawn) == 3
    assert ((drawn[0] != 100).any(-1) == MASKS[0]).all()
    assert (drawn[1] == 100).all()
