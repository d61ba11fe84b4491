"""ImageNet as ILSVRC 2012's archives unpack: tars of classes, and validation images with the devkit."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from support.files import make_image
from tapetum.core.errors import BadInput
from tapetum.data.files import opened_image
from tapetum.data.layouts import listing

DEVKIT = Path("ILSVRC2012_devkit_t12") / "data"


def write_val(folder: Path, numbers: list[int]) -> None:
    """Three classes whose numbers are in another order than their names, and a node above them."""
    for k, _ in enumerate(numbers, 1):
        make_image(folder / "val" / f"ILSVRC2012_val_{k:08d}.JPEG", (k, k, k))
    (folder / DEVKIT).mkdir(parents=True)
    (folder / DEVKIT / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in numbers))
    synsets = np.zeros((4, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (number, name) in enumerate([(1, "n03"), (2, "n01"), (3, "n02"), (1001, "n00")]):
        synsets[row, 0] = (np.array([[number]]), name, "words")
    savemat(folder / DEVKIT / "meta.mat", {"synsets": synsets})


def test_validation_images_have_the_classes_of_the_devkit(tmp_path: Path) -> None:
    write_val(tmp_path, [2, 1, 3, 2])
    listed = listing("imagenet", tmp_path, "val")
    assert listed.classes == ("n01", "n02", "n03")
    assert listed.truth is not None
    assert listed.truth.tolist() == [0, 2, 1, 0]
    assert opened_image(listed.files["image"][3], "RGB").size == (20, 12)
    (tmp_path / "val" / "ILSVRC2012_val_00000004.JPEG").unlink()
    with pytest.raises(BadInput, match=r"has 4 lines and .* 3 images"):
        listing("imagenet", tmp_path, "val")


def test_a_tar_for_each_class(tmp_path: Path) -> None:
    for name, count in (("n02", 1), ("n01", 2)):
        (tmp_path / "train").mkdir(exist_ok=True)
        with tarfile.open(tmp_path / "train" / f"{name}.tar", "w") as tar:
            for k in range(count):
                make_image(tmp_path / f"{name}_{k}.JPEG", (k, 9, 9))
                tar.add(tmp_path / f"{name}_{k}.JPEG", f"{name}_{k}.JPEG")
    listed = listing("imagenet", tmp_path, "train")
    assert listed.classes == ("n01", "n02")
    assert listed.truth is not None
    assert listed.truth.tolist() == [0, 0, 1]
    assert np.asarray(opened_image(listed.files["image"][1], "RGB"))[0, 0, 0] <= 3
    assert "n02_0" in listed.files["image"][2].name
