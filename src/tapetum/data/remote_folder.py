"""A data set at an address, copied to this machine: for layouts whose files are opened by their paths.

    ~/.cache/tapetum/folders/0f3c.../photos/train/a/0.jpg     copies, under the names that the files have at the address
                             0f3c.../files.json               size and mark of each copy that is whole

What was copied is not copied again while the server says the same of it, so that a command that was stopped goes on where it
was. Copies have a bound: a larger data set is refused, and of others the one that was used longest ago goes first. Images and
shards that are read one by one need no copy (`tapetum.data.remote`, `tapetum.data.shards`).
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote

from tapetum.core.addresses import RemoteFile, check_address, describe, is_address, list_files, name_at
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import read_json
from tapetum.core.remote_cache import RemoteCache, RemoteStream, read_part

_RECORD, _LOCK, _USED = "files.json", ".lock", ".used"
_THREADS = 16
"""Files that are copied at a time."""
_PIECE = 4 << 20
_used: dict[Path, IO[str]] = {}
"""Locks of the folders that this process has opened: no other process removes them while it lives."""


def local_place(place: str | Path, cache: RemoteCache) -> Path:
    """Find data on this machine: a path as it is; of an address the folder, or the .parquet file, of the copies, made first.

    Of `cache` its limit is taken. Processes of one machine may call it together: one copies, and the others wait. Raises
    BadInput where there is nothing, for more bytes than the cache may have, and for names that would lie outside of the folder;
    Unreachable where a file cannot be read.
    """
    if not isinstance(place, str) or not is_address(place):
        return Path(place)
    check_address(place)
    place = place.rstrip("/")
    name = name_at(place) or "data"
    files = _files_at(place, name)
    root = _folders() / hashlib.sha256(place.encode()).hexdigest()[:32]
    with _locked(root):
        _copy_missing(place, files, root, cache.limit)
        for path in (root / name).rglob("*"):
            if path.is_file() and path.relative_to(root).as_posix() not in files:  # it is no more at the address
                path.unlink()
    return root / name


def _files_at(address: str, top: str) -> dict[str, RemoteFile]:
    """The files below an address, or the one there, by the names that their copies have, which begin with `top`."""
    if top.endswith(".parquet"):
        file = describe(address)
        listed = [] if file is None else [file]
    else:
        listed = list_files(address)
        with ThreadPoolExecutor(_THREADS) as pool:  # a web server says of each file alone how large it is
            described = list(pool.map(lambda file: file if file.mark else describe(file.address), listed))
        listed = [file for file in described if file is not None]
    if not listed:
        raise BadInput(f"there is nothing at {address}; check the address")
    return {_name_below(address, top, file.address): file for file in listed}


def _name_below(address: str, top: str, file: str) -> str:
    below = file.removeprefix(address)
    path = PurePosixPath(top + (unquote(below) if address.startswith(("http://", "https://")) else below))
    if ".." in path.parts or "\0" in str(path):
        raise BadInput(f"{file} would be copied out of its folder; rename it")
    return str(path)


def _copy_missing(address: str, files: Mapping[str, RemoteFile], root: Path, limit: int) -> None:
    """Copy what is not there yet, several files at a time; what is whole is on record, however it ends."""
    stamps = {name: [file.size, file.mark] for name, file in files.items()}
    record = _record(root)
    copied = {name: stamp for name, stamp in stamps.items() if record.get(name) == stamp and (root / name).is_file()}
    size = sum(file.size or 0 for file in files.values())
    if size > limit:
        raise BadInput(
            f"{address} has {size / 1e9:,.3g} GB and is copied to this machine, and --cache-gb allows {limit / 1e9:,.3g}; "
            "give more, or copy it yourself"
        )
    _make_room(root, limit - size)

    def copy(name: str) -> None:
        _copy(files[name], root / name)
        copied[name] = stamps[name]

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for _ in pool.map(copy, [name for name in files if name not in copied]):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
        with whole_file(root / _RECORD, own=True) as temporary:
            temporary.write_bytes(json.dumps(copied).encode())


def _copy(file: RemoteFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, own=True) as temporary, temporary.open("wb") as out:
        if file.size is None:
            out.write(read_part(file))
        else:
            shutil.copyfileobj(RemoteStream(file).buffered(), out, _PIECE)


def _record(root: Path) -> dict[str, Any]:
    try:
        content = read_json(root / _RECORD)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _folders() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tapetum" / "folders"


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


def _make_room(root: Path, room: int) -> None:
    """Remove the copies that were used longest ago, and that no process uses, until the others have `room` bytes at most."""
    with suppress(OSError):  # another process makes room too
        others = sorted((each for each in root.parent.iterdir() if each != root), key=lambda each: -each.stat().st_mtime)
        for each in others:
            room -= sum(file.stat().st_size for file in each.rglob("*") if file.is_file())
            if room < 0 and not _is_used(each):
                shutil.rmtree(each, ignore_errors=True)


def _is_used(root: Path) -> bool:
    with (root / _USED).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
