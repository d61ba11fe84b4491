"""Samples to be written as shards, from folders and parquet files; files are taken byte for byte.

    classes     DIR/cat/1.jpg, DIR/dog/2.jpg       key cat/1; jpg and cls, the number of the folder in sorted order
    stems       DIR/1.jpg, DIR/1.txt, DIR/2.jpg    key 1; a field for each ending, the same for all keys
    parquet     FILE.parquet, or DIR with some     key 000000000, ...; a field for each kind of column

Columns of parquet: bytes, or Hugging Face's struct of bytes and path, get the ending of what they hold; an integer `label`
becomes cls; text becomes txt (a null is empty text); all others go together into json, by their names. Two columns of one
ending are told apart as COLUMN.ENDING. Images of several formats in one field are all called alike: decoders go by content.

Source: folders of classes as torchvision's ImageFolder numbers them; parquet as the Hugging Face hub stores images and sound.
"""

import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import parse_json, read_bytes
from tapetum.core.tables import parquet_file, pyarrow_for
from tapetum.data.fields import IMAGES
from tapetum.data.shards import KEY, Shards, write_shards
from tapetum.data.tar_index import split_name

Layout = Literal["classes", "stems", "parquet"]
_LABELS = ("label", "labels", "cls")
_MAGIC = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG": "png",
    b"GIF8": "gif",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"ID3": "mp3",
    b"\x1aE\xdf\xa3": "webm",
}
_RIFF = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}


class FileSamples:
    """Samples of files: `files[k]` reads those of sample k."""

    def __init__(self, entries: Sequence[tuple[str, dict[str, Path | bytes]]], classes: Sequence[str] | None = None):
        self._entries, self.classes = entries, classes

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, k: int) -> dict[str, Any]:
        key, members = self._entries[k]
        return {KEY: key} | {ending: m if isinstance(m, bytes) else _read(m) for ending, m in members.items()}

    def shuffled(self, seed: int, beside: Path) -> Iterator[dict[str, Any]]:
        """Read all samples, in an order drawn by `seed`; `beside` is not used."""
        return (self[int(k)] for k in _permutation(len(self), seed))


