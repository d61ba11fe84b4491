"""Index of a tar file: offsets of its members, so that any of them can be read without the others.

The headers are read once. What they say is kept beside the tar as NAME.tar.index, or where that place cannot be written in
$XDG_CACHE_HOME/tapetum/shards (~/.cache by default), and is made again when size or time of the tar have changed. Any number of
processes may make it at once: each writes a whole file, and all write the same.

Source: the layout of WebDataset. Members are regular files named KEY.ENDING: the key ends at the first dot of the base name
(folders belong to it, dots and all), and members of one key lie side by side. Directories, links, names without a dot or that
begin with one, and names between double underscores (`__meta__/...`) are passed over.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int64

from tapetum.core.errors import BadInput
from tapetum.core.files import cache_folder, whole_file
from tapetum.core.reading import open_file, read_bytes

_FORMAT = 1
_MAX_ENDINGS = 256
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


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

    Raises BadInput for what is no tar, or is compressed, cut off or damaged, for members that no sample can be made of.
    """
    try:
        state = os.stat(tar)
    except OSError as error:
        raise BadInput(f"cannot read {tar} ({error.strerror}); give a tar file that is there") from error
    stamp = np.array([_FORMAT, state.st_size, state.st_mtime_ns])
    places = [
        tar.with_name(f"{tar.name}.index"),
        cache_folder("shards") / f"{hashlib.sha256(os.fsencode(tar.absolute())).hexdigest()}.index",
    ]
    for place in places:
        kept = _kept(place, stamp)
        if kept is not None:
            return kept
    with open_file(tar) as file:
        index = _scan(str(tar), state.st_size, file)
    packed = _packed(stamp, index)
    any(_wrote(place, packed) for place in places)
    return index


def _wrote(place: Path, packed: bytes) -> bool:
    """Keep an index, if that can be: it saves time and no more."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place, own=True) as temporary:
            temporary.write_bytes(packed)
    except (BadInput, OSError):
        return False
    return True


def _packed(stamp: np.ndarray, index: TarIndex) -> bytes:
    """Five arrays as npy, one after the other, under their SHA-256."""
    file = io.BytesIO()
    for array in (stamp, index.keys, np.array(index.fields, dtype=np.str_), index.offsets, index.sizes):
        np.lib.format.write_array(file, array, allow_pickle=False)
    return hashlib.sha256(file.getvalue()).digest() + file.getvalue()


def _kept(place: Path, stamp: np.ndarray) -> TarIndex | None:
    """The index in a file; None where there is none, it is damaged, or it is of another state of the tar."""
    try:
        return _unpacked(read_bytes(place), stamp)
    except OSError:
        return None


def _unpacked(content: bytes, stamp: np.ndarray) -> TarIndex | None:
    """The index in the content of a file, if it is whole and its stamp is this one."""
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    file = io.BytesIO(content[32:])
    try:
        theirs, keys, fields, offsets, sizes = (np.lib.format.read_array(file, allow_pickle=False) for _ in range(5))
    except ValueError:
        return None
    same = np.array_equal(theirs, stamp) and offsets.shape == sizes.shape == (len(keys), len(fields))
    return TarIndex(keys, tuple(map(str, fields)), offsets, sizes) if same else None


def _scan(path: str, size: int, file: IO[bytes]) -> TarIndex:
    keys: list[str] = []
    rows: list[dict[str, tuple[int, int]]] = []
    known: set[str] = set()
    fields: dict[str, int] = {}
    for name, offset, length in _members(path, size, file):
        parts = split_name(name)
        if parts is None:
            continue
        key, ending = parts
        if not keys or key != keys[-1]:
            if key in known:
                raise BadInput(
                    f"{path}: members of {key!r} lie apart; they must lie side by side: write the tar sorted by name"
                )
            if "\0" in name:
                raise BadInput(f"{path}: the name {name!r} has a zero byte; write the tar again without it")
            known.add(key)
            keys.append(key)
            rows.append({})
        if ending in rows[-1]:
            raise BadInput(f"{path}: {key}.{ending} is there twice; each ending may occur once in a sample: take one out")
        rows[-1][ending] = offset, length
        fields.setdefault(ending, len(fields))
        if len(fields) > _MAX_ENDINGS:
            raise BadInput(
                f"{path} has more than {_MAX_ENDINGS} different endings, such as {ending!r}; a key ends at the first dot: "
                "write other dots of file names as something else"
            )
    places = np.full((2, len(rows), len(fields)), -1, np.int64)
    for number, row in enumerate(rows):
        for ending, place in row.items():
            places[:, number, fields[ending]] = place
    packed = np.array([key.encode(errors="surrogateescape") for key in keys], dtype=np.bytes_)
    return TarIndex(packed, tuple(fields), places[0], places[1])


def _members(path: str, size: int, file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and length of every regular file."""
    start = file.read(8)
    packing = next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)
    if packing:
        raise BadInput(f"{path} is compressed ({packing}) and cannot be read at any place; unpack it to a plain .tar first")
    file.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    except (tarfile.TarError, ValueError, ArithmeticError, RecursionError) as error:
        raise BadInput(f"{path} is not a tar file ({error}); give a tar in the layout of WebDataset") from error
    place = -1
    while (member := _next(tar, path)) is not None:
        if member.offset_data <= place or member.size < 0:
            raise _damaged(path, member.offset)
        place = member.offset_data
        if member.isreg():
            if member.issparse():
                raise BadInput(f"{path}: {member.name} is stored as a sparse file; write the tar without that (no tar -S)")
            if place + member.size > size:
                raise _cut_off(path, f"{member.name} should end at byte {place + member.size}, the file does at {size}")
            yield member.name, place, member.size
    _check_end(file, path, tar.offset)


def _next(tar: tarfile.TarFile, path: str) -> tarfile.TarInfo | None:
    try:
        member = tar.next()
    except (tarfile.TarError, ValueError, ArithmeticError, RecursionError) as error:
        if "end of data" in str(error):
            raise _cut_off(path, str(error)) from error
        raise _damaged(path, tar.offset) from error
    tar.members = []  # which would hold all of them  # pyright: ignore[reportAttributeAccessIssue]
    return member


def _check_end(file: IO[bytes], path: str, end: int) -> None:
    """After the last member come zeros alone; tarfile stops silently at anything that is no header."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise _cut_off(path, f"the zeros that end a tar are missing at byte {end}")
    if any(block):
        raise _damaged(path, end)
    while block := file.read(1 << 20):
        if any(block):
            raise BadInput(f"{path} goes on after its end at byte {end}: tars put one after the other? Give them one by one")


def _cut_off(path: str, detail: str) -> BadInput:
    return BadInput(f"{path} is cut off ({detail}); copy or write it again")


def _damaged(path: str, place: int) -> BadInput:
    return BadInput(f"{path} is damaged: there is no header at byte {place}; copy or write it again")
