"""Data sets in their official layouts: their files, and the annotations of each. Any system may read them.

    imagenet    DIR/train/n01440764/*.JPEG and DIR/val/n01440764/*.JPEG: one folder a class (also any other such folders);
                or as the archives of ILSVRC 2012 unpack, a tar a class to train on, validation images without folders:
                DIR/train/n01440764.tar                      of ILSVRC2012_img_train.tar: n01440764_10026.JPEG and so on
                DIR/val/ILSVRC2012_val_00000001.JPEG         of ILSVRC2012_img_val.tar
                DIR/ILSVRC2012_devkit_t12/data/              of the devkit: meta.mat, the name of each class by its ILSVRC
                                                             number, and ILSVRC2012_validation_ground_truth.txt, that number
                                                             of each image, in order
    classes     DIR/CLASS/*.jpg: one folder a class and no parts; every fifth image of a class is held out. Or DIR/*.jpg, whose
                classes are not known
    audioset    DIR/balanced_train_segments.csv (or unbalanced_) and eval_segments.csv, class_labels_indices.csv, and
                recordings named by their video (--1yymn... .wav, or Y--1yymn....flac, or with _START_END) anywhere below DIR
    voc         DIR/JPEGImages, SegmentationClass, ImageSets/Segmentation/train.txt and val.txt (VOCdevkit/VOC2012)
    modelnet40  DIR/airplane/train/airplane_0001.off and DIR/airplane/test/...: one folder a class; or clouds of points,
                modelnet40_normal_resampled or modelnet40_ply_hdf5_2048 (`tapetum.data.point_clouds`)
    kinetics    DIR/train.csv and val.csv (label,youtube_id,time_start,time_end,split) and videos named ID_000010_000020.mp4
                anywhere below DIR
    parquet     train*.parquet and test*.parquet (or val) as Hugging Face writes them: image and audio are structs of bytes and
                path, label a number or a word, mask a struct; or one such file, of which every tenth example is held out
    shards      DIR/train/*.tar and DIR/val/*.tar (or test), each as `tapetum data shards` writes them: jpg, png, webp, wav,
                flac, cls, and classes.json beside them; or DIR/*.tar, of which every tenth example is held out

ImageNet's classes have the numbers of their names in sorted order in both forms. Nothing is decoded here; `tapetum.data.media`
does that. For AudioSet and Kinetics, whose videos vanish from the web, the number of missing files is reported.
"""

import csv
from collections.abc import Callable, Mapping, Set
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.core.tables import separator_of
from tapetum.data.entries import Asks, Listing, Split, class_labels, records_of, text_of
from tapetum.data.files import StoredFile, stored_file
from tapetum.data.layout_parquet import list_parquet, list_shards
from tapetum.data.point_clouds import is_point_cloud_folder, list_point_clouds
from tapetum.video.images import IMAGES

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Names of the classes of VOC, by number."""
_ILSVRC_CLASSES = 1000
"""The devkit's later numbers are of inner nodes."""
_DEVKIT = Path("ILSVRC2012_devkit_t12") / "data"
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_HELD_OUT = 5
"""Of a folder of classes without parts, each image of this number is held out."""
_MEDIA = {".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mp4", ".mkv", ".webm", ".avi"}


def list_imagenet(place: Path, split: Split) -> Listing:
    """List images in one folder a class, or as the archives of ILSVRC 2012 unpack."""
    folder = place / split
    if split == "val" and any(folder.glob("*.JPEG")):
        return _list_flat_imagenet(place)
    if any(folder.glob("*.tar")) and not any(path.is_dir() for path in folder.iterdir()):
        return _list_class_tars(folder)
    names = _subfolders(folder, "one folder of images a class")
    rows = [(stored_file(path), k) for k, name in enumerate(names) for path in _files(folder / name, IMAGES)]
    files, labels = _columns(rows, folder, "images")
    return Listing({"image": files}, np.array(labels), names, "class")


def _list_class_tars(folder: Path) -> Listing:
    from tapetum.data.layout_parquet import ShardFiles
    from tapetum.data.shards import Shards

    shards = Shards(folder)
    if shards.fields != ("jpeg",):
        raise BadInput(f"the tars in {folder} hold {', '.join(shards.fields)}; wanted NAME.JPEG alone, a tar a class")
    tars = [Path(str(shards.locate(k)[0])).stem for k in range(len(shards))]
    names, labels = np.unique(tars, return_inverse=True)
    files = ShardFiles(shards, "jpeg", np.arange(len(shards)))
    return Listing({"image": files}, labels.astype(np.int64), tuple(map(str, names)), "class")


