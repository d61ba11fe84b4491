"""Images with a class per pixel, with uniform numbers whatever a data set's files hold, and videos with object masks.

    ADE20K       DIR/images/training/ADE_train_00000001.jpg         and validation/ADE_val_...
                 DIR/annotations/training/ADE_train_00000001.png    0: nothing that counts, 1 to 150: a class
                 DIR/objectInfo150.txt                              names, a line each after a header
    Cityscapes   DIR/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png     and val; test, whose masks hold nothing
                 DIR/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png      34 labels, of which 19 count
    CamVid       DIR/train.txt, val.txt, test.txt    /SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/...
                 DIR/train/0001TP_006690.png, DIR/trainannot/0001TP_006690.png      0 to 10: a class, 11: does not count
    VOC          DIR/JPEGImages/2007_000032.jpg                     VOCdevkit/VOC2012, or VOC2007
                 DIR/SegmentationClass/2007_000032.png              0 background, 1 to 20 a class, 255 does not count
                 DIR/SegmentationClassAug/2007_000032.png           of trainaug, which others made (Hariharan et al., ICCV 2011)
                 DIR/ImageSets/Segmentation/train.txt, Main/val.txt names
                 DIR/Annotations/2007_000032.xml                    boxes
    DAVIS        DIR/ImageSets/2017/val.txt                         names of videos; train; 2016 too
                 DIR/JPEGImages/480p/bike-packing/00000.jpg         frames
                 DIR/Annotations/480p/bike-packing/00000.png        palette: 0 nothing, then the number of the object, 255 does
                                                                    not count

Sources: Zhou et al., arXiv 1608.05442, as in the challenge of 2016; Cordts et al., arXiv 1604.01685; Brostow et al., Pattern
Recognition Letters 2009, as of the SegNet tutorial (files of the same data as parquet are read by `tapetum.data.layouts`);
Everingham et al., IJCV 2010; Perazzi et al., CVPR 2016, and Pont-Tuset et al., arXiv 1704.00675.

Unusual: class 1 of ADE20K's files is class 0 here; the first of its names is used. Cityscapes' classes have the train ids here
(0 is road). Only the last two parts of the paths in CamVid's lists are used; the first ones are of the authors' machine. VOC's
corners are inclusive pixels from 1 on; a box here is (xmin - 1, ymin - 1, xmax, ymax). In DAVIS only objects in the first frame
count; masks of 2016 have one object, 255. Semi-supervised scores leave out the first frame and the last (`scored_frames`).

>>> sorted(SEGMENTED)
['ade20k', 'camvid', 'cityscapes', 'voc']
"""

import csv
import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Int, Int64, UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.data.entries import inside, one_of, text_of
from tapetum.data.files import opened_image, stored_file
from tapetum.data.layouts import VOC_CLASSES
from tapetum.types import Boxes

IGNORE = 255
"""The number of pixels that don't count."""


@dataclass(frozen=True, kw_only=True)
class SegmentedImages:
    """One split: images and masks by number."""

    images: Sequence[Path]
    masks: Sequence[Path]
    classes: tuple[str, ...]
    """Names, by number."""
    numbers: Mapping[int, int] | None = None
    """Number of the class by the value in the file; others don't count. None: values below the number of classes are it."""

    def __len__(self) -> int:
        return len(self.images)

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        """Read image k, and the number of the class of each pixel, or IGNORE."""
        image = np.asarray(opened_image(stored_file(self.images[k]), "RGB"))
        mask = self.classes_of(read_values(self.masks[k]))
        if mask.shape != image.shape[:2]:
            raise BadInput(f"{self.masks[k]} is {mask.shape[1]}x{mask.shape[0]}, and its image {self.images[k].name} is not")
        return image, mask

    def classes_of(self, values: np.ndarray) -> Int64[np.ndarray, "h w"]:
        """Look up the class numbers of a mask file's values."""
        table = np.full(65536, IGNORE, np.int64)
        for value, number in (self.numbers or {k: k for k in range(len(self.classes))}).items():
            table[value] = number
        return table[values]


