"""Samples to be written as shards, from folders; files are taken byte for byte.

    classes     DIR/cat/1.jpg, DIR/dog/2.jpg       key cat/1; jpg and cls, the number of the folder in sorted order
    stems       DIR/1.jpg, DIR/1.txt, DIR/2.jpg    key 1; a field for each ending, the same for all keys

Images of several formats in one field are all called alike: decoders go by content.

Source: folders of classes as torchvision's ImageFolder numbers them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes
from tapetum.data.fields import IMAGES
from tapetum.data.shards import KEY
from tapetum.data.tar_index import split_name

Layout = Literal["classes", "stems"]


class FileSamples:
    """Samples of files: `samples[k]` reads those of sample k."""

    def __init__(self, entries: Sequence[tuple[str, dict[str, Path | bytes]]], classes: Sequence[str] | None = None):
        self._entries, self.classes = entries, classes

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, k: int) -> dict[str, Any]:
        key, members = self._entries[k]
        return {KEY: key} | {ending: m if isinstance(m, bytes) else _read(m) for ending, m in members.items()}

    def shuffled(self, seed: int) -> Iterator[dict[str, Any]]:
        """Read all samples, in an order drawn by `seed`."""
        if seed < 0:
            raise BadInput(f"the seed of the order is {seed}; give 0 or more")
        return (self[int(k)] for k in np.random.default_rng(seed).permutation(len(self)))


def open_source(source: Path, layout: Layout | None = None) -> FileSamples:
    """Open the samples of a folder, by default by stems if there are files at its top, else by classes.

    Raises BadInput where there are no files, and where samples would not all have the same fields.
    """
    if not source.is_dir():
        raise BadInput(f"there is no folder {source}; give a folder of files")
    listed = (path for path in sorted(source.rglob("*")) if path.is_file())
    files = [path for path in listed if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not files:
        raise BadInput(f"there are no files in {source}; give a folder with some")
    parted = {path: split_name(path.relative_to(source).as_posix()) for path in files}
    bare = next((path for path, parts in parted.items() if parts is None), None)
    if bare:
        raise BadInput(f"{bare} has no ending, so it is no field; rename it or take it out")
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
    endings = {path: re.sub("^jpeg$", "jpg", path.suffix[1:].lower()) for path in files}
    counts = Counter(endings.values())
    if len(counts) > 1 and set(counts) <= set(IMAGES):
        endings = dict.fromkeys(files, "jpg")
    elif len(counts) > 1:
        raise BadInput(f"there are files of several kinds, {_kinds(counts)}; keep one kind, or images alone")
    entries: dict[str, dict[str, Path | bytes]] = {}
    for path, name in names.items():
        key = str(name.with_name(name.name.removesuffix(name.suffix).replace(".", "_")).as_posix())
        if key in entries:
            raise BadInput(f"{path} and another file would both be the sample {key}; rename one")
        entries[key] = {endings[path]: path, "cls": b"%d" % folders.index(name.parts[0])}
    return FileSamples(list(entries.items()), folders)


def _by_stems(source: Path, files: Sequence[Path]) -> FileSamples:
    entries: dict[str, dict[str, Path | bytes]] = {}
    for path in files:
        key, ending = split_name(path.relative_to(source).as_posix()) or ("", "")
        ending = re.sub(r"\bjpeg$", "jpg", ending)
        if ending in entries.setdefault(key, {}):
            raise BadInput(f"{path} and another file would both be {key}.{ending}; rename one")
        entries[key][ending] = path
    counts = Counter(" ".join(sorted(members)) for members in entries.values())
    if len(counts) > 1:
        raise BadInput(f"files of one stem have different endings, {_kinds(counts)}; give all the same, or --layout classes")
    return FileSamples(list(entries.items()))


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror}); mend that or take it out") from error


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common(5))
