"""Readers of segmented images, of videos with masks and of CIFAR, on small files in the official form and hostile ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.labelled import read_cifar10, read_cifar100
from tapetum.data.segmentation import (
    IGNORE,
    read_ade20k,
    read_camvid,
    read_cityscapes,
    read_davis,
    read_voc,
    read_voc_boxes,
    scored_frames,
)


def make_image(path: Path, size: tuple[int, int] = (3, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)


def mask(path: Path, values: list[list[int]], palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Image.fromarray(np.array(values, np.uint8))
    if palette:
        found = found.convert("P") if found.mode != "L" else Image.frombytes("P", found.size, found.tobytes())
        found.putpalette([k % 256 for k in range(768)])
    found.save(path)


def test_ade20k(tmp_path: Path) -> None:
    make_image(tmp_path / "images/validation/ADE_val_00000001.jpg")
    mask(tmp_path / "annotations/validation/ADE_val_00000001.png", [[0, 1, 150, 2]] * 3)
    names = [f"{k}\t0.1\t1\t1\tthing {k}, other" for k in range(1, 151)]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *names]))
    found = read_ade20k(tmp_path, "val")
    seen, classes = found.read(0)
    assert (seen.shape, seen.dtype, classes[0].tolist()) == ((3, 4, 3), np.uint8, [IGNORE, 0, 149, 1])
    assert (len(found), len(found.classes), found.classes[0]) == (1, 150, "thing 1")
    (tmp_path / "objectInfo150.txt").write_text("Idx\tName\n1\twall")
    with pytest.raises(BadInput, match="1 rows; wanted 150"):
        read_ade20k(tmp_path, "val")


def test_cityscapes(tmp_path: Path) -> None:
    make_image(tmp_path / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png")
    mask(tmp_path / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png", [[7, 33, 6, 0]] * 3)
    found = read_cityscapes(tmp_path, "train")
    assert found.read(0)[1][0].tolist() == [0, 18, IGNORE, IGNORE]
    assert (found.classes[0], found.classes[18], len(found.classes)) == ("road", "bicycle", 19)


def test_camvid(tmp_path: Path) -> None:
    make_image(tmp_path / "val/0016E5_07959.png")
    mask(tmp_path / "valannot/0016E5_07959.png", [[0, 10, 11, 3]] * 3)
    (tmp_path / "val.txt").write_text("/SegNet/CamVid/val/0016E5_07959.png /SegNet/CamVid/valannot/0016E5_07959.png\n")
    found = read_camvid(tmp_path, "val")
    assert found.read(0)[1][0].tolist() == [0, 10, IGNORE, 3]
    for line, words in (("a.png\n", "1 parts"), ("../../x ../y\n", "no name of a file"), ("", "0 images")):
        (tmp_path / "val.txt").write_text(line)
        with pytest.raises(BadInput, match=words):
            read_camvid(tmp_path, "val")


def test_voc(tmp_path: Path) -> None:
    make_image(tmp_path / "JPEGImages/2007_000032.jpg")
    mask(tmp_path / "SegmentationClass/2007_000032.png", [[0, 1, 255, 20]] * 3, palette=True)
    for task in ("Segmentation", "Main"):
        (tmp_path / "ImageSets" / task).mkdir(parents=True)
        (tmp_path / "ImageSets" / task / "val.txt").write_text("2007_000032\n")
    found = read_voc(tmp_path, "val")
    assert found.read(0)[1][0].tolist() == [0, 1, IGNORE, 20]
    (tmp_path / "Annotations").mkdir()
    file = tmp_path / "Annotations/2007_000032.xml"
    corners = "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax>"
    thing = "<object><name>{}</name><difficult>{}</difficult><bndbox>" + corners + "</bndbox></object>"
    file.write_text(f"<annotation>{thing.format('cat', 0)}{thing.format('dog', 1)}</annotation>")
    [boxed] = read_voc_boxes(tmp_path, "val")
    assert (boxed.boxes.labels, boxed.difficult, boxed.boxes.xyxy[0].tolist()) == (("cat", "dog"), (False, True), [0, 1, 3, 4])
    file.write_text("<annotation></annotation>")
    assert len(read_voc_boxes(tmp_path, "val")[0].boxes) == 0
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'
    for text, words in (
        (bomb, "declares"),
        ("<annotation>", "no annotation"),
        (f"<a>{thing.format('unicorn', 0)}</a>", "unicorn"),
        (f"<a>{thing.format('cat', 0).replace('<xmin>1', '<xmin>9')}</a>", "corner"),
        ("<a><object><name>cat</name></object></a>", "no bndbox/xmin"),
    ):
        file.write_text(text)
        with pytest.raises(BadInput, match=words):
            read_voc_boxes(tmp_path, "val")


def test_davis(tmp_path: Path) -> None:
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    (tmp_path / "ImageSets/2017/val.txt").write_text("bear\n")
    for k in range(4):
        make_image(tmp_path / f"JPEGImages/480p/bear/{k:05d}.jpg")
        mask(
            tmp_path / f"Annotations/480p/bear/{k:05d}.png",
            [[0, 1, 2, 255], [0, 1, 1, k % 4], [0, 0, 3 if k else 0, 0]],
            palette=True,
        )
    [video] = read_davis(tmp_path, "val")
    assert (video.name, len(video.frames), video.objects()) == ("bear", 4, [1, 2])
    masks = video.read_masks(scored_frames)
    assert {n: m.shape for n, m in masks.items()} == {1: (2, 3, 4), 2: (2, 3, 4)}
    assert masks[2].sum((1, 2)).tolist() == [1, 2]
    mask(tmp_path / "Annotations/480p/bear/00000.png", [[0, 255, 0, 0]] * 3)
    (tmp_path / "ImageSets/2016").mkdir()
    lines = [f"/JPEGImages/480p/bear/{k:05d}.jpg /Annotations/480p/bear/{k:05d}.png" for k in range(4)]
    (tmp_path / "ImageSets/2016/train.txt").write_text("\n".join(lines))
    [old] = read_davis(tmp_path, "train", year=2016)
    assert (old.name, old.objects(), old.read_masks([0])[255].sum()) == ("bear", [255], 3)
    (tmp_path / "Annotations/480p/bear/00002.png").unlink()
    with pytest.raises(BadInput, match=r"no .*00002\.png"):
        read_davis(tmp_path, "val")


def test_cifar(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    flat = pixels.transpose(0, 3, 1, 2).reshape(2, -1)
    for name in [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]:
        (tmp_path / name).write_bytes(np.concatenate([np.array([[3], [9]], np.uint8), flat], 1).tobytes())
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    found, truth, names = read_cifar10(tmp_path, "test")
    assert np.array_equal(found, pixels)
    assert (truth.tolist(), names[9], len(read_cifar10(tmp_path, "train")[0])) == ([3, 9], "j", 10)
    (tmp_path / "train.bin").write_bytes(np.concatenate([np.array([[0, 1], [0, 0]], np.uint8), flat], 1).tobytes())
    (tmp_path / "fine_label_names.txt").write_text("apple\nbee\n")
    assert np.array_equal(read_cifar100(tmp_path, "train")[0], pixels)
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 100)
    with pytest.raises(BadInput, match="100 bytes"):
        read_cifar10(tmp_path, "test")
    (tmp_path / "batches.meta.txt").write_text("a\n")
    with pytest.raises(BadInput, match="class 9"):
        read_cifar10(tmp_path, "train")
