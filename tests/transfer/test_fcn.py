"""Transfers to segmentation from small folders in the official layouts: one call from the encoder to the mean IoU."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from support.storage import web_server
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.encoders.factory import from_state, save
from tapetum.encoders.references import load
from tapetum.train.launch_config import Launch
from tapetum.transfer.config import FCN_RECIPES, FcnRun
from tapetum.transfer.fcn import FcnTask, load_segmenter, parts_of, segment, train_fcn
from tapetum.transfer.fine_tune import cropped, cut_at_own_scale
from tapetum.transfer.segmentation import IGNORED, Fcn, LinearSegmenter, Segmenter, UperNet, confusions, keep_size


def shown(k: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose left is bright and class 1, but for a column that does not count."""
    image = np.random.default_rng(k).integers(0, 60, (40, 56, 3))
    truth = np.zeros((40, 56), np.uint8)
    image[:, : 20 + k], truth[:, : 20 + k], truth[:, 30] = 200, 1, 255
    return image.astype(np.uint8), truth


def written(image: Path, mask: Path, k: int, values: dict[int, int] | None = None) -> None:
    seen, truth = shown(k)
    for value, other in (values or {}).items():
        truth[truth == value] = other
    for path, content in ((image, seen), (mask, truth)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(path)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    folder = tmp_path / "CamVid"
    for part, count in (("train", 3), ("val", 2)):
        lines = []
        for k in range(count):
            written(folder / part / f"{k}.png", folder / f"{part}annot" / f"{k}.png", k)
            lines.append(f"/SegNet/CamVid/{part}/{k}.png /SegNet/CamVid/{part}annot/{k}.png")
        (folder / f"{part}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    save(build("resnet-18", stem_width=4, depths=(1, 1, 1, 1)), tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors"


def test_what_workers_get_can_be_pickled(camvid: Path) -> None:
    """And is small: each worker loads of the encoder what it needs."""
    run = FcnRun(data=str(camvid), encoder="random:resnet-50", layout="camvid", crop=32)
    task = FcnTask(partial(load, run.encoder, seed=run.seed), parts_of(run), run)
    collate = pickle.loads(pickle.dumps(task.collate))
    assert len(pickle.dumps(task)) < 100_000
    one, other = (make([0, 1]) for make in (task.collate, collate))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_the_command_with_its_default_workers(camvid: Path, encoder: Path, tmp_path: Path) -> None:
    words = f"train fcn --layout camvid --data {camvid} --encoder {encoder} --out {tmp_path / 'run'} --crop 32 --steps 2"
    assert main([*words.split(), "--batch-size", "2"]) == 0


@pytest.mark.parametrize("name", ["fcn", "adapt"])
def test_patches_that_do_not_divide_name_the_option_that_resizes(name, camvid: Path, tmp_path: Path, run) -> None:
    trunk = "random:timm:vit_tiny_patch14_dinov2"
    if name == "fcn":
        words = ("train", "fcn", "--layout", "camvid", "--data", camvid, "--encoder", trunk, "--crop", 32, "--workers", 0)
        said = "patches of 14 pixels do not divide images of 32; images are resized by --crop: give 28 or 42"
    else:
        words = ("adapt", tmp_path / "demos", "--task", "clone", "--trunk", trunk, "--steps", 1)
        said = "patches of 14 pixels do not divide images of 128; images are resized by --pixels: give 126 or 140"
        assert run("data", "demos", "--task", "reach-disc", "--n", 1, "--pixels", 128, "--out", tmp_path / "demos")[0] == 0
    code, _, err = run(*words, "--out", tmp_path / "run", "--batch-size", 2)
    assert code == 2
    assert said in err


@pytest.mark.slow
def test_one_command_learns_and_scores(
    camvid: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data are at an address."""
    out = tmp_path / "run"
    words = f"train fcn --layout camvid --encoder {encoder} --out {out} --crop 32 --steps 2 --batch-size 2"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with web_server(camvid, ranges=True) as (base, _):
        code = main([*words.split(), "--data", base, "--device", "cpu", "--workers", "0"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "images to learn from: 3; to score with: 2; 11 classes" in said
    score = float(said.split("mean_iou")[1].split()[0])
    assert 0 <= score < 1
    model, classes = load_segmenter(out / "segmenter.safetensors")
    assert (len(classes), classes[0]) == (11, "sky")
    assert segment(model, shown(0)[0]).shape == (40, 56)


@pytest.mark.slow
def test_what_is_easy_is_learned_with_a_frozen_encoder(camvid: Path, encoder: Path, tmp_path: Path) -> None:
    how = {"layout": "camvid", "crop": 32, "steps": 40, "batch_size": 4, "lr": 0.2, "freeze": True, "head": "linear"}
    run = FcnRun(data=str(camvid), encoder=str(encoder), **how)
    before = load(str(encoder)).state_dict()
    found = train_fcn(run, Launch(out=tmp_path / "run", device="cpu", workers=0), lambda text: None)
    assert found is not None
    assert found[1]["mean_iou"] > 0.5  # chance is 0.25 and less: half of the pixels are each of two classes
    model, _ = load_segmenter(found[0])
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_official_folders_are_found(tmp_path: Path) -> None:
    voc = tmp_path / "VOC2012"
    for name, k in (("2007_000032", 0), ("2007_000039", 1)):
        written(voc / "JPEGImages" / f"{name}.jpg", voc / "SegmentationClass" / f"{name}.png", k)
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    (voc / "ImageSets/Segmentation/train.txt").write_text("2007_000032\n")
    (voc / "ImageSets/Segmentation/val.txt").write_text("2007_000039\n")
    assert [len(part) for part in parts_of(FcnRun(data=str(voc)))] == [1, 1]
    written(voc / "JPEGImages/2008_000001.jpg", voc / "SegmentationClassAug/2008_000001.png", 2)
    (voc / "ImageSets/Segmentation/trainaug.txt").write_text("2008_000001\n")
    learned, _ = parts_of(FcnRun(data=str(voc)))
    assert (learned.images[0].name, len(learned.classes)) == ("2008_000001.jpg", 21)
    city = tmp_path / "cityscapes"
    for part in ("train", "val"):
        name = f"{part}/ulm/ulm_000000_000019"
        image, mask = city / f"leftImg8bit/{name}_leftImg8bit.png", city / f"gtFine/{name}_gtFine_labelIds.png"
        written(image, mask, 0, {0: 7, 1: 26, 255: 3})
    _, scored = parts_of(replace(FCN_RECIPES["cityscapes"], data=str(city)))
    assert np.unique(scored.read(0)[1]).tolist() == [0, 13, IGNORED]
    with pytest.raises(BadInput, match="there is no data"):
        parts_of(FcnRun())


@pytest.mark.slow
def test_a_resnet_keeps_its_size_as_torchvisions_does() -> None:
    torch.manual_seed(0)
    how = {"num_classes": 2, "replace_stride_with_dilation": [False, False, True]}
    theirs = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 2], **how).eval()
    ours = keep_size(from_state(theirs.state_dict(), "torchvision", "resnet50", depths=(1, 1, 1, 2)))
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found = ours(x).maps[-1]
        parts = torch.nn.Sequential(*list(theirs.children())[:-2])
        torch.testing.assert_close(found, parts(x), atol=1e-5, rtol=1e-4)
    assert (ours.strides, found.shape[2:]) == ((4, 8, 16, 16), (4, 6))


def test_at_every_other_cell_the_larger_map_is_the_map_before() -> None:
    torch.manual_seed(0)
    before = build("resnet-50", stem_width=4, depths=(1, 1, 1, 3)).eval()
    after = keep_size(copy.deepcopy(before))
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        small, large = before(x).maps[-1], after(x).maps[-1]
    # the first block sees each cell, the others see every other one: those of even number know nothing of the odd ones
    assert (small.shape[2:], large.shape[2:]) == ((2, 3), (4, 6))
    torch.testing.assert_close(large[..., ::2, ::2], small, atol=1e-5, rtol=1e-4)


def test_a_image_of_any_size_is_filled_with_grey_and_cut_again() -> None:
    torch.manual_seed(0)
    model = Segmenter(build("resnet-18", stem_width=4, depths=(1, 1, 1, 1)), 3, "linear").eval()
    torch.nn.init.normal_(model.head.classes.weight)
    how = model.encoder.preprocessing
    image = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    filled = np.zeros((64, 96, 3), np.float32)
    filled[:40, :90] = (image - np.array(how.mean)) / np.array(how.std)
    with torch.no_grad():
        logits = model(torch.from_numpy(filled).permute(2, 0, 1)[None])[0]
    found = segment(model, image)
    assert (found == logits.argmax(0)[:40, :90].numpy()).all()
    assert len(np.unique(found)) == 3


def test_a_task_learns_from_the_pixels_that_count(camvid: Path, encoder: Path) -> None:
    run = FcnRun(data=str(camvid), layout="camvid", encoder=str(encoder), crop=32)
    task = FcnTask(lambda: build("resnet-18"), parts_of(run), run)
    logits, truth = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    truth[:, 1] = IGNORED
    loss, _ = task.loss(lambda image: logits * image, {"image": torch.tensor(2.0), "truth": truth}, None)
    counted = [
        -float((2 * logits[b, :, y, x]).log_softmax(0)[truth[b, y, x]])
        for b, y, x in np.ndindex(2, 4, 5)
        if truth[b, y, x] != IGNORED
    ]
    assert float(loss) == pytest.approx(sum(counted) / 30, rel=1e-5)


def test_pixels_are_counted_as_in_evaluation() -> None:
    class Judge(torch.nn.Module):
        """Says class 1 in training, class 0 else."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(images), 2, 2, 2)
            logits[:, int(self.training)] = 1
            return logits

    truth = torch.tensor([[[0, 1], [1, IGNORED]], [[0, 0], [0, 1]]])
    counts = confusions(Judge().train(), [(torch.zeros(2, 3, 2, 2), truth)], 2)
    assert counts.tolist() == [[[1, 0], [2, 0]], [[3, 0], [1, 0]]]


@pytest.mark.parametrize("kind", [LinearSegmenter, Fcn])
def test_classes_begin_nearly_alike(kind: type) -> None:
    layer = kind((256,), 40).classes
    assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not layer.bias.any()


def test_fcn_sees_every_pixel() -> None:
    model = Segmenter(build("resnet-18", stem_width=4, depths=(1, 1, 1, 1)), 5, "fcn", width=8).train()
    logits = model(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 5, 64, 96)
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_crops_keep_shape_and_truth() -> None:
    image, truth = shown(0)
    for number in range(6):
        x, y = cut_at_own_scale(image, truth.astype(np.int64), (32, 48), np.random.default_rng(number))
        assert (x.shape, y.shape) == ((3, 32, 48), (32, 48))
        known = y != IGNORED
        bright = x.mean(0) > 120
        assert (bright[known] == (y[known] == 1)).float().mean() > 0.9


@pytest.mark.parametrize("crop", [cropped, cut_at_own_scale])
def test_halving_is_as_likely_as_doubling(crop: Callable) -> None:
    """Rows of the truth in a larger window say the scale; of the other function, only where it is below 1."""
    rng, image, truth = np.random.default_rng(0), np.zeros((64, 2, 3), np.uint8), np.zeros((64, 2), np.int64)
    window = (64, 2) if crop is cropped else (128, 4)
    rows = [int((crop(image, truth, window, rng)[1] == 0).any(1).sum()) for _ in range(1000)]
    octaves = np.log2(np.array(rows) / 64)
    assert (octaves.min(), octaves.max()) == pytest.approx((-1, 0 if crop is cropped else 1), abs=0.1)
    for below, share in ((-0.5, 0.25), (-0.02, 0.49), *(((0.5, 0.75),) if crop is cut_at_own_scale else ())):
        assert (octaves < below).mean() == pytest.approx(share, abs=0.06)


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="32 or more"):
        FcnRun(crop=8)
    with pytest.raises(BadInput, match="1 or more"):
        FcnRun(steps=0)
    with pytest.raises(BadInput, match="no-such"):
        load("random:no-such")
    with pytest.raises(BadInput, match="segmenter of tapetum train fcn"):
        load_segmenter(tmp_path / "none.safetensors")
    assert load("random:resnet-18").head is None


def test_the_preset_of_voc_is_that_of_moco() -> None:
    # MoCo (arXiv 1911.05722), appendix: 0.003, a tenth at 70 and 90 % of 30,000 steps, 16 crops of 513, decay 1e-4
    voc = FCN_RECIPES["voc"]
    assert voc.lr == 0.003
    assert (voc.milestones, voc.batch_size, voc.weight_decay, voc.steps, voc.crop) == ((0.7, 0.9), 16, 1e-4, 30_000, 513)


@torch.no_grad()
@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 3), (1, 1)])
def test_a_single_map_becomes_a_pyramid_of_four_sizes(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    one, x = UperNet((8,), 3, width=6).eval(), torch.randn(2, 8, rows, columns)
    four = UperNet((8, 8, 8, 8), 3, width=6).eval()
    four.load_state_dict(one.state_dict())
    sizes = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns), (max(rows // 2, 1), max(columns // 2, 1))]
    maps = [torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for size in sizes]
    found = one((x,))
    assert found.shape == (2, 3, 4 * rows, 4 * columns)
    torch.testing.assert_close(found, four(maps))
