"""Data sets in their official layouts: which files there are, and what is known of each. Any system may read them.

    imagenet    DIR/train/n01440764/*.JPEG and DIR/val/n01440764/*.JPEG: one folder a class (also any other such folders)
    audioset    DIR/balanced_train_segments.csv (or unbalanced_) and eval_segments.csv, class_labels_indices.csv, and
                recordings named by their video (--1yymn... .wav, or Y--1yymn....flac, or with _START_END) anywhere below DIR
    voc         DIR/JPEGImages, SegmentationClass, ImageSets/Segmentation/train.txt and val.txt (VOCdevkit/VOC2012)
    modelnet40  DIR/airplane/train/airplane_0001.off and DIR/airplane/test/...: one folder a class
    kinetics    DIR/train.csv and val.csv (label,youtube_id,time_start,time_end,split) and videos named ID_000010_000020.mp4
                anywhere below DIR
    parquet     train*.parquet and test*.parquet (or val) as Hugging Face writes them: image and audio are structs of bytes and
                path, label a number or a word, mask a struct; or one such file, of which every tenth example is held out
    shards      DIR/train/*.tar and DIR/val/*.tar (or test), each as `tapetum data shards` writes them: jpg, png, webp, wav,
                flac, cls, and classes.json beside them; or DIR/*.tar, of which every tenth example is held out

Nothing is decoded here; `tapetum.data.media` makes values of files. Of AudioSet and Kinetics, whose videos vanish from the web,
what is there is taken, and it is said how much is not.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.data.fields import PICTURES, last
from tapetum.data.hints import hint
from tapetum.data.media import Files, Stored, opened_picture, stored
from tapetum.data.shards import Shards
from tapetum.errors import BadInput, MissingExtra
from tapetum.files import no_pipe

Split = Literal["train", "val"]
"""What is learned from, and what is held out; where a layout has a test part but no val part, val is that."""
Asks = Literal["class", "labels", "elements", "nothing"]
"""What is known of an example: one class, any number of labels, a class of each pixel, or nothing."""
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_MOST_CLASSES = 100_000
_MEDIA = {".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mp4", ".mkv", ".webm", ".avi"}


@dataclass(frozen=True)
class Listing:
    """One split of a data set."""

    files: Mapping[str, Files]
    """The files of each example, by what they are: image, mask, audio, video, points; each column of the same length N."""
    truth: np.ndarray | None
    """int64 (N,) class numbers, float32 (N, classes) of 0 and 1, or None where nothing is known or `mask` tells it."""
    classes: tuple[str, ...]
    """Names, by number."""
    asks: Asks
    missing: int = 0
    """Examples that are listed, but of which there is no file."""

    def __len__(self) -> int:
        return len(next(iter(self.files.values())))


def listing(layout: str, place: Path, split: Split) -> Listing:
    """List one split of the data set at `place`.

    Raises BadInput for an unknown layout, or what is not in it, and says what the data look like instead.
    """
    if layout not in LAYOUTS:
        raise BadInput(f"there is no layout {layout!r}; it is one of {', '.join(LAYOUTS)}")
    if not place.exists():
        raise BadInput(f"there is no {place}; give the folder of the data, laid out as tapetum.data.layouts says")
    try:
        return LAYOUTS[layout](place, split)
    except BadInput as error:
        raise BadInput(f"{error}{hint(place, layout)}") from error


def _imagenet(place: Path, split: Split) -> Listing:
    folder = place / split
    names = _subfolders(folder, "one folder of pictures a class")
    found = [(stored(path), k) for k, name in enumerate(names) for path in _files(folder / name, _PICTURES)]
    files, labels = _columns(found, folder, "pictures")
    return Listing({"image": files}, np.array(labels), names, "class")


def _modelnet40(place: Path, split: Split) -> Listing:
    names = _subfolders(place, "one folder of meshes a class")
    folder = {"train": "train", "val": "test"}[split]
    found = [(stored(path), k) for k, name in enumerate(names) for path in _files(place / name / folder, {".off"})]
    files, labels = _columns(found, place, f"{folder}/*.off meshes")
    return Listing({"points": files}, np.array(labels), names, "class")


def _voc(place: Path, split: Split) -> Listing:
    file = place / "ImageSets" / "Segmentation" / f"{split}.txt"
    names = _text(file).split()
    if not names:
        raise BadInput(f"{file} names no pictures; copy it anew")
    pictures = [stored(place / "JPEGImages" / f"{name}.jpg") for name in names]
    masks = [stored(place / "SegmentationClass" / f"{name}.png") for name in names]
    return Listing({"image": pictures, "mask": masks}, None, VOC_CLASSES, "elements")


def _audioset(place: Path, split: Split) -> Listing:
    classes = list(csv.DictReader(io.StringIO(_text(place / "class_labels_indices.csv"))))
    if not classes or not {"mid", "display_name"} <= classes[0].keys():
        raise BadInput(f"{place / 'class_labels_indices.csv'} lacks the columns mid and display_name; copy it anew")
    number = {row["mid"]: k for k, row in enumerate(classes)}
    lists = ["balanced_train_segments.csv", "unbalanced_train_segments.csv"] if split == "train" else ["eval_segments.csv"]
    present = [place / name for name in lists if (place / name).is_file()]
    if not present:
        raise BadInput(f"{place} holds no {' or '.join(lists)}; put the published lists there")
    at = _by_video(place)
    found, missing = [], 0
    for file in present:
        lines = (line for line in _text(file).splitlines() if line.strip() and not line.startswith("#"))
        for row in csv.reader(lines, skipinitialspace=True):
            if len(row) < 4:
                raise BadInput(f"{file} has a line of {len(row)} columns; wanted YTID, start, end, labels: copy it anew")
            truth = np.zeros(len(classes), np.float32)
            truth[[number[mid] for mid in row[3].split(",") if mid in number]] = 1
            if row[0] in at and truth.any():
                found.append((stored(at[row[0]]), truth))
            else:
                missing += 1
    files, labels = _columns(found, place, "recordings of the videos in the lists")
    videos = all(Path(file.name).suffix.lower() in (".mp4", ".mkv", ".webm", ".avi") for file in files)
    names = tuple(row["display_name"] for row in classes)
    return Listing({"video": files, "audio": files} if videos else {"audio": files}, np.stack(labels), names, "labels", missing)


def _kinetics(place: Path, split: Split) -> Listing:
    file = place / f"{split}.csv"
    rows = list(csv.DictReader(io.StringIO(_text(file))))
    if not rows or not {"label", "youtube_id"} <= rows[0].keys():
        raise BadInput(f"{file} lacks the columns label and youtube_id; copy it anew")
    names = tuple(sorted({row["label"] for row in rows}))
    number, at = {name: k for k, name in enumerate(names)}, _by_video(place)
    found = [(stored(at[row["youtube_id"]]), number[row["label"]]) for row in rows if row["youtube_id"] in at]
    files, labels = _columns(found, place, f"videos that {file.name} lists")
    return Listing({"video": files}, np.array(labels), names, "class", len(rows) - len(found))


def _parquet(place: Path, split: Split) -> Listing:
    files = _parquet_files(place, split)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", "reading parquet") from error
    try:
        for file in files:
            no_pipe(file)
        table = pa.concat_tables([pq.read_table(file) for file in files])
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{files[0]} cannot be read as parquet ({str(error)[:100]}); copy it anew") from error
    words = _words(table, place, split)
    if place.is_file():
        held_out = np.arange(len(table)) % 10 == 0
        rows = len(table)
        table = table.filter(pa.array(held_out if split == "val" else ~held_out))
        if not len(table):
            part = "to check on" if split == "val" else "to learn from"
            raise BadInput(f"{place} has {rows} rows, of which every tenth is to check on, and none {part}; give 2 or more")
    if not {"image", "audio"} & set(table.column_names) or ("mask" in table.column_names and "image" not in table.column_names):
        raise BadInput(
            f"{files[0]} has the columns {', '.join(table.column_names)}; wanted image or audio, and image beside mask"
        )

    def media(name: str) -> list[Stored]:
        rows = table.column(name).to_pylist()
        if not rows or not all(isinstance(row, dict) and isinstance(row.get("bytes"), bytes) for row in rows):
            raise BadInput(f"the column {name} of {files[0]} is no struct with the bytes of files in every row; write it so")
        return [Stored(f"{name} {k} of {files[0].name}", row["bytes"]) for k, row in enumerate(rows)]

    if "mask" in table.column_names:
        names = _classes_beside(files[0]) or tuple(str(k) for k in range(_largest(media("mask")) + 1))
        return Listing({"image": media("image"), "mask": media("mask")}, None, names, "elements")
    found = {name: media(name) for name in ("image", "audio") if name in table.column_names}
    if "label" not in table.column_names:
        return Listing(found, None, (), "nothing")
    labels = table.column("label").to_pylist()
    if None in labels:
        raise BadInput(f"{files[0]} has {labels.count(None)} rows without a label; leave these out, or the whole column")
    if words:
        labels, names = [words.index(str(label)) for label in labels], words
    else:
        names = _classes_beside(files[0]) or _numbered(max(labels), files[0])
    if min(labels) < 0 or max(labels) >= len(names):
        raise BadInput(
            f"{files[0]} has labels from {min(labels)} to {max(labels)}, and names for {len(names)}; mend one of them"
        )
    return Listing(found, np.array(labels), names, "class")


@dataclass(frozen=True)
class _Members:
    """One field of all samples of shards, as files."""

    shards: Shards
    field: str
    rows: np.ndarray
    """Numbers of the samples that are taken."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: int) -> Stored:
        k = int(self.rows[k])
        tar, key = self.shards.locate(k)
        return Stored(f"{tar}: {key}.{self.field}", self.shards.read(k)[self.field])


