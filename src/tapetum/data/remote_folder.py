"""Data at an address, copied to this machine before they are read.

    ~/.cache/tapetum/addresses/0f3c.../photos/train/a/0.jpg     copies, under the names that the files have at the address
                               0f3c.../.copied.json             size and mark of each copy that is whole

What was copied is not copied again while the server says the same of it, so a command that was stopped continues where it was.
"""

import fcntl
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from tapetum.core.addresses import (
    WEB,
    RemoteFile,
    check_room,
    copy_files,
    describe,
    has_address,
    is_address,
    join_address,
    known_size,
    list_files,
    name_at,
)
from tapetum.core.errors import BadInput, TapetumError, hide_secrets
from tapetum.core.files import cache_folder, cannot_write, write_json
from tapetum.core.reading import parse_json, read_bytes, read_json

Options = TypeVar("Options")

EPISODES = re.compile(r"#(?:episode|camera)=[^/]*$")
"""Selects episodes, after the address of a LeRobot data set."""
_TOGETHER = 64
"""Files that are copied at once."""


@contextmanager
def local_data(given: Options, names: Collection[str]) -> Iterator[Options]:
    """Replace the addresses in fields `names` of a dataclass, values or lists of them, by paths of copies (`local_place`).

    Errors raised in the block name the address in place of the copy.
    """
    copies: dict[str, str] = {}

    def local(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(local, value)) if has_address(value) else value
        if not is_address(value):
            return value
        copy = str(local_place(value))
        copies[copy] = value.rstrip("/")
        return copy

    changed = {name: local(getattr(given, name)) for name in names if hasattr(given, name)}
    try:
        yield replace(given, **changed) if copies else given  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType]
    except TapetumError as error:
        message = str(error)
        for copy, address in copies.items():
            message = message.replace(copy, address)
        error.args = (hide_secrets(message), *error.args[1:])
        raise


def local_place(place: str | Path) -> Path:
    """Find data on this machine: a path as it is; for an address the folder, or the file, of the copies, made first.

    The images that a file of JSON lines names (image) are copied with it. Processes of one machine may call it together: one
    copies, the others wait. Raises BadInput if there is nothing, if it cannot be read, if the server does not say how large it
    is, if the disk lacks room, and for names that lead out of the folder.
    """
    if not isinstance(place, str) or not is_address(place):
        return Path(place)
    episodes = EPISODES.search(place)
    address = EPISODES.sub("", place).rstrip("/")
    name = name_at(address) or "data"
    files = _files_at(address, name)
    root = cache_folder("addresses") / hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / ".lock").open("a")
    except OSError as error:
        raise cannot_write(root, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _copy_missing(address, files, root)
        if name.endswith(".jsonl") and files.keys() == {name}:
            images = _images_of_lines(root / name, address)
            _copy_missing(address, files | images, root)
        else:
            for path in (root / name).rglob("*"):
                if path.is_file() and path.relative_to(root).as_posix() not in files:  # no longer at the address
                    path.unlink()
    return root / (name + episodes[0] if episodes else name)


def _files_at(address: str, top: str) -> dict[str, RemoteFile]:
    """Describe the files below an address, by the names of their copies, which begin with `top`; or the one file there."""
    if (file := describe(address)) is not None:
        return {top: file}
    listed = list_files(address)
    names = {file.address: top + file.address.removeprefix(address) for file in listed}
    if address.startswith(WEB):  # its pages list names alone, and quoted
        listed = _described(names)
        names = {place: unquote(name) for place, name in names.items()}
    if not listed:
        raise BadInput(f"there is nothing at {address}; check the address")
    return {_inside(names[file.address], file.address): file for file in listed}


def _images_of_lines(copy: Path, address: str) -> dict[str, RemoteFile]:
    """Describe the images that a file of JSON lines names, relative to its folder; whoever reads it reports bad lines."""
    names: list[str] = []
    for line in read_bytes(copy).splitlines():
        with suppress(ValueError, AttributeError):
            images = parse_json(line).get("image") if line.strip() else None
            names += [each for each in (images if isinstance(images, list) else [images]) if isinstance(each, str)]
    folder = address.rpartition("/")[0]
    quoted = {join_address(folder, quote(name) if address.startswith(WEB) else name): name for name in names}
    for name in names:
        _inside(name, f"{name} of {address}")
    return {quoted[file.address]: file for file in _described(quoted)}


def _described(addresses: Iterable[str]) -> list[RemoteFile]:
    with ThreadPoolExecutor(16) as pool:
        return [file for file in pool.map(describe, addresses) if file is not None]


def _inside(name: str, file: str) -> str:
    """Check that the name of a copy stays in its folder."""
    path = PurePosixPath(name)
    if ".." in path.parts or path.is_absolute() or "\0" in name:
        raise BadInput(f"{file} would be copied out of its folder; rename it")
    return str(path)


def _copy_missing(address: str, files: Mapping[str, RemoteFile], root: Path) -> None:
    """Copy what is not there yet, several files at a time; what is whole is on record, however it ends."""
    record = root / ".copied.json"
    try:
        copied = dict(read_json(record))
    except (OSError, ValueError, TypeError):
        copied = {}
    stamps = {name: [file.size, file.mark] for name, file in files.items()}
    missing = [name for name in files if copied.get(name) != stamps[name] or not (root / name).is_file()]
    size = 0
    for name in missing:
        size += known_size(files[name])
    check_room(address, size, root)
    for start in range(0, len(missing), _TOGETHER):
        batch = missing[start : start + _TOGETHER]
        copy_files(address, {files[name].address: root / name for name in batch})
        for name in batch:
            if (root / name).stat().st_size != files[name].size:
                raise BadInput(f"{files[name].address} broke off before its {files[name].size:,} bytes were there; try again")
        copied |= {name: stamps[name] for name in batch}
        write_json(record, copied, own=True)
