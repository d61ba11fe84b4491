"""Index of a tar file: offsets of its members, so that any of them can be read without the others.

The headers are read once. What they say is kept beside the tar as NAME.tar.index, where that can be written, and is made again
when size or time of the tar have changed. Any number of processes may make it at once: each writes a whole file, and all write
the same.

Source: the layout of WebDataset. Members are regular files named KEY.ENDING: the key ends at the first dot of the base name
(folders belong to it, dots and all), and members of one key lie side by side. Directories, links, names without a dot or that
begin with one, and names between double underscores (`__meta__/...`) are passed over.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int64

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import open_file, read_bytes
from tapetum.core.tables import DAMAGE, from_npz, to_npz

_FORMAT = 2
_MAX_ENDINGS = 256
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The n samples of a tar, in its order, and where each of their f fields lies."""

    keys: np.ndarray
    """(n,) bytes, UTF-8."""
    fields: tuple[str, ...]
    """Endings, in the order in which they first occur."""
    offsets: Int64[np.ndarray, "n f"]
    """First byte of each field; -1 where a sample lacks it."""
    sizes: Int64[np.ndarray, "n f"]
    """Bytes of each field."""


def split_name(name: str) -> tuple[str, str] | None:
    """Split off key and ending of a member, or None where it belongs to no sample.

    >>> split_name("a.b/cat.left.PNG"), split_name("a.b/cat"), split_name("a/.hidden.txt")
    (('a.b/cat', 'left.png'), None, None)
    """
    match = _NAME.fullmatch(name)
    return (match[1], match[2].lower()) if match and not _META.match(name) else None


def index_of(tar: Path) -> TarIndex:
    """Read the index of a tar, which is made where none is kept.

    Raises BadInput for what is no plain tar, cut off or damaged, and for members that no sample can be made of.
    """
    try:
        state = os.stat(tar)
    except OSError as error:
        raise BadInput(f"cannot read {tar} ({error.strerror}); give a tar file that is there") from error
    stamp, place = np.array([_FORMAT, state.st_size, state.st_mtime_ns]), tar.with_name(f"{tar.name}.index")
    try:
        kept = from_npz(read_bytes(place), ("stamp", "keys", "fields", "offsets", "sizes"))
        if np.array_equal(kept.pop("stamp"), stamp):
            return TarIndex(**{**kept, "fields": tuple(map(str, kept["fields"]))})
    except (OSError, *DAMAGE):  # there is none, or it is damaged
        pass
    with open_file(tar) as file:
        index = _scan(str(tar), state.st_size, file)
    with suppress(BadInput, OSError), whole_file(place, own=True) as temporary:  # it saves time and no more
        arrays = {"keys": index.keys, "fields": np.array(index.fields, np.str_), "offsets": index.offsets, "sizes": index.sizes}
        temporary.write_bytes(to_npz({"stamp": stamp, **arrays}))
    return index


def _scan(path: str, size: int, file: IO[bytes]) -> TarIndex:
    rows: dict[str, dict[str, tuple[int, int]]] = {}
    fields: dict[str, int] = {}
    last = None
    for member in _members(path, size, file):
        parts = split_name(member.name)
        if parts is None:
            continue
        key, ending = parts
        if key != last and key in rows:
            raise BadInput(f"{path}: members of {key!r} lie apart; they must lie side by side: write the tar sorted by name")
        if "\0" in member.name:
            raise BadInput(f"{path}: the name {member.name!r} has a zero byte; write the tar again without it")
        row, last = rows.setdefault(key, {}), key
        if ending in row:
            raise BadInput(f"{path}: {key}.{ending} is there twice; each ending may occur once in a sample: take one out")
        row[ending] = member.offset_data, member.size
        fields.setdefault(ending, len(fields))
        if len(fields) > _MAX_ENDINGS:
            raise BadInput(
                f"{path} has more than {_MAX_ENDINGS} different endings, such as {ending!r}; a key ends at the first dot: "
                "write other dots of file names as something else"
            )
    places = np.full((2, len(rows), len(fields)), -1, np.int64)
    for number, row in enumerate(rows.values()):
        for ending, place in row.items():
            places[:, number, fields[ending]] = place
    keys = np.array([key.encode(errors="surrogateescape") for key in rows], dtype=np.bytes_)
    return TarIndex(keys, tuple(fields), places[0], places[1])


def _members(path: str, size: int, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Yield every regular file. Raises BadInput where the tar is damaged: tarfile stops silently at what is no header."""
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # which would hold all of them  # pyright: ignore[reportAttributeAccessIssue]
                if member.offset_data <= end or member.size < 0 or member.offset_data + member.size > size or member.issparse():
                    raise tarfile.ReadError(f"{member.name} is sparse, or does not end in the file")
                end = member.offset_data
                if member.isreg():
                    yield member
            end = tar.offset
    except (tarfile.TarError, ValueError, ArithmeticError, RecursionError) as error:
        raise BadInput(f"{path} is no tar file, cut off or damaged ({error}); copy it again, not compressed") from error
    file.seek(end)
    rest = file.read(1 << 20)
    if len(rest) < tarfile.BLOCKSIZE or any(rest):
        raise BadInput(f"{path} is cut off or damaged: byte {end} is neither a header nor its end; copy or write it again")