def _shards(place: Path, split: Split) -> Listing:
    folders = [place / name for name in (("train",) if split == "train" else ("val", "test"))]
    whole = not (place / "train").is_dir() and any(place.glob("*.tar"))
    folder = place if whole else next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise BadInput(f"there is no {folders[0]}; put the shards of each part into a folder of its own, train and val")
    opened = Shards(folder)
    there, rows = opened.fields, np.arange(len(opened))
    if whole:
        rows = rows[(rows % 10 == 0) == (split == "val")]
    found: dict[str, Files] = {}
    for name in there:
        ending, members = last(name), _Members(Shards(folder, fields=[name]), name, rows)
        if ending in PICTURES:
            found.setdefault("image", members)
        elif ending in ("wav", "flac"):
            found.setdefault("audio", members)
    if not found:
        raise BadInput(f"{folder} has the fields {', '.join(there)}; wanted jpg, png, webp, wav or flac")
    if "cls" not in there:
        return Listing(found, None, (), "nothing")
    column = Shards(folder, fields=["cls"]).column("cls")
    labels = np.array([int(column[int(k)]) for k in rows])
    try:
        names = tuple(map(str, json.loads(_text(folder / "classes.json")))) if (folder / "classes.json").is_file() else ()
    except (ValueError, TypeError) as error:
        raise BadInput(f"{folder / 'classes.json'} is no list of names; write it anew") from error
    names = names or _numbered(int(labels.max()), folder)
    if labels.min() < 0 or labels.max() >= len(names):
        raise BadInput(
            f"{folder} has classes from {labels.min()} to {labels.max()}, and names for {len(names)}; mend one of them"
        )
    return Listing(found, labels, names, "class")