class ParquetSamples:
    """Samples of the rows of parquet files, which are read in their order."""

    def __init__(self, files: Sequence[Path]):
        """Raises BadInput for no files, damaged ones or no rows, MissingExtra without pyarrow."""
        arrow, parquet = pyarrow_for("reading parquet")
        self._files, self._parquet, self._errors = files, parquet, (arrow.ArrowException, OSError)
        self._count = sum(self._opened(file).metadata.num_rows for file in files)
        if not self._count:
            raise BadInput(f"there are no rows in {files[0]}; give parquet files with some")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(self._rows()):
            yield {KEY: f"{number:09d}"} | self._sample(number, row)

    def shuffled(self, seed: int, beside: Path) -> Iterator[dict[str, Any]]:
        """Yield all samples, in an order drawn by `seed`; on the way they are stored in a folder `beside` that goes again."""
        with tempfile.TemporaryDirectory(dir=beside, prefix=".unshuffled-") as folder:
            write_shards(self, folder, "rows")
            shards = Shards(folder)
            for k in map(int, _permutation(len(shards), seed)):
                yield {KEY: shards.locate(k)[1]} | shards.read(k)

    @cached_property
    def classes(self) -> Sequence[str] | None:
        """Read the names of the classes, where the files say them as Hugging Face's do."""
        try:
            schema = parse_json((self._opened(self._files[0]).schema_arrow.metadata or {})[b"huggingface"])
            features = schema["info"]["features"]
            names = next(features[name]["names"] for name in _LABELS if "names" in features.get(name, {}))
        except (KeyError, TypeError, ValueError, StopIteration):
            return None
        return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None

    @cached_property
    def fields(self) -> dict[str, str]:
        """Choose the field of each column, by its type and the first row."""
        from pyarrow import types

        first = next(self._rows())
        endings: dict[str, str] = {}
        for column in self._opened(self._files[0]).schema_arrow:
            value = first[column.name]
            if types.is_binary(column.type) or types.is_large_binary(column.type) or _is_struct_of_bytes(column.type):
                endings[column.name] = _ending(*_bytes_of(value, column.name, 0))
            elif (types.is_integer(column.type) or types.is_floating(column.type)) and column.name in _LABELS:
                endings[column.name] = "cls"
            elif types.is_string(column.type) or types.is_large_string(column.type):
                endings[column.name] = "txt"
            else:
                endings[column.name] = "json"
        counts = Counter(endings.values())
        alone = {ending for ending, count in counts.items() if count == 1 or ending == "json"}
        return {name: end if end in alone else f"{_plain(name)}.{end}" for name, end in endings.items()}

    def _sample(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        sample: dict[str, Any] = {}
        for column, value in row.items():
            field = self.fields.get(column)
            if field is None:
                raise BadInput(f"row {number} has a column {column!r} that the first file lacks; give files of one kind")
            if field == "json":
                sample.setdefault("json", {})[column] = value
            elif field.endswith("txt"):
                sample[field] = value or ""
            elif field == "cls" or field.endswith(".cls"):
                if value is None or value != value:
                    raise BadInput(f"row {number} has no {column}; take out rows without a class")
                if not math.isfinite(value) or value != int(value):
                    raise BadInput(f"row {number} has the {column} {value}; a class is a whole number: write it so")
                sample[field] = int(value)
            else:
                sample[field] = _bytes_of(value, column, number)[0]
        if "json" in sample:
            try:
                sample["json"] = json.dumps(sample["json"], ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
            except (TypeError, ValueError) as error:
                raise BadInput(f"row {number} cannot be stored as json ({error}); take such columns out") from error
        return sample

    def _rows(self) -> Iterator[dict[str, Any]]:
        for file in self._files:
            try:
                for batch in self._opened(file).iter_batches(batch_size=64):
                    yield from batch.to_pylist()
            except self._errors as error:
                raise BadInput(f"{file} is damaged ({' '.join(str(error).split())}); copy it again") from error

    def _opened(self, file: Path) -> Any:
        try:
            return self._parquet.ParquetFile(parquet_file(file, "reading parquet"))
        except self._errors as error:
            raise BadInput(f"{file} is not a readable parquet file ({' '.join(str(error).split())})") from error


def open_source(source: Path, layout: Layout | None = None) -> FileSamples | ParquetSamples:
    """Open the samples of a folder or parquet file; by default the layout is found out.

    A folder with parquet files anywhere is read as such, one with other files at its top by stems, one of folders alone by
    classes. Raises BadInput for none of these, and where samples would not all have the same fields.
    """
    if source.is_file():
        if source.suffix != ".parquet" or layout not in (None, "parquet"):
            raise BadInput(f"{source} is a file; give a folder, or a .parquet file")
        return ParquetSamples([source])
    if not source.is_dir():
        raise BadInput(f"there is no {source}; give a folder of files, or a .parquet file")
    listed = (path for path in sorted(source.rglob("*")) if path.is_file())
    files = [path for path in listed if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    tables = [path for path in files if path.suffix == ".parquet"]
    if not files or (layout == "parquet" and not tables):
        raise BadInput(f"there are no files{' .parquet' if files else ''} in {source}; give a folder with some")
    if layout == "parquet" or (layout is None and tables):
        return ParquetSamples(tables)
    if layout == "stems" or (layout is None and any(path.parent == source for path in files)):
        return _by_stems(source, files)
    return _by_classes(source, files)


def _by_classes(source: Path, files: Sequence[Path]) -> FileSamples:
    loose = next((path for path in files if path.parent == source), None)
    if loose:
        raise BadInput(f"{loose} is in no class; in the layout 'classes' each file is in the folder of its class: take it out")
    folders = sorted(path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = {path: path.relative_to(source) for path in files}
    empty = sorted(set(folders) - {name.parts[0] for name in names.values()})
    if empty:
        raise BadInput(f"the class {empty[0]} has no files; put some into {source / empty[0]}, or take the folder away")
    endings = {path: _suffix(path) for path in files}
    counts = Counter(endings.values())
    if len(counts) > 1 and set(counts) <= set(IMAGES):
        endings = dict.fromkeys(files, "jpg")
    elif len(counts) > 1:
        rarest = min(counts, key=lambda ending: counts[ending])
        example = next(path for path in files if endings[path] == rarest)
        raise BadInput(f"there are files of several kinds, {_kinds(counts)}, such as {example}; keep one kind, or images alone")
    numbers = {name: number for number, name in enumerate(folders)}
    entries: dict[str, dict[str, Path | bytes]] = {}
    for path, name in names.items():
        key = str(name.with_name(name.name.removesuffix(name.suffix).replace(".", "_")).as_posix())
        if key in entries:
            raise BadInput(f"{path} and another file would both be the sample {key}; rename one")
        entries[key] = {endings[path]: path, "cls": b"%d" % numbers[name.parts[0]]}
    return FileSamples(list(entries.items()), folders)


def _by_stems(source: Path, files: Sequence[Path]) -> FileSamples:
    entries: dict[str, dict[str, Path | bytes]] = {}
    for path in files:
        parts = split_name(path.relative_to(source).as_posix())
        if parts is None:
            raise BadInput(f"{path} has no ending, so it is no field; rename it or take it out")
        key, ending = parts
        ending = re.sub(r"\bjpeg$", "jpg", ending)
        if ending in entries.setdefault(key, {}):
            raise BadInput(f"{path} and another file would both be {key}.{ending}; rename one")
        entries[key][ending] = path
    counts = Counter(" ".join(sorted(members)) for members in entries.values())
    if len(counts) > 1:
        rarest = min(counts, key=lambda fields: counts[fields])
        example = next(key for key, members in entries.items() if " ".join(sorted(members)) == rarest)
        raise BadInput(
            f"files of one stem have different endings, {_kinds(counts)}, such as {example}; each stem needs the same "
            "(folders that are classes: --layout classes)"
        )
    return FileSamples(list(entries.items()))


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror}); mend that or take it out") from error


def _suffix(path: Path) -> str:
    if not path.suffix:
        raise BadInput(f"{path} has no ending, so it is no field; rename it or take it out")
    ending = path.suffix[1:].lower()
    return "jpg" if ending == "jpeg" else ending


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common(5))


def _permutation(count: int, seed: int) -> np.ndarray:
    if seed < 0:
        raise BadInput(f"the seed of the order is {seed}; give 0 or more")
    return np.random.default_rng(seed).permutation(count)


def _is_struct_of_bytes(kind: Any) -> bool:
    from pyarrow import types

    return types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and kind.get_field_index("path") >= 0


def _bytes_of(value: Any, column: str, number: int) -> tuple[bytes, str]:
    """The bytes of a cell, and the path beside them, if there is one."""
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if not isinstance(data, bytes):
        raise BadInput(f"row {number} has no bytes in {column!r}; give parquet files that hold the files themselves")
    return data, path or ""


def _ending(data: bytes, path: str) -> str:
    """Find what a file is: by its first bytes, else by its name."""
    if data.startswith(b"RIFF") and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    if data[4:8] == b"ftyp":
        return "mp4"
    known = next((ending for magic, ending in _MAGIC.items() if data.startswith(magic)), None)
    return known or _plain(Path(path).suffix[1:]) or "bin"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "_", name.lower())
