"""The layouts `parquet`, tables as Hugging Face writes them, and `shards`, tar files as `tapetum data shards` writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import parse_json
from tapetum.core.tables import parquet_file, pyarrow_for
from tapetum.data.entries import Listing, Split, class_labels, numbered_classes, text_of
from tapetum.data.fields import IMAGES, last
from tapetum.data.files import Files, StoredFile, opened_image
from tapetum.data.shards import Shards

_READING = "reading parquet"


def list_parquet(place: Path, split: Split) -> Listing:
    """List images and recordings in tables, with labels or masks where there are some.

    Raises BadInput for other columns, and MissingExtra without pyarrow.
    """
    files = _parquet_files(place, split)
    table, words = _read(files, place, split)
    if not {"image", "audio"} & set(table.column_names) or ("mask" in table.column_names and "image" not in table.column_names):
        raise BadInput(f"{files[0]} has the columns {', '.join(table.column_names)}; wanted image or audio, image beside mask")

    def media(name: str) -> list[StoredFile]:
        rows = table.column(name).to_pylist()
        if not rows or not all(isinstance(row, dict) and isinstance(row.get("bytes"), bytes) for row in rows):
            raise BadInput(f"the column {name} of {files[0]} is no struct with the bytes of files in every row; write it so")
        return [StoredFile(f"{name} {k} of {files[0].name}", row["bytes"]) for k, row in enumerate(rows)]

    if "mask" in table.column_names:
        names = _classes_beside(files[0]) or tuple(str(k) for k in range(_largest(media("mask")) + 1))
        return Listing({"image": media("image"), "mask": media("mask")}, None, names, "elements")
    columns = {name: media(name) for name in ("image", "audio") if name in table.column_names}
    if "label" not in table.column_names:
        return Listing(columns, None, (), "nothing")
    labels = table.column("label").to_pylist()
    labels = [words.index(label) for label in labels] if words else labels
    return _of_classes(columns, labels, words or _classes_beside(files[0]), files[0])


def _of_classes(columns: Mapping[str, Files], labels: Sequence[int], names: tuple[str, ...], place: Path) -> Listing:
    """Classes without names are numbered. Raises BadInput for labels that have no name."""
    low, high = min(labels), max(labels)
    names = names or numbered_classes(high, place)
    if low < 0 or high >= len(names):
        raise BadInput(f"{place} has classes from {low} to {high}, and names for {len(names)}; mend one of them")
    return Listing(columns, np.array(labels), names, "class")


def _read(files: list[Path], place: Path, split: Split) -> tuple[Any, tuple[str, ...]]:
    """The rows of one split as a table of pyarrow, and the names of the classes where labels are words."""
    arrow, parquet = pyarrow_for(_READING)
    try:
        table = arrow.concat_tables([parquet.read_table(parquet_file(file, _READING)) for file in files])
    except (arrow.ArrowException, OSError) as error:
        raise BadInput(f"{files[0]} cannot be read as parquet ({str(error)[:100]}); copy it again") from error
    if "label" in table.column_names:
        labels = class_labels(
            table.column("label").to_pylist(), str(files[0]) if len(files) == 1 else f"{files[0]} and those after it"
        )
        table = table.set_column(table.column_names.index("label"), "label", arrow.array(labels))
    words = _words(table, place, split)
    if place.is_file():
        validation = np.arange(len(table)) % 10 == 0
        rows = len(table)
        table = table.filter(arrow.array(validation if split == "val" else ~validation))
        if not len(table):
            part = "to check on" if split == "val" else "to learn from"
            raise BadInput(f"{place} has {rows} rows, of which every tenth is to check on, and none {part}; give 2 or more")
    return table, words


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
    labels = set(table.column("label").to_pylist())
    if all(isinstance(label, int) for label in labels):
        return ()
    if place.is_dir():
        _, parquet = pyarrow_for(_READING)
        for file in _parquet_files(place, "val" if split == "train" else "train"):
            column = parquet.read_table(parquet_file(file, _READING), columns=["label"]).column("label")
            labels |= set(class_labels(column.to_pylist(), str(file)))
    return tuple(sorted(map(str, labels)))


def _classes_beside(file: Path) -> tuple[str, ...]:
    beside = file.with_name("classes.txt")
    return tuple(line.strip() for line in text_of(beside).splitlines() if line.strip()) if beside.is_file() else ()


def _largest(masks: Sequence[StoredFile]) -> int:
    numbers = [int(np.asarray(opened_image(mask, None)).max()) for mask in masks]
    return max((n for n in numbers if n < 255), default=0)


@dataclass(frozen=True)
class ShardFiles:
    """One field of all samples of shards, as files."""

    shards: Shards
    field: str
    rows: np.ndarray
    """Numbers of the samples that are taken."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: int) -> StoredFile:
        k = int(self.rows[k])
        tar, key = self.shards.locate(k)
        return StoredFile(f"{tar}: {key}.{self.field}", self.shards.read_field(k, self.field))


def list_shards(place: Path, split: Split) -> Listing:
    """List images and recordings in tar files, with classes where there are some."""
    folders = [place / name for name in (("train",) if split == "train" else ("val", "test"))]
    whole = not (place / "train").is_dir() and any(place.glob("*.tar"))
    folder = place if whole else next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise BadInput(f"there is no {folders[0]}; put the shards of each part into a folder of its own, train and val")
    opened = Shards(folder)
    there, rows = opened.fields, np.arange(len(opened))
    if whole:
        rows = rows[(rows % 10 == 0) == (split == "val")]
    columns: dict[str, Files] = {}
    for name in there:
        ending, members = last(name), ShardFiles(opened, name, rows)
        if ending in IMAGES:
            columns.setdefault("image", members)
        elif ending in ("wav", "flac"):
            columns.setdefault("audio", members)
    if not columns:
        raise BadInput(f"{folder} has the fields {', '.join(there)}; wanted jpg, png, webp, wav or flac")
    if "cls" not in there:
        return Listing(columns, None, (), "nothing")
    column = opened.column("cls")
    labels = [int(column[int(k)]) for k in rows]
    try:
        names = tuple(map(str, parse_json(text_of(folder / "classes.json")))) if (folder / "classes.json").is_file() else ()
    except (ValueError, TypeError) as error:
        raise BadInput(f"{folder / 'classes.json'} is no list of names; write it again") from error
    return _of_classes(columns, labels, names, folder)
