"""Parts of files at addresses, read again if a connection breaks, and stored in a disk cache of bounded size.

    read_part       a range of bytes of a file, in up to three tries
    RemoteCache     the same through the cache, with parts read ahead in the background
    open_stream     a file from beginning to end, without the cache

    file   |   block 0   |   block 1   |   block 2   | ...    each block of 256 KiB is a file of the cache
                      [ a sample ]                            blocks 0 and 1 are read, each once

Any number of threads and processes may share a cache: a block is written whole or not at all, and a block that another process
has removed in the meantime is read again. Least recently used blocks are removed first. A full disk ends caching, not the run.

fsspec reads the bytes; its own block cache is not used: it is unbounded, each process keeps its own list of blocks and reads
all of it with every file it opens, and a file that another process has removed is read as zeros.
"""

import hashlib
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from tapetum.core.addresses import LIMITS, MOST_CACHED, WEB, RemoteFile, is_unreachable, open_system, reaching
from tapetum.core.errors import BadInput, TapetumError, UnreachableAddress
from tapetum.core.files import cache_folder, whole_file
from tapetum.core.limits import receiving
from tapetum.core.reading import read_bytes

BLOCK = 256 << 10
"""Bytes of a block: about two images, so that an image at random does not bring a hundred others with it."""
PAUSES_S: Sequence[float] = (0.5, 2.0)
"""Seconds before the second try, and before the third."""
_THREADS = 16
"""Parts that a process reads at a time: what they wait for is the way to the server, not the processor."""
_STREAMED = 4 << 20
"""Bytes that are read at a time from the beginning of a file to its end."""
_UNFINISHED_S = 86400
"""Seconds after which a file that is not whole belongs to a process that was killed."""
_TRY_AGAIN = 408, 429
"""Answers of web servers that they may give another time: too slow, too many requests."""


def read_part(
    file: RemoteFile,
    start: int = 0,
    stop: int | None = None,
    *,
    pauses: Sequence[float] | None = None,
    until: float | None = None,
) -> bytes:
    """Read the bytes of a file from `start` to `stop`, by default to its end; retry after each of `pauses`.

    Errors that a retry cannot fix, such as missing rights, are not retried. Raises UnreachableAddress, `until` (by
    `time.monotonic`, default `_deadline`) at the latest.
    """
    pauses = PAUSES_S if pauses is None else pauses
    until = _deadline(file, start, stop) if until is None else until
    for tries, pause in enumerate((*pauses, None), 1):
        try:
            with reaching(file.address):
                return _read_once(file, start, stop, until)
        except BadInput as error:
            if _is_final(error.__cause__):
                raise UnreachableAddress(str(error)) from error
            if pause is None or time.monotonic() + pause >= until:
                failed = "a try" if tries == 1 else f"{tries} tries"
                raise UnreachableAddress(f"{error}; {failed} failed: run the same command again to go on") from error
            time.sleep(pause)
    raise AssertionError  # the last pause is None


def _deadline(file: RemoteFile, start: int, stop: int | None) -> float:
    """When reading a part is given up, by `time.monotonic`."""
    size = (file.size or 0) - start if stop is None else stop - start
    return time.monotonic() + LIMITS.part * max(1.0, size / _STREAMED)


def _read_once(file: RemoteFile, start: int, stop: int | None, until: float) -> bytes:
    system, path = open_system(file.address)
    size, part = (file.size, {}) if stop is None else (stop - start, {"start": start, "end": stop})
    wait = {"timeout": max(until - time.monotonic(), 0.01)} if system.async_impl else {}
    try:
        if file.address.startswith(WEB):
            data = _read_web(system, path, size, part, wait)
        else:
            data = system.cat_file(path, **part, **wait)
    except TimeoutError as error:
        if time.monotonic() < until:
            raise
        raise OSError(f"it was not there within {LIMITS.part:g} seconds") from error
    if size is not None and len(data) != size:
        raise OSError(f"it broke off after {len(data):,} of {size:,} bytes")
    return data


