"""A data set at an address, copied to this machine: for layouts whose files are opened by their paths.

    ~/.cache/tapetum/folders/0f3c.../photos/train/a/0.jpg     copies, under the names that the files have at the address
                             0f3c.../files.json               size and mark of each copy that is whole
                             0f3c.../.address                 what results and messages name (`tapetum.core.copies`)

What was copied is not copied again while the server says the same of it, so that a command that was stopped goes on where it
was. Copies have a bound: a larger data set is refused, and of others the one that was used longest ago goes first. Images and
shards that are read one by one need no copy (`tapetum.data.layout_parquet`, `tapetum.data.shards`).

`local_data` does it for the options of a command, or the recipe of a training; `local_place` for one path or address.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import quote, unquote

from tapetum.core.addresses import (
    LIMITS,
    WEB,
    RemoteFile,
    check_address,
    copy_file,
    describe,
    has_address,
    is_address,
    join_address,
    list_files,
    make_room,
)
from tapetum.core.copies import EPISODES, copy_name, copy_root, using, with_addresses, write_address
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.files import whole_file
from tapetum.core.limits import check_size
from tapetum.core.reading import parse_json, read_bytes, read_json
from tapetum.core.remote_cache import RemoteCache, cache_of, open_stream

Options = TypeVar("Options")

_RECORD, _LOCK, _USED = "files.json", ".lock", ".used"
_THREADS = 16
"""Files that are copied at a time."""
_PIECE = 4 << 20
_used: dict[Path, IO[str]] = {}
"""Locks of the folders that this process has opened: no other process removes them while it lives."""


@contextmanager
def local_data(given: Options, names: Collection[str], cache_gb: float) -> Iterator[Options]:
    """Replace addresses in a dataclass by the paths of copies of what lies there, which are made first (`local_place`).

    Args:
        given: options of a command, or the recipe of a training.
        names: its fields that may be an address, or several; what else is in them stays.
        cache_gb: gigabytes that the copies may have.

    Yields the changed dataclass. Inside the block, errors that name a copy name its address instead, and Ray is refused where
    one of its machines does not see the copies (`tapetum.core.jobs`).
    """
    copies: list[str] = []

    def local(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(local, value)) if has_address(value) else value
        if not is_address(value):
            return value
        copies.append(str(local_place(value, cache_of(cache_gb))))
        return copies[-1]

    changed = {name: local(getattr(given, name)) for name in names if hasattr(given, name)}
    try:
        with using(copies):
            yield replace(given, **changed) if copies else given  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType]
    except TapetumError as error:
        error.args = (with_addresses(str(error)), *error.args[1:])
        raise


def local_place(place: str | Path, cache: RemoteCache) -> Path:
    """Find data on this machine: a path as it is; of an address the folder, or the file, of the copies, made first.

    Beside a file of JSON lines lie the images that its lines name (image); what follows a LeRobot data set (#episode=3) follows
    the path of its copy. Of `cache` its limit is taken. Processes of one machine may call it together: one copies, and the
    others wait. Raises BadInput where there is nothing, for more bytes than the cache may have, and for names that would lie
    outside of the folder; UnreachableAddress where a file cannot be read.
    """
    if not isinstance(place, str) or not is_address(place):
        return Path(place)
    episodes = EPISODES.search(place)
    if episodes:
        place = place[: episodes.start()]
    check_address(place)
    place = place.rstrip("/")
    name, root = copy_name(place), copy_root(place)
    files = _files_at(place, name)
    with _locked(root):
        write_address(place)
        _copy_missing(place, files, root, cache.limit)
        if name.endswith(".jsonl") and files.keys() == {name}:
            files |= _images_of_lines(root / name, place)
            _copy_missing(place, files, root, cache.limit)
        for path in (root / name).rglob("*"):
            if path.is_file() and path.relative_to(root).as_posix() not in files:  # it is no more at the address
                path.unlink()
    return root / (name + episodes[0] if episodes else name)


def _files_at(address: str, top: str) -> dict[str, RemoteFile]:
    """The files below an address, by the names that their copies have, which begin with `top`; or the one there."""
    if (file := describe(address)) is not None:
        return {top: file}
    listed = list_files(address)
    described = _described(file.address for file in listed if not file.mark)  # a web server says of each file alone
    listed = [file if file.mark else described.get(file.address) for file in listed]
    files = {_name_below(address, top, file.address): file for file in listed if file is not None}
    if not files:
        raise BadInput(f"there is nothing at {address}; check the address")
    return files


def _images_of_lines(copy: Path, address: str) -> dict[str, RemoteFile]:
    """The images that a file of JSON lines names, from its folder on; lines that are none are left to who reads the copy."""
    folder, named = address.rpartition("/")[0], dict[str, None]()
    for line in read_bytes(copy).splitlines():
        with suppress(ValueError):
            row = parse_json(line) if line.strip() else None
            images = row.get("image") if isinstance(row, dict) else None
            named |= dict.fromkeys(each for each in (images if isinstance(images, list) else [images]) if isinstance(each, str))
    of_web = folder.startswith(WEB)
    addresses = {_inside(name, f"{name} of {address}"): join_address(folder, quote(name) if of_web else name) for name in named}
    described = _described(addresses.values())
    return {name: described[each] for name, each in addresses.items() if each in described}


def _described(addresses: Iterable[str]) -> dict[str, RemoteFile]:
    """Those that are files, several asked for at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return {file.address: file for file in pool.map(describe, addresses) if file is not None}


def _name_below(address: str, top: str, file: str) -> str:
    below = file.removeprefix(address)
    return _inside(top + (unquote(below) if address.startswith(WEB) else below), file)


def _inside(name: str, file: str) -> str:
    path = PurePosixPath(name)
    if ".." in path.parts or path.is_absolute() or "\0" in name:
        raise BadInput(f"{file} would be copied out of its folder; rename it")
    return str(path)


def _copy_missing(address: str, files: Mapping[str, RemoteFile], root: Path, limit: int) -> None:
    """Copy what is not there yet, several files at a time; what is whole is on record, however it ends."""
    stamps = {name: [file.size, file.mark] for name, file in files.items()}
    record = _record(root).items()
    copied = {name: stamp for name, stamp in record if stamps.get(name, stamp) == stamp and (root / name).is_file()}
    size = sum(file.size or 0 for file in files.values())
    if size > limit:
        raise BadInput(
            f"{address} has {size / 1e9:,.3g} GB and is copied to this machine, and --cache-gb allows {limit / 1e9:,.3g}; "
            "give more, or copy it yourself"
        )
    make_room(root, limit - size, _is_used)

    def copy(name: str, most: int = 0) -> None:
        _copy(files[name], root / name, most)
        copied[name] = stamps[name]

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for _ in pool.map(copy, [name for name in files if name not in copied and files[name].size is not None]):
            pass
        for name in [name for name in files if files[name].size is None]:  # one by one: nobody knows what else has room
            if name not in copied:
                copy(name, limit - size)
            size += (root / name).stat().st_size
    finally:
        pool.shutdown(cancel_futures=True)
        with whole_file(root / _RECORD, own=True) as temporary:
            temporary.write_bytes(json.dumps(copied).encode())


def _copy(file: RemoteFile, path: Path, most: int) -> None:
    """Copy a file; one of unknown size up to `most` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, own=True) as temporary:
        if file.size is None:
            copy_file(file.address, temporary, most)
            return
        with temporary.open("wb") as out:
            check_size(file.address, file.size, file.size, path.parent, LIMITS)
            shutil.copyfileobj(open_stream(file), out, _PIECE)


def _record(root: Path) -> dict[str, Any]:
    try:
        content = read_json(root / _RECORD)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Let no other process copy into the folder inside the block."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / _LOCK).open("a")
    except OSError as error:
        raise BadInput(
            f"cannot write to {root}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root not in _used:
            _used[root] = (root / _USED).open("a")
            fcntl.flock(_used[root], fcntl.LOCK_SH)
        os.utime(root)
        yield


def _is_used(root: Path) -> bool:
    with (root / _USED).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
