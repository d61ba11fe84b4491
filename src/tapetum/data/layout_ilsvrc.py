"""ImageNet as the archives of ILSVRC 2012 unpack: a tar a class to train on, and validation images without folders.

    DIR/train/n01440764.tar ...                  of ILSVRC2012_img_train.tar: n01440764_10026.JPEG and so on
    DIR/val/ILSVRC2012_val_00000001.JPEG ...     of ILSVRC2012_img_val.tar
    DIR/ILSVRC2012_devkit_t12/data/              of the devkit: meta.mat, the name of each class by its ILSVRC number, and
                                                 ILSVRC2012_validation_ground_truth.txt, that number of each image, in order

Classes have the numbers of their names in sorted order, as where each has a folder; the numbers of the devkit are others.
"""

from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.data.files import stored_file
from tapetum.data.listings import Listing, text_of

CLASSES = 1000
"""Of ILSVRC 2012; the devkit's later numbers are of inner nodes."""
_DEVKIT = Path("ILSVRC2012_devkit_t12") / "data"
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def list_class_tars(folder: Path) -> Listing:
    """List the images in a folder with a tar for each class. Raises BadInput for what is no tar, and one without images."""
    from tapetum.data.layout_parquet import ShardFiles
    from tapetum.data.shards import Shards

    shards = Shards(folder)
    if shards.fields != ("jpeg",):
        raise BadInput(f"the tars in {folder} hold {', '.join(shards.fields)}; wanted NAME.JPEG alone, a tar a class")
    tars = [Path(str(shards.locate(k)[0])).stem for k in range(len(shards))]
    names, labels = np.unique(tars, return_inverse=True)
    files = ShardFiles(shards, "jpeg", np.arange(len(shards)))
    return Listing({"image": files}, labels.astype(np.int64), tuple(map(str, names)), "class")


def list_flat_imagenet(place: Path) -> Listing:
    """List the validation images of a folder without classes, with those of the devkit beside it.

    Raises BadInput where the devkit is not there or damaged, or counts other images.
    """
    images = sorted((place / "val").glob("*.JPEG"))
    devkit = next((folder for folder in (place / _DEVKIT, place / "data", place) if (folder / _TRUTH).is_file()), None)
    if devkit is None:
        raise BadInput(f"{place / 'val'} has images and no folder for each class; put the devkit at {place / _DEVKIT}")
    numbers = text_of(devkit / _TRUTH).split()
    names = read_class_names(devkit / "meta.mat")
    if len(numbers) != len(images):
        raise BadInput(f"{devkit / _TRUTH} has {len(numbers)} lines and {place / 'val'} {len(images)} images; get both again")
    try:
        classes = [names[int(number)] for number in numbers]
    except (KeyError, ValueError) as error:
        raise BadInput(f"{devkit / _TRUTH} has the class {error}, which meta.mat does not name; get both again") from None
    known = tuple(sorted(names.values()))
    labels = np.searchsorted(known, classes)
    return Listing({"image": [stored_file(path) for path in images]}, labels.astype(np.int64), known, "class")


def read_class_names(file: Path) -> dict[int, str]:
    """Read the WordNet name of each class by its number, 1 and on, from meta.mat. Raises BadInput where that is damaged."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(no_pipe(file), squeeze_me=True)["synsets"]
        names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
    except FileNotFoundError as error:
        raise BadInput(f"there is no {file}; get the devkit of ILSVRC 2012") from error
    except Exception as error:  # scipy raises whatever damage makes it stumble over
        raise BadInput(f"{file} is no meta.mat of ILSVRC 2012 ({' '.join(str(error).split())[:80]}); get it again") from error
    return {number: name for number, name in names.items() if number <= CLASSES}
