"""Cityscapes (Cordts et al., arXiv 1604.01685): streets, 19 classes that are scored.

    DIR/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png       and val; test, whose masks hold nothing
    DIR/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png        34 labels, of which 19 count

Unusual: masks hold the label ids of the official scripts (7 is road); here classes have the train ids (0 is road), all others
don't count. Files ..._labelTrainIds.png, which those scripts make, are not needed.
"""

from pathlib import Path

from tapetum.data.entries import one_of
from tapetum.data.segmentation.images import SegmentedImages, paired_files

LABELS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Names by the label id of the files, in the order of the train ids."""


def read_cityscapes(folder: Path, split: str) -> SegmentedImages:
    """List train, val or test, city by city. Raises BadInput where files are missing."""
    folder, place = Path(folder), Path(folder) / "leftImg8bit" / one_of(split, ("train", "val", "test"))
    images = sorted(place.glob("*/*_leftImg8bit.png"))
    names = [(path.parent.name, path.name.removesuffix("_leftImg8bit.png")) for path in images]
    masks = [folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png" for city, name in names]
    images, masks = paired_files(images, masks, place)
    return SegmentedImages(
        images=images, masks=masks, classes=tuple(LABELS.values()), numbers={label: k for k, label in enumerate(LABELS)}
    )
