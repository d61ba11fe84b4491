"""Layouts that are folders of files, and lists of them: classes, ImageNet, ModelNet40, VOC, AudioSet, Kinetics.

`tapetum.data.layouts` says what they look like. Each function raises BadInput where a place does not look so.

ImageNet may also lie as the archives of ILSVRC 2012 unpack: a tar a class to train on, validation images without folders.

    DIR/train/n01440764.tar ...                  of ILSVRC2012_img_train.tar: n01440764_10026.JPEG and so on
    DIR/val/ILSVRC2012_val_00000001.JPEG ...     of ILSVRC2012_img_val.tar
    DIR/ILSVRC2012_devkit_t12/data/              of the devkit: meta.mat, the name of each class by its ILSVRC number, and
                                                 ILSVRC2012_validation_ground_truth.txt, that number of each image, in order

Classes have the numbers of their names in sorted order, as where each has a folder; the numbers of the devkit are others.
"""

import csv
from collections.abc import Set
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.core.tables import separator_of
from tapetum.data.files import StoredFile, stored_file
from tapetum.data.listings import Listing, Split, class_labels, records_of, text_of
from tapetum.data.point_clouds import is_point_cloud_folder, list_point_clouds
from tapetum.video.folders import IMAGES

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
    """List images in one folder a class, without parts: every fifth image of a class is held out."""
    names = tuple(sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")))
    images = []
    for k, name in enumerate(names):
        files = sorted(p for p in (place / name).iterdir() if p.suffix.lower() in IMAGES)
        images += [(path, k) for i, path in enumerate(files) if (i % _HELD_OUT == _HELD_OUT - 1) == (split == "val")]
    if len(names) < 2 or not images:
        raise BadInput(
            f"{place} has {len(names)} folders with images; give a folder with one of {_HELD_OUT} images or more for each class"
        )
    return Listing({"image": [stored_file(path) for path, _ in images]}, np.array([k for _, k in images]), names, "class")


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