LAYOUTS: Mapping[str, Callable[[Path, Split], Listing]] = {
    "imagenet": _imagenet,
    "audioset": _audioset,
    "voc": _voc,
    "modelnet40": _modelnet40,
    "kinetics": _kinetics,
    "parquet": _parquet,
    "shards": _shards,
}
"""By name."""

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def _columns(found: list[tuple], place: Path, what: str) -> tuple[list[Stored], list]:
    if not found:
        raise BadInput(f"{place} holds no {what}; tapetum.data.layouts says what the folder looks like")
    return [row[0] for row in found], [row[1] for row in found]


def _subfolders(folder: Path, what: str) -> tuple[str, ...]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []
    if not names:
        raise BadInput(f"{folder} holds no folders; wanted {what}")
    return tuple(names)


def _files(folder: Path, endings: set[str]) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings) if folder.is_dir() else []


def _by_video(place: Path) -> dict[str, Path]:
    """Files by the eleven characters that name their video."""
    found: dict[str, Path] = {}
    for path in _files(place, _MEDIA):
        name = path.stem[1:] if len(path.stem) == 12 and path.stem[0] == "Y" else path.stem
        found[name[:11]] = path
    return found


def _text(path: Path) -> str:
    try:
        no_pipe(path)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInput(f"cannot read {path}: {reason}; copy it anew") from error


def _parquet_files(place: Path, split: Split) -> list[Path]:
    """The file itself; or of a folder those that begin with train, or with test or val."""
    if place.is_file():
        return [place]
    heads = ("train",) if split == "train" else ("test", "val")
    for head in heads:
        files = sorted(place.glob(f"{head}*.parquet"))
        if files:
            return files
    raise BadInput(f"{place} holds no {heads[0]}*.parquet; give files that are called so, or the path of one file")


def _words(table: Any, place: Path, split: Split) -> tuple[str, ...]:
    """The classes of both parts, where they are words in the column label and not numbers."""
    if "label" not in table.column_names:
        return ()
    labels = set(table.column("label").to_pylist()) - {None}
    if all(isinstance(label, int) for label in labels):
        return ()
    if place.is_dir():
        import pyarrow.parquet as pq

        for file in _parquet_files(place, "val" if split == "train" else "train"):
            labels |= set(pq.read_table(file, columns=["label"]).column("label").to_pylist()) - {None}
    return tuple(sorted(map(str, labels)))


def _classes_beside(file: Path) -> tuple[str, ...]:
    beside = file.with_name("classes.txt")
    return tuple(line.strip() for line in _text(beside).splitlines() if line.strip()) if beside.is_file() else ()


def _numbered(largest: int, place: Path) -> tuple[str, ...]:
    """Names of classes that have none."""
    if largest >= _MOST_CLASSES:
        raise BadInput(
            f"{place} has the class {largest}; without names, classes are numbered from 0 to less than {_MOST_CLASSES}: "
            "number them one after another"
        )
    return tuple(str(k) for k in range(largest + 1))


def _largest(masks: Sequence[Stored]) -> int:
    numbers = [int(np.asarray(opened_picture(mask, None)).max()) for mask in masks]
    return max((n for n in numbers if n < 255), default=0)
