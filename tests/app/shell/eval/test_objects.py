"""`tapetum eval objects`: proposals and boxes on small files in COCO's and VOC's official layout."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from tapetum.core.errors import BadInput
from tapetum.data.coco import CocoImage, instance, write_instances
from tapetum.systems.odin.metrics import best_in_cells, best_overlaps, proposals
from tapetum.systems.odin.objects import enlarge

Run = Callable[..., tuple[int, str, str]]


def scene(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Give an image and the masks of its disc and its bar."""
    rng = np.random.default_rng(k)
    rows, columns = np.mgrid[:60, :90]
    disc, bar = (rows - 28) ** 2 + (columns - 30 - k) ** 2 < 15**2, (abs(rows - 40) < 6) & (abs(columns - 70) < 9)
    image = rng.integers(40, 60, (60, 90, 3))
    image[disc], image[bar] = (220, 60, 50), (60, 80, 230)
    return image.astype(np.uint8), np.stack([disc, bar])


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Path, Path]:
    images = []
    (tmp_path / "val2017").mkdir()
    for k in range(2):
        image, masks = scene(k)
        Image.fromarray(image).save(tmp_path / f"val2017/{k:012d}.png")
        things = [instance(1, mask) for mask in masks]
        if k:
            things.append({**instance(1, np.ones((60, 90), bool)), "iscrowd": 1})
        images.append(CocoImage(id=k, file_name=f"{k:012d}.png", height=60, width=90, instances=things))
    images.append(CocoImage(id=9, file_name="empty.png", height=60, width=90))
    return write_instances(tmp_path / "instances_val2017.json", lambda: images, {1: "thing"}), tmp_path / "val2017"


@pytest.mark.slow
def test_objects_of_cocos_files(run: Run, coco: tuple[Path, Path]) -> None:
    file, images = coco
    words = "eval", "objects", "--annotations", file, "--images", images, "--proposals", "8"
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["images"], found["proposals"]) == (2, 36)
    assert found["abo"] > 0.8
    assert (found["object_recovery"], found["corloc"]) == (1, 1)
    places = tapetum.evaluate_objects(annotations=file, images=images, proposals=8, model="xy")
    assert places.abo is not None
    assert places.abo < found["abo"] - 0.2
    code, out, _ = run(*words, "--most", "1")
    assert "1 images, seen by colours" in out
    assert "36 proposals" in out


def test_boxes_of_voc(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "ImageSets/Main", "Annotations"):
        (tmp_path / folder).mkdir(parents=True)
    image, masks = scene(0)
    Image.fromarray(image).save(tmp_path / "JPEGImages/000005.jpg", quality=95)
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("000005\n000007\n")
    rows, columns = np.nonzero(masks[0])
    corners = {"xmin": columns.min() + 1, "ymin": rows.min() + 1, "xmax": columns.max() + 1, "ymax": rows.max() + 1}
    box = "".join(f"<{name}>{value}</{name}>" for name, value in corners.items())
    thing = "<object><name>cat</name><difficult>{}</difficult><bndbox>" + box + "</bndbox></object>"
    (tmp_path / "Annotations/000005.xml").write_text(f"<annotation>{thing.format(0)}</annotation>")
    (tmp_path / "Annotations/000007.xml").write_text(f"<annotation>{thing.format(1)}</annotation>")
    found = tapetum.evaluate_objects(voc=tmp_path)
    assert (found.images, found.corloc, found.abo) == (1, 1.0, None)


def test_overlaps_of_cells_are_those_of_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    seen, objects = torch.randn(3, 7, 5, generator=generator), np.random.default_rng(0).random((3, 61, 44)) < 0.4
    maps = list(proposals(seen, 9))
    assert sum(len(np.unique(ids)) for ids in maps) == 45
    right = best_overlaps(objects, [enlarge(ids, 61, 44) for ids in maps])
    np.testing.assert_allclose(best_in_cells(objects, iter(maps)), right, atol=1e-12)


def test_bad_input_is_told(coco: tuple[Path, Path], tmp_path: Path) -> None:
    file, images = coco
    for given, words in (
        ({}, "one of the two"),
        ({"annotations": file, "images": images, "clusters": 1}, "it must be 2 or more"),
        ({"annotations": file, "images": images, "proposals": 3000}, "clusters are asked of"),
        ({"annotations": file, "images": tmp_path}, "000000000000.png"),
        ({"voc": tmp_path / "no"}, "trainval.txt"),
    ):
        with pytest.raises(BadInput, match=words):
            tapetum.evaluate_objects(**given)
    Image.fromarray(np.zeros((30, 90, 3), np.uint8)).save(images / "000000000000.png")
    with pytest.raises(BadInput, match="90x30"):
        tapetum.evaluate_objects(annotations=file, images=images, proposals=4)
