"""CamVid (Brostow et al., Pattern Recognition Letters 2009) as of the SegNet tutorial: 11 classes, 360 x 480.

    DIR/train.txt        a line each: /SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png
                         val.txt, test.txt
    DIR/train/0001TP_006690.png, DIR/trainannot/0001TP_006690.png      0 to 10: a class, 11: does not count

Of the paths in the lists the last two parts are taken, since the first ones are those of the authors' machine. Files of the
same data as parquet are read by `tapetum.data.layouts`.
"""

from pathlib import Path, PurePosixPath

from tapetum.core.errors import BadInput
from tapetum.data.entries import inside, one_of
from tapetum.data.listings import text_of
from tapetum.data.segmentation.images import SegmentedImages, paired_files

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian"),
    "bicyclist",
)


def read_camvid(folder: Path, split: str) -> SegmentedImages:
    """List train, val or test. Raises BadInput where the list is missing, or a line is not two paths."""
    folder, file = Path(folder), Path(folder) / f"{one_of(split, ('train', 'val', 'test'))}.txt"
    images, masks = [], []
    for k, line in enumerate(text_of(file).splitlines(), 1):
        if line.strip():
            parts = line.split()
            if len(parts) != 2:
                raise BadInput(f"line {k} of {file} has {len(parts)} parts; wanted an image and its mask: copy it anew")
            for paths, path in zip((images, masks), parts, strict=True):
                paths.append(folder / inside("/".join(PurePosixPath(path).parts[-2:]), f"line {k} of {file}"))
    images, masks = paired_files(images, masks, file)
    return SegmentedImages(images=images, masks=masks, classes=CLASSES)
