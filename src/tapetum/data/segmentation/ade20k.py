"""ADE20K's scene parsing (Zhou et al., arXiv 1608.05442): 150 classes, as in the challenge of 2016.

    DIR/images/training/ADE_train_00000001.jpg         and validation/ADE_val_...
    DIR/annotations/training/ADE_train_00000001.png    0: nothing that counts, 1 to 150: a class
    DIR/objectInfo150.txt                              names, a line each after a header: Idx Ratio Train Val Stuff Name

Unusual: class 1 of the files is class 0 here, and 0 does not count. A class has several names; the first is taken.
"""

import csv
import io
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import one_of
from tapetum.data.listings import text_of
from tapetum.data.segmentation.images import SegmentedImages, paired_files

CLASSES = 150
_FOLDERS = {"train": "training", "val": "validation"}


def read_ade20k(folder: Path, split: str) -> SegmentedImages:
    """List train or val. Raises BadInput where files are missing."""
    folder, part = Path(folder), _FOLDERS[one_of(split, _FOLDERS)]
    images = sorted((folder / "images" / part).glob("*.jpg"))
    masks = [folder / "annotations" / part / f"{path.stem}.png" for path in images]
    images, masks = paired_files(images, masks, folder / "images" / part)
    return SegmentedImages(
        images=images, masks=masks, classes=_names(folder), numbers={k: k - 1 for k in range(1, CLASSES + 1)}
    )


def _names(folder: Path) -> tuple[str, ...]:
    file = folder / "objectInfo150.txt"
    if not file.exists():
        return tuple(f"class {k}" for k in range(1, CLASSES + 1))
    rows = list(csv.DictReader(io.StringIO(text_of(file)), delimiter="\t"))
    if len(rows) != CLASSES or "Name" not in rows[0]:
        raise BadInput(f"{file} has {len(rows)} rows; wanted {CLASSES} with the column Name: copy it anew")
    return tuple(row["Name"].split(",")[0].strip() for row in rows)
