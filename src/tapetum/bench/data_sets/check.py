"""Checks of a data set folder: what is present, what is missing, and whether it can be read.

For each split, this library's reader reads the official index files, the number of items is compared with the published count,
the media files they name are looked up, and some evenly spaced ones, including the first and last, are opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.bench.data_sets.readers import records_of
from tapetum.bench.data_sets.types import DataSet, Part, Records
from tapetum.core.errors import BadInput, check_several
from tapetum.data.files import StoredFile, opened_image, stored_file
from tapetum.data.point_clouds import read_off
from tapetum.video import open_video
from tapetum.video.images import IMAGES, VIDEOS
from tapetum.video.sound import read_sound

FindingKind = Literal["complete", "count", "missing", "unreadable", "unchecked"]
"""All is well; another number of items than was published; media files are not there; something cannot be read; no reader."""
FINE: tuple[FindingKind, ...] = ("complete", "unchecked")
"""Kinds that leave a data set complete, as far as that can be said."""
_SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".m4a"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line about a split."""

    part: str
    kind: FindingKind
    text: str


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What was found of a split."""

    part: Part
    items: int | None
    """Listed in the index files; None where these cannot be read."""
    missing: int
    """Media files, or items without one, that are listed and not there."""
    opened: int
    """Media files that were opened."""
    findings: tuple[Finding, ...]


def reader_of(data_set: DataSet) -> Callable[[Path, str], Any]:
    """Import the reader of a data set. Raises BadInput if there is none."""
    if data_set.reader is None:
        raise BadInput(f"{data_set.title} cannot be checked: {data_set.no_reader}")
    module, _, name = data_set.reader.partition(":")
    function = getattr(import_module(module), name)
    return lambda folder, split: function(folder, split, **data_set.arguments)


def unchecked(data_set: DataSet) -> PartReport:
    """Report that a data set has no reader, and why."""
    part = Part(name="all", of="items")
    finding = Finding(part=part.name, kind="unchecked", text=data_set.no_reader)
    return PartReport(part=part, items=None, missing=0, opened=0, findings=(finding,))


def choose_parts(data_set: DataSet, names: Sequence[str]) -> list[Part]:
    """Find the splits with these names, or all if none are given. Raises BadInput for an unknown split."""
    check_several(names, "splits")
    known = {part.name: part for part in data_set.parts}
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"{data_set.name} has no split {unknown[0]!r}; it has {', '.join(known)}")
    return [known[name] for name in names] if names else list(data_set.parts)


def check_part(data_set: DataSet, folder: Path, part: Part, samples: int) -> PartReport:
    """Check a split in a folder, opening `samples` of its media files. Raises BadInput if it has no reader."""
    read, findings = reader_of(data_set), list[Finding]()

    def find(kind: FindingKind, text: str) -> None:
        findings.append(Finding(part=part.name, kind=kind, text=text))

    try:
        records = records_of(read(folder, part.name))
    except (BadInput, FileNotFoundError, NotADirectoryError) as error:
        find("unreadable", _line(error))
        return PartReport(part=part, items=None, missing=0, opened=0, findings=tuple(findings))
    if part.items is not None and records.count != part.items:
        find("count", f"{records.count:,} {part.of}; {part.items:,} were published")
    lacking = [file for file in dict.fromkeys(_paths(records)) if not file.exists()]
    missing = len(lacking) + records.missing
    if lacking:
        find("missing", f"{len(lacking):,} files are not there, such as {lacking[0]}")
    if records.missing:
        find("missing", f"{records.missing:,} of {records.count:,} {part.of} have no file")
    opened, gone = 0, set(lacking)
    for file in _some(records.media, samples):
        if isinstance(_path(file), Path) and _path(file) in gone:
            continue
        try:
            (records.open or open_media)(_path(file) if records.open else file)  # pyright: ignore[reportArgumentType]
            opened += 1
        except (BadInput, OSError) as error:
            find("unreadable", _line(error))
    if not findings:
        published = "as published" if part.items is not None else "published count not known"
        find("complete", f"{records.count:,} {part.of} ({published}), {opened} files opened")
    return PartReport(part=part, items=records.count, missing=missing, opened=opened, findings=tuple(findings))


def open_media(file: Path | StoredFile) -> None:
    """Decode an image, the first frame of a video, a recording or a mesh, by its file extension.

    Raises BadInput if it is damaged or of an unknown kind.
    """
    stored = file if isinstance(file, StoredFile) else stored_file(file)
    ending = f".{stored.name.rpartition('.')[2].lower()}"
    if ending in IMAGES:
        opened_image(stored, None)
    elif ending in VIDEOS and isinstance(stored.content, Path):
        with open_video(stored.content) as video:
            video[0]
    elif ending in _SOUNDS:
        read_sound(stored.content, 16_000, name=stored.name)
    elif ending == ".off":
        read_off(stored.content, stored.name)
    else:
        raise BadInput(f"{stored.name} is neither an image, a video, a recording nor a mesh by its name; wanted one of these")


def _some(media: Sequence[Path | StoredFile], samples: int) -> list[Path | StoredFile]:
    """Evenly spaced items, including the first and the last."""
    places = np.unique(np.linspace(0, len(media) - 1, min(samples, len(media))).round().astype(int)) if len(media) else []
    return [media[int(k)] for k in places]


def _path(file: Path | StoredFile) -> Path | bytes:
    return file if isinstance(file, Path) else file.content


def _paths(records: Records) -> list[Path]:
    """Files by name; those that a reader has listed itself exist."""
    return [file for file in records.media if isinstance(file, Path)] if isinstance(records.media, list) else []


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
