"""Learning the codec of masks: data, codes that follow what is said, a short run that learns and goes on as it was."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.coco import instance
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.config import RECIPES, MaskCodecRun
from tapetum.systems.paligemma.masks.task import LearningCodec, MaskCrops, coarser, read_crops, train_masks
from tapetum.train.launch_config import Launch


def shapes(count: int) -> list[np.ndarray]:
    """Ellipses and slanted boxes."""
    y, x = np.mgrid[:30, :40] + 0.5
    rng = np.random.default_rng(0)
    made = []
    for k in range(count):
        turn, a, b = rng.uniform(0, 3), rng.uniform(8, 15), rng.uniform(4, 8)
        u, v = (x - 20) * np.cos(turn) + (y - 15) * np.sin(turn), (y - 15) * np.cos(turn) - (x - 20) * np.sin(turn)
        made.append((np.abs(u / a) ** 2 + np.abs(v / b) ** 2 < 1) if k % 2 else (np.abs(u) < a / 1.5) & (np.abs(v) < b))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "masks").mkdir(parents=True)
    for k, mask in enumerate(shapes(12)):
        ids = np.zeros((40, 60), np.uint8)
        ids[5:35, 10:50][mask] = 7
        ids[38:, 50:] = 9  # 20 pixels: too small to have a shape
        Image.fromarray(ids).save(tmp_path / "data" / "masks" / f"{k:03d}.png")
    return tmp_path / "data"


def test_masks_are_read_from_folders_and_from_files_of_coco(folder: Path, tmp_path: Path):
    crops = read_crops([folder])
    assert len(crops) == 12
    assert all(crop[0].any() and crop[-1].any() and crop[:, 0].any() and crop[:, -1].any() for crop in crops)
    square = {"segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]], "image_id": 1}
    runs = instance(1, shapes(1)[0]) | {"image_id": 2}
    crowd = square | {"iscrowd": 1}
    content = {
        "images": [{"id": 1, "height": 50, "width": 50}, {"id": 2, "height": 30, "width": 40}],
        "annotations": [square, runs, crowd],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    polygon, encoded = read_crops([tmp_path / "instances.json"])
    assert polygon.shape == (10, 20)
    assert polygon.all()
    assert encoded.sum() == shapes(1)[0].sum()


def test_a_mask_by_number_is_the_same_whoever_asks(folder: Path):
    crops = read_crops([folder])
    one, other = MaskCrops(crops, 3), MaskCrops(crops, 3)
    assert all((one[k] == other[k]).all() for k in (5, 0, 40))
    assert not (one[0] == MaskCrops(crops, 4)[0]).all()
    assert one[0].shape == (64, 64)
    small = coarser(np.ones((60, 30), bool), 12)
    assert small.shape == (12, 6)
    assert coarser(small, 20) is small


def test_codes_are_the_means_of_what_was_said():
    run = MaskCodecRun(code_decay=0.0, restart_below=0.0)
    model = LearningCodec(run)
    width = run.config.code_width
    said = torch.randn(6, width)
    model.follow(said, torch.tensor([3, 3, 3, 9, 9, 0]), None)
    torch.testing.assert_close(model.codec.codebook[3], said[:3].mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model.codec.codebook[9], said[3:5].mean(0), rtol=1e-3, atol=1e-3)


def test_codes_that_nobody_chooses_are_drawn_anew():
    model = LearningCodec(MaskCodecRun())
    said = torch.full((8, model.run.config.code_width), 5.0)
    model.follow(said, torch.zeros(8, dtype=torch.long), torch.Generator().manual_seed(0))
    assert model.codec.codebook.min() > 4.9


@pytest.mark.slow
def test_a_short_run_learns_and_goes_on_as_it_was(folder: Path, tmp_path: Path):
    run = replace(
        RECIPES["small"], data=(str(folder),), check=(str(folder),), steps=40, batch_size=16, micro_batch=16, warmup_steps=2
    )
    whole = train_masks(run, Launch(out=tmp_path / "whole", workers=0, device="cpu", threads=1), print)
    assert whole is not None
    path, scores = whole
    assert scores["iou"] > 0.6
    stopped = Launch(out=tmp_path / "parts", workers=0, device="cpu", threads=1, minutes=0.0)
    assert train_masks(run, stopped, print) is None
    parts = train_masks(run, replace(stopped, minutes=None), print)
    assert parts is not None
    one, other = (mask_codec.load(each).state_dict() for each in (path, parts[0]))
    assert all((one[name] == other[name]).all() for name in one)


def test_what_holds_no_masks_is_refused_in_one_line(folder: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"images": []}')
    (tmp_path / "none.json").write_text('{"images": [], "annotations": []}')
    (folder / "masks" / "000.png").write_bytes(b"\x89PNG")
    cases = {
        tmp_path / "empty": "has no folder masks",
        tmp_path / "gone.json": "cannot read .*No such file",
        tmp_path / "other.json": "holds no instances as COCO has them",
        tmp_path / "none.json": "holds no masks of 24 pixels or more",
        folder: "000.png is damaged",
    }
    for place, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            read_crops([place])
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="there are no masks to learn from"):
        MaskCrops([])
    with pytest.raises(BadInput, match=r"code_decay is 1\.0"):
        MaskCodecRun(code_decay=1.0)