def read_values(path: Path) -> np.ndarray:
    """Read the numbers of a mask file, uint8 or uint16 (h, w): grey values or palette indices. Raises BadInput for others."""
    mask: Image.Image = opened_image(stored_file(path), None)
    if mask.mode not in ("P", "L") and not mask.mode.startswith("I"):
        raise BadInput(f"{path} is an image of mode {mask.mode}; a mask has one number a pixel (P, L or 16-bit grey)")
    values = np.asarray(mask)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise BadInput(f"{path} has numbers from {values.min()} to {values.max()}; a mask has 0 to 65535")
    return values.astype(np.uint16) if values.dtype.itemsize > 1 else values


def paired_files(images: Sequence[Path], masks: Sequence[Path], place: Path) -> tuple[list[Path], list[Path]]:
    """Check both, which belong together by their order. Raises BadInput where there are none."""
    if not images or len(images) != len(masks):
        raise BadInput(f"{place} holds {len(images)} images and {len(masks)} masks; wanted one or more, and one for each")
    return list(images), list(masks)


ADE20K_CLASSES = 150
_ADE20K_SPLITS = {"train": "training", "val": "validation"}


def read_ade20k(folder: Path, split: str) -> SegmentedImages:
    """List train or val. Raises BadInput if files are missing."""
    folder, part = Path(folder), _ADE20K_SPLITS[one_of(split, _ADE20K_SPLITS)]
    images = sorted((folder / "images" / part).glob("*.jpg"))
    masks = [folder / "annotations" / part / f"{path.stem}.png" for path in images]
    images, masks = paired_files(images, masks, folder / "images" / part)
    file, numbers = folder / "objectInfo150.txt", {k: k - 1 for k in range(1, ADE20K_CLASSES + 1)}
    names = [f"class {k}" for k in numbers]
    if file.exists():
        rows = list(csv.DictReader(io.StringIO(text_of(file)), delimiter="\t"))
        if len(rows) != ADE20K_CLASSES or "Name" not in rows[0]:
            raise BadInput(f"{file} has {len(rows)} rows; wanted {ADE20K_CLASSES} with the column Name: copy it again")
        names = [row["Name"].split(",")[0].strip() for row in rows]
    return SegmentedImages(images=images, masks=masks, classes=tuple(names), numbers=numbers)


