"""Transfers to detection from a small folder in COCO's layout: one call from the encoder to AP, which is pycocotools'."""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from support.storage import web_server
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.data.coco import CocoImage, instance, read_instances, write_instances
from tapetum.encoders import build
from tapetum.encoders.factory import save
from tapetum.train import StepContext
from tapetum.transfer.coco import CocoTask, coco_scores, detector, load_detector, predictions, save_detector
from tapetum.transfer.config import CocoRun

CATEGORIES = [(1, "disc"), (44, "bar")]
SMALL = CocoRun(short_sides=(64,), long_side=96, width=8, batch_size=2, micro_batch=2, steps=2)


def scene(k: int) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(k)
    rows, columns = np.mgrid[:64, :80]
    disc, bar = (rows - 22) ** 2 + (columns - 20 - 3 * k) ** 2 < 15**2, (abs(rows - 50) < 7) & (abs(columns - 55) < 16)
    image = rng.integers(40, 60, (64, 80, 3))
    image[disc], image[bar] = (220, 60, 50), (60, 80, 230)
    return image.astype(np.uint8), [disc, bar]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    for part, count in (("train", 3), ("val", 2)):
        (tmp_path / f"{part}2017").mkdir()
        images = []
        for k in range(count):
            image, masks = scene(k + (part == "val"))
            Image.fromarray(image).save(tmp_path / f"{part}2017/{k:012d}.jpg", quality=95)
            things = [instance(number, mask) for (number, _), mask in zip(CATEGORIES, masks, strict=True)]
            if k == 2:
                things = [{**things[0], "iscrowd": 1}]
            images.append(CocoImage(id=k, file_name=f"{k:012d}.jpg", height=64, width=80, instances=things))
        write_instances(tmp_path / f"annotations/instances_{part}2017.json", lambda images=images: images, dict(CATEGORIES))
    return tmp_path


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    save(build("resnet-18", stem_width=4, depths=(1, 1, 1, 1)), tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors"


@pytest.mark.slow
def test_one_command_learns_and_scores(
    coco: Path,
    encoder: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its data are at an address."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    words = (
        f"train coco --preset small --encoder {encoder} --out {tmp_path / 'run'} --steps 2 --batch-size 2 "
        "--micro-batch 2 --warmup-steps 1 --short-sides 64 --long-side 96 --width 8 --workers 0 --device cpu"
    )
    with web_server(coco, ranges=True) as (base, _):
        code = main([*words.split(), "--data", base])
    said, err = capsys.readouterr()
    assert code == 0, err
    assert "images to learn from: 2; to score with: 2; 2 categories" in said
    assert 0 <= float(said.split("mask_ap ")[1].split()[0]) <= 1
    model, categories = load_detector(tmp_path / "run/detector.safetensors")
    assert categories == CATEGORIES
    found = model([torch.from_numpy(scene(0)[0]).movedim(-1, 0).float() / 255])[0]
    assert found["masks"].shape[1:] == (1, 64, 80)


def entries(coco: Path) -> list[dict[str, Any]]:
    """Results that are near to the truth: boxes and masks moved by a pixel, scores by number, one wrong."""
    said = json.loads((coco / "annotations/instances_val2017.json").read_text())["annotations"]
    rng = np.random.default_rng(0)
    found = []
    for k, entry in enumerate(said):
        x, y, w, h = entry["bbox"]
        box = [x + float(rng.integers(-2, 3)), y, w, h + float(rng.integers(-2, 3))]
        found.append({"image_id": entry["image_id"], "category_id": entry["category_id"], "bbox": box, "score": 0.9 - 0.1 * k})
        found[-1]["segmentation"] = entry["segmentation"]
    return [*found, {**found[0], "category_id": 44, "score": 0.99}]


def test_scores_are_those_of_pycocotools(coco: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    file, said = coco / "annotations/instances_val2017.json", entries(coco)
    ours = coco_scores(file, said, [0, 1], masks=True)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        for kind, name in (("bbox", "box"), ("segm", "mask")):
            judge = COCOeval(truth, truth.loadRes([dict(entry) for entry in said]), kind)
            for step in (judge.evaluate, judge.accumulate, judge.summarize):
                step()
            theirs = [float(judge.stats[k]) for k in range(3)]
            assert [ours[f"{name}_{which}"] for which in ("ap", "ap50", "ap75")] == pytest.approx(theirs, abs=1e-6)
    assert 0.3 < ours["box_ap"] < ours["mask_ap"]
    assert coco_scores(file, [], [0, 1], masks=False) == {"box_ap": 0.0, "box_ap50": 0.0, "box_ap75": 0.0}


def test_what_is_learned_is_the_truth_and_mirrors_with_the_image(coco: Path) -> None:
    things = read_instances(coco / "annotations/instances_train2017.json", coco / "train2017")
    task = CocoTask(things, CATEGORIES, SMALL)
    assert len(task.images) == 2
    data, sides = task.dataset(), set()
    for number in range(8):
        image, target = data[number]
        assert target["labels"].tolist() == [1, 2]
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
        red = image[0] > 0.6
        assert (red == target["masks"][0].bool()).float().mean() > 0.98
        sides.add(target["boxes"][0, 0].item() > 40)
    assert sides == {False, True}


def test_heads_are_those_of_the_paper() -> None:
    encoder = build("resnet-18", stem_width=4, depths=(1, 1, 1, 1))
    model = detector(encoder, 2, CocoRun(short_sides=(64,), long_side=96, width=8))
    anchors, rois = model.rpn.anchor_generator, model.roi_heads
    assert anchors.sizes == ((32,), (64,), (128,), (256,), (512,))  # FPN (arXiv 1612.03144), section 4.1
    assert anchors.aspect_ratios == ((0.5, 1.0, 2.0),) * 5
    assert (rois.box_roi_pool.output_size, rois.mask_roi_pool.output_size) == ((7, 7), (14, 14))
    assert rois.box_roi_pool.featmap_names == rois.mask_roi_pool.featmap_names == ["0", "1", "2", "3"]
    assert rois.box_predictor.cls_score.out_features == 3  # and the ground
    assert list(model.transform.image_mean) == pytest.approx([value / 255 for value in encoder.preprocessing.mean])
    assert list(model.transform.image_std) == pytest.approx([value / 255 for value in encoder.preprocessing.std])


def fcos_run(**changes: Any) -> CocoRun:
    return CocoRun(detector="fcos", short_sides=(64,), long_side=96, width=64, batch_size=3, micro_batch=3, **changes)


@pytest.mark.parametrize(
    ("name", "sizes", "strides"), [("resnet-18", {"stem_width": 4}, (8, 16, 32)), ("vit-nano", {}, (4, 8, 16))]
)
def test_fcos_looks_at_five_levels_and_no_finer_map(name: str, sizes: Any, strides: tuple[int, ...]) -> None:
    """FCOS (arXiv 1904.01355, section 3.2): levels of the three coarsest maps, and two more, each half of the last."""
    encoder = build(name, **sizes)
    model: Any = detector(encoder, 2, fcos_run()).eval()
    found = []
    model.network.head.register_forward_hook(lambda _, given, __: found.extend(tuple(x.shape) for x in given[0]))
    model([torch.rand(3, 64, 96)])
    levels = [stride * factor for stride, factor in zip((*strides, strides[-1], strides[-1]), (1, 1, 1, 2, 4), strict=True)]
    assert found == [(1, 64, math.ceil(64 / stride), math.ceil(96 / stride)) for stride in levels]
    assert model.network.anchor_generator.sizes == tuple((stride,) for stride in levels)
    assert model.network.head.classification_head.num_classes == 2  # and none for the ground


def test_the_loss_of_fcos_is_its_papers() -> None:
    """Every cell of every level in loops (arXiv 2006.09214, sections 2.1 to 2.4), for one image of two boxes."""
    torch.manual_seed(0)
    model: Any = detector(build("resnet-18", stem_width=4), 2, fcos_run()).train()
    image = torch.rand(3, 64, 64)
    target = {"boxes": torch.tensor([[4.0, 6.0, 60.0, 50.0], [10.0, 20.0, 34.0, 44.0]]), "labels": torch.tensor([2, 1])}
    heads = {}
    model.network.head.register_forward_hook(lambda _, __, out: heads.update(out))
    parts = {name: float(part.detach()) for name, part in model([image], [target]).items()}
    logits, regression, centerness = (
        heads[name][0].detach().double() for name in ("cls_logits", "bbox_regression", "bbox_ctrness")
    )
    boxes, labels = target["boxes"].tolist(), target["labels"].tolist()
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    focal = box_loss = centre_loss = positives = cell = 0.0
    for stride, side in ((8, 8), (16, 4), (32, 2), (64, 1), (128, 1)):
        low, high = (0 if stride == 8 else 4 * stride), (math.inf if stride == 128 else 8 * stride)
        for row in range(side):
            for column in range(side):
                x, y, k = column * stride, row * stride, int(cell)  # torchvision's points are corners of cells
                fits = []
                for which, (x1, y1, x2, y2) in enumerate(boxes):
                    sides = (x - x1, y - y1, x2 - x, y2 - y)
                    near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 1.5 * stride
                    if near and min(sides) > 0 and low < max(sides) < high:
                        fits.append((area[which], which, sides))
                if fits:
                    _, which, sides = min(fits)  # the smallest box
                    positives += 1
                    moved = [float(value) * stride for value in regression[k]]
                    box_loss += 1 - giou([x - moved[0], y - moved[1], x + moved[2], y + moved[3]], boxes[which])
                    left, top, right, bottom = sides
                    true = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
                    p = 1 / (1 + math.exp(-float(centerness[k, 0])))
                    centre_loss -= true * math.log(p) + (1 - true) * math.log(1 - p)
                for c in range(2):
                    p = 1 / (1 + math.exp(-float(logits[k, c])))
                    right_class = bool(fits) and labels[which] - 1 == c
                    focal -= 0.25 * (1 - p) ** 2 * math.log(p) if right_class else 0.75 * p**2 * math.log(1 - p)
                cell += 1
    assert positives > 3
    assert parts["classification"] == pytest.approx(focal / positives, rel=1e-4)
    assert parts["bbox_regression"] == pytest.approx(box_loss / positives, rel=1e-4)
    assert parts["bbox_ctrness"] == pytest.approx(centre_loss / positives, rel=1e-4)


def giou(a: list[float], b: list[float]) -> float:
    """Generalised overlap of two boxes (arXiv 1902.09630)."""
    inside = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inside / union - (around - union) / around


@pytest.mark.slow
def test_fcos_learns_scores_and_comes_back(coco: Path, tmp_path: Path) -> None:
    """Two training images by heart: their boxes are found again, by COCO's scorer."""
    things = read_instances(coco / "annotations/instances_train2017.json", coco / "train2017")
    run = fcos_run()
    task = CocoTask(things, CATEGORIES, run)
    torch.manual_seed(0)
    model = detector(build("resnet-18", stem_width=8, depths=(1, 1, 1, 1)), len(CATEGORIES), run).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    samples = task.dataset()
    for step in range(30):
        batch = task.collate([samples[4 * step + k] for k in range(4)])
        loss, parts = task.loss(model, batch, StepContext())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert set(parts) == {"classification", "bbox_regression", "bbox_ctrness"}
    assert "masks" not in batch["targets"][0]
    detections = predictions(model, task.images, CATEGORIES)
    assert {entry["category_id"] for entry in detections} <= {1, 44}
    keys = [one.key for one in task.images]
    scores = coco_scores(coco / "annotations/instances_train2017.json", detections, keys, run.finds_masks)
    assert scores["box_ap50"] > 0.5
    assert "mask_ap" not in scores
    save_detector(model, run, CATEGORIES, tmp_path / "detector.safetensors")
    again, categories = load_detector(tmp_path / "detector.safetensors")
    assert predictions(again, task.images, categories) == detections


@pytest.mark.slow
def test_a_vit_can_be_the_backbone_and_files_come_back(tmp_path: Path) -> None:
    encoder = build("vit-nano", image_size=(64, 64), patch=16, width=16, depth=1, heads=2, mlp_width=32, pooling="mean")
    run = CocoRun(short_sides=(64,), long_side=96, width=8, masks=False)
    model = detector(encoder, 2, run).eval()
    save_detector(model, run, CATEGORIES, tmp_path / "detector.safetensors")
    again, _ = load_detector(tmp_path / "detector.safetensors")
    x = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))]
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[0]["boxes"], again(x)[0]["boxes"])


def test_bad_input_is_told(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no short side is above"):
        CocoRun(short_sides=(800,), long_side=700)
    with pytest.raises(BadInput, match="FCOS has 32 groups"):
        CocoRun(detector="fcos", width=40)
    things = read_instances(coco / "annotations/instances_train2017.json", coco / "train2017")
    with pytest.raises(BadInput, match="no image has a thing"):
        CocoTask([one for one in things if one.things[0].crowd], CATEGORIES, SMALL)
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(coco / "train2017/000000000000.jpg")
    with pytest.raises(BadInput, match="10x10 and its entry says 80x64"):
        [CocoTask(things, CATEGORIES, SMALL).dataset()[k] for k in range(2)]
    with pytest.raises(BadInput, match="detector of tapetum train coco"):
        load_detector(tmp_path / "none.safetensors")
    assert predictions(detector(build("resnet-18", stem_width=2, depths=(1, 1, 1, 1)), 2, SMALL), [], CATEGORIES) == []