def _read_web(system: Any, path: str, size: int | None, part: dict[str, int], wait: dict[str, float]) -> bytes:
    """Read a file of a web server, or a part of it, and never more than requested, whatever the server sends."""
    data = io.BytesIO()
    headers = {"headers": {"Range": f"bytes={part['start']}-{part['end'] - 1}"}} if part else {}
    most = LIMITS.unsaid if size is None else min(size, LIMITS.unsaid)
    try:
        system.get_file(path, data, callback=receiving(path, most, LIMITS), **headers, **wait)
    except BadInput:
        if part and data.tell() > most:
            raise BadInput(
                f"{path} is on a server that sends no parts of files (ranges); use another, or copy the files"
            ) from None
        raise
    return data.getvalue()


def _is_final(cause: BaseException | None) -> bool:
    """Whether an error would persist on a retry."""
    if isinstance(cause, FileNotFoundError):
        return not is_unreachable(cause)
    status = getattr(cause, "status", None)
    refused = isinstance(status, int) and 400 <= status < 500 and status not in _TRY_AGAIN
    return cause is None or refused or isinstance(cause, PermissionError | ImportError)


class RemoteCache:
    """Parts of files at addresses, through a folder on this machine's disk."""

    def __init__(self, limit: int = MOST_CACHED, folder: Path | None = None):
        """Open the cache.

        Args:
            limit: bytes to store, and up to a 64th more per reading process; 0: nothing is stored or read ahead.
            folder: where; by default tapetum/parts in $XDG_CACHE_HOME (~/.cache).
        """
        self.limit = limit
        self.folder = folder or cache_folder("parts")
        self._unmarked = uuid4().hex
        """Stands for the mark of files that have none: what is kept of them is of this run alone."""
        self._begin()

    def _begin(self) -> None:
        self._guard = threading.Lock()
        self._being_read: dict[Path, threading.Lock] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._unchecked = self.limit  # so that the first block that is stored makes room for itself

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "folder": self.folder, "_unmarked": self._unmarked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def read(self, file: RemoteFile, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on, of a file whose total size is known. Raises UnreachableAddress."""
        if not size:
            return b""
        if not self.limit:
            return read_part(file, offset, offset + size)
        blocks = _blocks(offset, size)
        self._queue((file, number) for number in blocks[1:])
        data = b"".join(self._part(file, number) for number in blocks)
        return data[offset - BLOCK * blocks.start :][:size]

    def read_whole(self, file: RemoteFile) -> bytes:
        """Read all of a file. Raises UnreachableAddress."""
        return self._part(file, None) if self.limit else read_part(file)

    def read_ahead(self, parts: Iterable[tuple[RemoteFile, int, int]]) -> None:
        """Start reading parts (file, offset, size) into the cache in the background; `read` retries failed ones."""
        self._queue((file, number) for file, offset, size in parts for number in _blocks(offset, size))

    def read_ahead_whole(self, files: Iterable[RemoteFile]) -> None:
        """Start reading whole files in the background, like `read_ahead`."""
        self._queue((file, None) for file in files)

    def _queue(self, parts: Iterable[tuple[RemoteFile, int | None]]) -> None:
        if not self.limit:
            return
        for file, number in dict.fromkeys(parts):
            path = self._path(file, number)
            with self._guard:
                if path in self._being_read or path.exists():
                    continue
                pool = self._pool = self._pool or ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead")
            with suppress(RuntimeError):  # another thread has just given up reading ahead
                pool.submit(self._read_ahead, file, number)

    def _read_ahead(self, file: RemoteFile, number: int | None) -> None:
        try:
            self._part(file, number, pauses=())
        except TapetumError:  # whoever needs it tries again, and says what is wrong
            with self._guard:
                pool, self._pool = self._pool, None
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    def _part(self, file: RemoteFile, number: int | None, pauses: Sequence[float] | None = None) -> bytes:
        path = self._path(file, number)
        start, stop = (0, None) if number is None else (number * BLOCK, min((number + 1) * BLOCK, file.size or 0))
        size = file.size if stop is None else stop - start
        until = _deadline(file, start, stop)
        with self._guard:
            lock = self._being_read.setdefault(path, threading.Lock())
        try:
            if not lock.acquire(timeout=until - time.monotonic()):  # what reads ahead waits for it too
                raise UnreachableAddress(f"cannot read {file}: it was not there within {LIMITS.part:g} seconds; run again")
            try:
                data = _stored(path, size)
                if data is None:
                    data = read_part(file, start, stop, pauses=pauses, until=until)
                    self._store(path, data)
                return data
            finally:
                lock.release()
        finally:
            with self._guard:
                self._being_read.pop(path, None)

    def _path(self, file: RemoteFile, number: int | None) -> Path:
        about = json.dumps([file.address, file.size, file.mark or self._unmarked, BLOCK, number])
        name = hashlib.sha256(about.encode()).hexdigest()[:40]
        return self.folder / name[:2] / name[2:]

    def _store(self, path: Path, data: bytes) -> None:
        with suppress(BadInput, OSError):  # it saves time and no more
            path.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(path.parent).free < len(data) + LIMITS.reserve:
                return
            with whole_file(path, own=True) as temporary:
                temporary.write_bytes(data)
            with self._guard:
                self._unchecked += len(data)
                if self._unchecked <= self.limit // 64:
                    return
                self._unchecked = 0
            self._make_room()

    def _make_room(self) -> None:
        """Remove the least recently used blocks until the rest is within the limit."""
        files: list[tuple[float, int, str]] = []
        now = time.time()
        for folder in os.scandir(self.folder):
            with suppress(OSError):  # another process makes room too
                for entry in os.scandir(folder.path):
                    state = entry.stat()
                    if not entry.name.startswith(".") or now - state.st_mtime > _UNFINISHED_S:
                        files.append((state.st_mtime, state.st_size, entry.path))
        size = sum(each for _, each, _ in files)
        for _, each, path in sorted(files):
            if size <= self.limit:
                break
            with suppress(OSError):
                os.unlink(path)
            size -= each


def cache_of(gigabytes: float) -> RemoteCache:
    """Open the cache with this size in gigabytes. Raises BadInput for a number that is not a size.

    >>> cache_of(-1)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: --cache-gb is -1; give gigabytes, or 0 to keep nothing
    """
    if not 0 <= gigabytes < float("inf"):
        raise BadInput(f"--cache-gb is {gigabytes}; give gigabytes, or 0 to keep nothing")
    return RemoteCache(round(gigabytes * 1e9))


def _blocks(offset: int, size: int) -> range:
    """Numbers of the blocks that contain these bytes.

    >>> _blocks(BLOCK - 1, 2), _blocks(5, 0)
    (range(0, 2), range(0, 0))
    """
    return range(offset // BLOCK, (offset + size - 1) // BLOCK + 1) if size else range(0)


def _stored(path: Path, size: int | None) -> bytes | None:
    """The bytes from the cache, marked as most recently used; None if some or all are missing."""
    try:
        data = read_bytes(path)
        os.utime(path)
    except OSError:
        return None
    return data if size is None or len(data) == size else None


def open_stream(file: RemoteFile) -> IO[bytes]:
    """Open a file of known size at an address, to read it from end to end, some megabytes at a time."""
    from fsspec.spec import AbstractBufferedFile

    class Stream(AbstractBufferedFile):
        def _fetch_range(self, start: int, end: int) -> bytes:
            return read_part(file, start, end)

    return Stream(None, file.address, block_size=_STREAMED, cache_type="readahead", size=file.size)  # pyright: ignore