CITYSCAPES_LABELS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Names by the label id of the files, in the order of the train ids."""


def read_cityscapes(folder: Path, split: str) -> SegmentedImages:
    """List train, val or test, city by city. Raises BadInput if files are missing."""
    folder, place = Path(folder), Path(folder) / "leftImg8bit" / one_of(split, ("train", "val", "test"))
    images = sorted(place.glob("*/*_leftImg8bit.png"))
    names = [(path.parent.name, path.name.removesuffix("_leftImg8bit.png")) for path in images]
    masks = [folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png" for city, name in names]
    images, masks = paired_files(images, masks, place)
    numbers = {label: k for k, label in enumerate(CITYSCAPES_LABELS)}
    return SegmentedImages(images=images, masks=masks, classes=tuple(CITYSCAPES_LABELS.values()), numbers=numbers)


CAMVID_CLASSES = (*("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian"), "bicyclist")


def read_camvid(folder: Path, split: str) -> SegmentedImages:
    """List train, val or test. Raises BadInput if the list is missing, or a line is not two paths."""
    folder, file = Path(folder), Path(folder) / f"{one_of(split, ('train', 'val', 'test'))}.txt"
    images, masks = [], []
    for k, line in enumerate(text_of(file).splitlines(), 1):
        if line.strip():
            parts = line.split()
            if len(parts) != 2:
                raise BadInput(f"line {k} of {file} has {len(parts)} parts; wanted an image and its mask: copy it again")
            for paths, path in zip((images, masks), parts, strict=True):
                paths.append(folder / inside("/".join(PurePosixPath(path).parts[-2:]), f"line {k} of {file}"))
    images, masks = paired_files(images, masks, file)
    return SegmentedImages(images=images, masks=masks, classes=CAMVID_CLASSES)


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
    folder, known = Path(folder), ("train", "val", "trainval", "trainaug")
    file = folder / "ImageSets" / "Segmentation" / f"{one_of(split, known)}.txt"
    names = _names(file)
    masks = "SegmentationClassAug" if split == "trainaug" else "SegmentationClass"
    images, masks = paired_files(
        [folder / "JPEGImages" / f"{name}.jpg" for name in names], [folder / masks / f"{name}.png" for name in names], file
    )
    return SegmentedImages(images=images, masks=masks, classes=VOC_CLASSES)


def read_voc_boxes(folder: Path, split: str) -> list[BoxedImage]:
    """Read boxes of train, val, trainval or test. Raises BadInput if a file is missing, damaged, or names another class."""
    folder, known = Path(folder), ("train", "val", "trainval", "test")
    return [_boxed(folder, name) for name in _names(folder / "ImageSets" / "Main" / f"{one_of(split, known)}.txt")]


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


@dataclass(frozen=True, kw_only=True)
class MaskedVideo:
    """A video and the masks of its frames."""

    name: str
    frames: Sequence[Path]
    masks: Sequence[Path]
    """Of each frame."""

    def objects(self) -> list[int]:
        """List the numbers of the objects in the first mask. Raises BadInput if the file is damaged."""
        numbers = [int(n) for n in np.unique(read_values(self.masks[0])) if n]
        return numbers if numbers == [IGNORE] else [n for n in numbers if n != IGNORE]

    def read_masks(self, frames: Sequence[int] | slice = slice(None)) -> dict[int, Bool[np.ndarray, "t h w"]]:
        """Read the masks of each object in some frames. Raises BadInput if a file is damaged or of another size."""
        chosen = [self.masks[k] for k in np.arange(len(self.masks))[frames]]
        values = [read_values(path) for path in chosen]
        for path, one in zip(chosen, values, strict=True):
            if one.shape != values[0].shape:
                raise BadInput(f"{path} is {one.shape[1]}x{one.shape[0]}, and {chosen[0].name} is not; copy the video again")
        return {n: np.stack([one == n for one in values]) for n in self.objects()}


scored_frames = slice(1, -1)
"""Frames that a semi-supervised score counts."""


def read_davis(folder: Path, split: str, year: int = 2017, resolution: str = "480p") -> list[MaskedVideo]:
    """List the videos of train or val. Raises BadInput if a list, a frame or a mask is missing."""
    folder = Path(folder)
    file = folder / "ImageSets" / one_of(str(year), ("2016", "2017")) / f"{one_of(split, ('train', 'val', 'trainval'))}.txt"
    names = [line.strip() for line in text_of(file).splitlines() if line.strip()]
    videos = []
    for name in dict.fromkeys(n.split("/")[3] if n.startswith("/") and n.count("/") > 3 else n for n in names):
        inside(name, f"a line of {file}")
        frames = sorted((folder / "JPEGImages" / resolution / name).glob("*.jpg"))
        masks = [folder / "Annotations" / resolution / name / f"{path.stem}.png" for path in frames]
        absent = [path for path in masks if not path.is_file()]
        if not frames or absent:
            raise BadInput(f"there is no {absent[0] if absent else folder / 'JPEGImages' / resolution / name}; copy it again")
        videos.append(MaskedVideo(name=name, frames=frames, masks=masks))
    if not videos:
        raise BadInput(f"{file} names no videos; copy it again")
    return videos


SEGMENTED: Mapping[str, Callable[[Path, str], SegmentedImages]] = {
    "ade20k": read_ade20k,
    "camvid": read_camvid,
    "cityscapes": read_cityscapes,
    "voc": read_voc,
}
"""By name."""


def write_numbers(path: Path, numbers: Int[np.ndarray, "h w"]) -> None:
    """Write the number of the object at each pixel as a PNG with VOC's palette, as the official evaluation reads it."""
    image = Image.frombytes("P", (numbers.shape[1], numbers.shape[0]), numbers.astype(np.uint8).tobytes())
    image.putpalette(palette())
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def palette() -> list[int]:
    """Compute VOC's palette, which DAVIS shares: the bits of a number are distributed to red, green and blue.

    >>> palette()[:12]
    [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    """
    return [
        sum(((number >> (3 * level + channel)) & 1) << (7 - level) for level in range(3))
        for number in range(256)
        for channel in range(3)
    ]