def _list_flat_imagenet(place: Path) -> Listing:
    images = sorted((place / "val").glob("*.JPEG"))
    devkit = next((folder for folder in (place / _DEVKIT, place / "data", place) if (folder / _TRUTH).is_file()), None)
    if devkit is None:
        raise BadInput(f"{place / 'val'} has images and no folder for each class; put the devkit at {place / _DEVKIT}")
    numbers = text_of(devkit / _TRUTH).split()
    names = _read_class_names(devkit / "meta.mat")
    if len(numbers) != len(images):
        raise BadInput(f"{devkit / _TRUTH} has {len(numbers)} lines and {place / 'val'} {len(images)} images; get both again")
    try:
        classes = [names[int(number)] for number in numbers]
    except (KeyError, ValueError) as error:
        raise BadInput(f"{devkit / _TRUTH} has the class {error}, which meta.mat does not name; get both again") from None
    known = tuple(sorted(names.values()))
    labels = np.searchsorted(known, classes)
    return Listing({"image": [stored_file(path) for path in images]}, labels.astype(np.int64), known, "class")


def _read_class_names(file: Path) -> dict[int, str]:
    """WordNet's name of each class by its number, from 1 on."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(no_pipe(file), squeeze_me=True)["synsets"]
        names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
    except FileNotFoundError as error:
        raise BadInput(f"there is no {file}; get the devkit of ILSVRC 2012") from error
    except Exception as error:  # scipy raises whatever damage makes it stumble over
        raise BadInput(f"{file} is no meta.mat of ILSVRC 2012 ({' '.join(str(error).split())[:80]}); get it again") from error
    return {number: name for number, name in names.items() if number <= _ILSVRC_CLASSES}


def list_classes(place: Path, split: Split) -> Listing:
    """List images in one folder a class, or in none, without parts: every fifth image of a class is held out."""
    folders = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    images = []
    for k, folder in enumerate(folders or [place]):
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES)
        images += [(path, k) for i, path in enumerate(files) if (i % _HELD_OUT == _HELD_OUT - 1) == (split == "val")]
    if len(folders) == 1 or not images:
        raise BadInput(
            f"{place} has {len(folders)} folders with images; give a folder with one of {_HELD_OUT} images or more for each"
            f" class, or with {_HELD_OUT} images or more and no folders"
        )
    files = {"image": [stored_file(path) for path, _ in images]}
    if not folders:
        return Listing(files, None, (), "nothing")
    return Listing(files, np.array([k for _, k in images]), tuple(folder.name for folder in folders), "class")


def list_modelnet40(place: Path, split: Split) -> Listing:
    """List meshes in one folder a class, or clouds of points as `tapetum.data.point_clouds` says."""
    if is_point_cloud_folder(place):
        return list_point_clouds(place, split)
    names = _subfolders(place, "one folder of meshes a class")
    folder = {"train": "train", "val": "test"}[split]
    rows = [(stored_file(path), k) for k, name in enumerate(names) for path in _files(place / name / folder, {".off"})]
    files, labels = _columns(rows, place, f"{folder}/*.off meshes")
    return Listing({"points": files}, np.array(labels), names, "class")


def list_voc(place: Path, split: Split) -> Listing:
    """List images with a mask each."""
    file = place / "ImageSets" / "Segmentation" / f"{split}.txt"
    names = text_of(file).split()
    if not names:
        raise BadInput(f"{file} names no images; copy it again")
    images = [stored_file(place / "JPEGImages" / f"{name}.jpg") for name in names]
    masks = [stored_file(place / "SegmentationClass" / f"{name}.png") for name in names]
    return Listing({"image": images, "mask": masks}, None, VOC_CLASSES, "elements")


def list_audioset(place: Path, split: Split) -> Listing:
    """List recordings, or videos, with any number of labels each."""
    classes = records_of(place / "class_labels_indices.csv")
    if not classes or not {"mid", "display_name"} <= classes[0].keys():
        raise BadInput(f"{place / 'class_labels_indices.csv'} lacks the columns mid and display_name; copy it again")
    number = {row["mid"]: k for k, row in enumerate(classes)}
    lists = ["balanced_train_segments.csv", "unbalanced_train_segments.csv"] if split == "train" else ["eval_segments.csv"]
    present = [place / name for name in lists if (place / name).is_file()]
    if not present:
        raise BadInput(f"{place} holds no {' or '.join(lists)}; put the published lists there")
    at = _by_video(place)
    rows, missing = [], 0
    for file in present:
        lines = [line for line in text_of(file).splitlines() if line.strip() and not line.startswith("#")]
        for row in csv.reader(lines, skipinitialspace=True, delimiter=separator_of("\n".join(lines[:1]))):
            if len(row) < 4:
                raise BadInput(f"{file} has a line of {len(row)} columns; wanted YTID, start, end, labels: copy it again")
            truth = np.zeros(len(classes), np.float32)
            truth[[number[mid] for mid in row[3].split(",") if mid in number]] = 1
            if row[0] in at and truth.any():
                rows.append((stored_file(at[row[0]]), truth))
            else:
                missing += 1
    files, labels = _columns(rows, place, "recordings of the videos in the lists")
    videos = all(Path(file.name).suffix.lower() in (".mp4", ".mkv", ".webm", ".avi") for file in files)
    names = tuple(row["display_name"] for row in classes)
    return Listing({"video": files, "audio": files} if videos else {"audio": files}, np.stack(labels), names, "labels", missing)


def list_kinetics(place: Path, split: Split) -> Listing:
    """List videos with one class each."""
    file = place / f"{split}.csv"
    rows = records_of(file)
    if not rows or not {"label", "youtube_id"} <= rows[0].keys():
        raise BadInput(f"{file} lacks the columns label and youtube_id; copy it again")
    class_labels([row["label"] for row in rows], str(file))
    names = tuple(sorted({row["label"] for row in rows}))
    number, at = {name: k for k, name in enumerate(names)}, _by_video(place)
    present = [(stored_file(at[row["youtube_id"]]), number[row["label"]]) for row in rows if row["youtube_id"] in at]
    files, labels = _columns(present, place, f"videos that {file.name} lists")
    return Listing({"video": files}, np.array(labels), names, "class", len(rows) - len(present))


def _columns(rows: list[tuple], place: Path, what: str) -> tuple[list[StoredFile], list]:
    if not rows:
        raise BadInput(f"{place} holds no {what}; tapetum.data.layouts says what the folder looks like")
    return [row[0] for row in rows], [row[1] for row in rows]


def _subfolders(folder: Path, what: str) -> tuple[str, ...]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []
    if not names:
        raise BadInput(f"{folder} holds no folders; wanted {what}")
    return tuple(names)


def _files(folder: Path, endings: Set[str]) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings) if folder.is_dir() else []


def _by_video(place: Path) -> dict[str, Path]:
    """Files by the eleven characters that name their video."""
    files: dict[str, Path] = {}
    for path in _files(place, _MEDIA):
        name = path.stem[1:] if len(path.stem) == 12 and path.stem[0] == "Y" else path.stem
        files[name[:11]] = path
    return files


__all__ = ["LAYOUTS", "VOC_CLASSES", "Asks", "Listing", "Split", "listing"]

LAYOUTS: Mapping[str, Callable[[Path, Split], Listing]] = {
    "imagenet": list_imagenet,
    "classes": list_classes,
    "audioset": list_audioset,
    "voc": list_voc,
    "modelnet40": list_modelnet40,
    "kinetics": list_kinetics,
    "parquet": list_parquet,
    "shards": list_shards,
}
"""By name."""


def listing(layout: str, place: Path, split: Split) -> Listing:
    """List one split of the data set at `place`.

    Raises BadInput for an unknown layout, or data that do not match it, and says what they look like instead.
    """
    if layout not in LAYOUTS:
        raise BadInput(f"there is no layout {layout!r}; it is one of {', '.join(LAYOUTS)}")
    if not place.exists():
        raise BadInput(f"there is no {place}; give the folder of the data, laid out as tapetum.data.layouts says")
    try:
        return LAYOUTS[layout](place, split)
    except BadInput as error:
        raise BadInput(f"{error}{hint(place, layout)}") from error


_LOOKS = {
    "voc": ("JPEGImages",),
    "audioset": ("*_segments.csv",),
    "kinetics": ("train.csv",),
    "parquet": ("*.parquet",),
    "shards": ("*.tar", "train/*.tar"),
    "imagenet": tuple(f"train/*/*{ending}" for ending in IMAGES),
    "modelnet40": ("*/train/*.off",),
    "classes": tuple(f"*/*{ending}" for ending in IMAGES),
}
"""Files that a folder of a layout has."""


def hint(place: Path, layout: str) -> str:
    """Say in short which other layout the data at `place` look like; nothing where that is not known.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "JPEGImages").mkdir()
    ...     hint(Path(folder), "parquet")
    '; it looks like the layout voc: give --layout voc'
    """
    for name, patterns in _LOOKS.items():
        known = any(True for pattern in patterns for _ in place.glob(pattern))
        if known or (name == "modelnet40" and is_point_cloud_folder(place)):
            return "" if name == layout else f"; it looks like the layout {name}: give --layout {name}"
    if layout != "classes" and any(path.suffix.lower() in IMAGES for path in place.glob("*")):
        return "; it holds images without classes: give --layout classes --steps 0"
    return ""
