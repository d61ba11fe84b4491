"""PASCAL VOC (Everingham et al., IJCV 2010; VOCdevkit/VOC2012, or VOC2007): classes of pixels, and boxes.

    DIR/JPEGImages/2007_000032.jpg
    DIR/SegmentationClass/2007_000032.png               0 background, 1 to 20 a class, 255 does not count
    DIR/SegmentationClassAug/2007_000032.png            of trainaug, which others made (Hariharan et al., ICCV 2011)
    DIR/ImageSets/Segmentation/train.txt, Main/val.txt  names
    DIR/Annotations/2007_000032.xml                     boxes

Unusual: corners in the files are inclusive pixels from 1 on; a box here goes from the outer corner of the first to that of the
last one (xmin - 1, ymin - 1, xmax, ymax). Boxes marked difficult are distinguished, because scores leave them out.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data.entries import inside, one_of
from tapetum.data.layouts import VOC_CLASSES
from tapetum.data.listings import text_of
from tapetum.data.segmentation.images import SegmentedImages, paired_files
from tapetum.types import Boxes


@dataclass(frozen=True, kw_only=True)
class BoxedImage:
    """An image and the things in it."""

    key: str
    image: Path
    boxes: Boxes
    difficult: tuple[bool, ...]
    """Of each box."""


def read_voc(folder: Path, split: str) -> SegmentedImages:
    """List train, val, trainval or trainaug. Raises BadInput if the list or a file is missing."""
    folder, file = Path(folder), _list(Path(folder), "Segmentation", one_of(split, ("train", "val", "trainval", "trainaug")))
    names = _names(file)
    masks = "SegmentationClassAug" if split == "trainaug" else "SegmentationClass"
    images, masks = paired_files(
        [folder / "JPEGImages" / f"{name}.jpg" for name in names], [folder / masks / f"{name}.png" for name in names], file
    )
    return SegmentedImages(images=images, masks=masks, classes=VOC_CLASSES)


def read_voc_boxes(folder: Path, split: str) -> list[BoxedImage]:
    """Read boxes of train, val, trainval or test. Raises BadInput if a file is missing, damaged, or names another class."""
    folder, file = Path(folder), _list(Path(folder), "Main", one_of(split, ("train", "val", "trainval", "test")))
    return [_boxed(folder, name) for name in _names(file)]


def _list(folder: Path, task: str, split: str) -> Path:
    return folder / "ImageSets" / task / f"{split}.txt"


def _names(file: Path) -> list[str]:
    names = [inside(line.split()[0], f"a line of {file}") for line in text_of(file).splitlines() if line.strip()]
    if not names:
        raise BadInput(f"{file} names no images; copy it again")
    return names


def _boxed(folder: Path, name: str) -> BoxedImage:
    file = folder / "Annotations" / f"{name}.xml"
    text = text_of(file)
    try:
        if "<!" in text.replace("<!--", ""):
            raise ValueError("it declares a document type or entities")
        objects = ElementTree.fromstring(text).findall("object")
        labels = [_text(node, "name") for node in objects]
        corners = [[float(_text(node, f"bndbox/{c}")) for c in ("xmin", "ymin", "xmax", "ymax")] for node in objects]
        difficult = tuple(node.findtext("difficult", "0").strip() == "1" for node in objects)
    except (ElementTree.ParseError, ValueError) as error:
        raise BadInput(f"{file} is no annotation of VOC ({error}); copy it again") from None
    unknown = set(labels) - set(VOC_CLASSES[1:])
    if unknown:
        raise BadInput(f"{file} has the class {min(unknown)!r}; wanted one of the 20 of VOC: give the official file")
    try:
        boxes = Boxes(xyxy=np.array(corners).reshape(-1, 4) - [1, 1, 0, 0], labels=labels)
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error
    return BoxedImage(key=name, image=folder / "JPEGImages" / f"{name}.jpg", boxes=boxes, difficult=difficult)


def _text(node: ElementTree.Element, path: str) -> str:
    text = node.findtext(path)
    if text is None:
        raise ValueError(f"a thing in it has no {path}")
    return text.strip()
