"""Files at addresses, through fsspec: object storage (s3://, gs://), web servers and repositories of Hugging Face (hf://).

    list_files      the files at and below an address
    describe        one file: its size, and a mark that changes with its content
    local_copy      one file while a block runs, in a temporary folder
    cached_files    some files of a folder, kept in a cache of bounded size for later calls
    write_at        a file, whole or not at all

Media readers read files on disk, so a file is copied whole before it is opened, one at a time. Keys and endpoints are
those that fsspec and the package of a scheme find themselves: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, FSSPEC_S3_ANON=true.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from tapetum.core.errors import BadInput, install_line
from tapetum.core.files import cache_folder, whole_file
from tapetum.core.limits import USUAL, check_size, is_visible, linked_files, receiving
from tapetum.core.reading import is_address, open_file, read_json

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub"}
"""Schemes of addresses that are read, and the package that fsspec needs for each."""
MOST_CACHED = 20 << 30
"""Bytes that `cached_files` keeps; what was used longest ago goes first."""
LIMITS = USUAL
"""What is taken of a server."""
WEB = "http://", "https://"
_OF_CONTENT = "md5Hash", "Content-MD5", "blob_id"
_OF_CHANGES = "ETag", "etag", "generation", "LastModified", "Last-Modified", "updated"
"""Under which names the file systems of fsspec have a digest of the content, or something that changes with it; that of two
files of a web server may be the same."""
_LIBRARIES = "aiohttp", "botocore", "aiobotocore", "s3fs", "gcsfs", "google", "httpx", "requests", "urllib3", "huggingface_hub"
"""Packages that raise classes of their own where a server refuses, or cannot be reached."""
_RECORD, _NEW = "files.json", ".new-"
_BEING_MADE_S = 86400
"""Seconds after which a folder of copies that is not whole belongs to a process that was killed."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address."""

    address: str
    size: int | None
    """Bytes; None where the server does not say."""
    mark: str
    """Changes when the content does, and is another for other content; "" where the server says nothing of that kind."""

    def __str__(self) -> str:
        return self.address


def has_address(given: object, lists: int = 2) -> bool:
    """Check whether this is an address, or at most `lists` nested lists or tuples that contain one.

    >>> has_address(["a.jpg", "s3://bucket/b.jpg"]), has_address(["a.jpg"])
    (True, False)
    """
    if isinstance(given, list | tuple):
        return lists > 0 and any(has_address(each, lists - 1) for each in given)
    return is_address(given)


def check_address(address: str) -> None:
    """Raise BadInput for an address with an unsupported scheme, without a place, or with a password in it.

    >>> check_address("ftp://example.org/photos")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: 'ftp://example.org/photos' has the scheme ftp; give s3://, gs://, http://, https:// or hf://
    """
    scheme = address.partition("://")[0]
    if scheme not in PACKAGES:  # fsspec knows them in small letters alone
        *others, last = (f"{name}://" for name in PACKAGES)
        raise BadInput(f"{address[:200]!r} has the scheme {scheme}; give {', '.join(others)} or {last}")
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit(f"{scheme}://")
    if not parts.netloc or "::" in address or not address.isprintable():
        raise BadInput(f"{address[:200]!r} is no address of files; give one such as s3://bucket/folder")
    if "@" in parts.netloc:
        raise BadInput(f"{scheme}://...@{parts.netloc.rpartition('@')[2]} has a user or a password in it; leave them out")


def name_at(address: str) -> str:
    """Find the name of the file at an address.

    >>> name_at("https://example.org/photos/a%20dog.JPG?size=2")
    'a dog.JPG'
    """
    path = urlsplit(address).path if address.startswith(WEB) else address
    return PurePosixPath(unquote(path)).name


def join_address(address: str, name: str) -> str:
    """Compute the address of `name` in the folder at an address."""
    return f"{address.rstrip('/')}/{name}"


def describe(address: str) -> RemoteFile | None:
    """Request size and mark of a file; None if it does not exist. Raises BadInput if the server cannot be reached.

    A web server's page of links for a folder is not a file.
    """
    with reaching(address):
        system, path = open_system(address)
        try:
            about = _info(system, address, path)
        except FileNotFoundError as error:
            if is_unreachable(error):
                raise
            return None
    is_page = about.get("mimetype") == "text/html" and not name_at(address).endswith((".html", ".htm"))
    return None if is_page or about.get("type") == "directory" else _remote_file(address, about)


def list_files(address: str) -> list[RemoteFile]:
    """List the files below an address, sorted, without hidden ones and those in hidden folders.

    A web server must answer with a page of links, like those of plain folders; only links to addresses below are followed.
    Raises BadInput if the address cannot be listed, or leads to more than `LIMITS` allow.
    """
    with reaching(address):
        system, path = open_system(address)
        if address.startswith(WEB):
            return [RemoteFile(name, None, "") for name in sorted(linked_files(system, path, LIMITS))]
        listed = system.find(path, detail=True)
        scheme, root = address.partition("://")[0], path.rstrip("/")
        return [
            _remote_file(f"{scheme}://{name}", about)
            for name, about in sorted(listed.items())
            if about.get("type") == "file" and is_visible(name.removeprefix(root))
        ]


@contextmanager
def local_copy(address: str) -> Iterator[Path]:
    """Copy a file into a temporary folder, under its own name, while the block runs.

    Raises BadInput if it cannot be read, or is larger than the free disk space.
    """
    check_address(address)
    with tempfile.TemporaryDirectory(prefix="tapetum-") as folder:
        path = Path(folder, name_at(address) or "file")
        copy_file(address, path)
        yield path


def cached_files(address: str, names: Sequence[str]) -> Path:
    """Copy those of some files of the folder at an address that exist into a cache; returns the folder of the copies.

    A later call copies nothing if the server still has the same files (size and mark) and the copies still have the same
    SHA-256. Raises BadInput if none exists, one cannot be read, or they change while they are copied.
    """
    there = _described(address, names)
    if not there:
        raise BadInput(f"there is none of {', '.join(names)} at {address}; check the address")
    stamp = [[name, file.size, file.mark] for name, file in there.items()]
    place = cache_folder("addresses") / hashlib.sha256(json.dumps([address, stamp]).encode()).hexdigest()[:32]
    if not (all(file.mark for file in there.values()) and _is_whole(place, there)):
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=_NEW) as folder:
            inside = Path(folder, place.name)
            inside.mkdir()
            for name, file in there.items():
                copy_file(file.address, inside / name)
            if _described(address, names) != there:
                raise BadInput(f"the files at {address} changed while they were copied; try again when that is done")
            with whole_file(inside / _RECORD, own=True) as temporary:
                sums = {name: _sum_of(inside / name) for name in there}
                temporary.write_bytes(json.dumps({"address": address, "sha256": sums}).encode())
            with suppress(OSError):  # another process was faster
                inside.rename(place)
        make_room(place, MOST_CACHED - folder_size(place), _is_being_made)
    os.utime(place)
    return place


def _described(address: str, names: Sequence[str]) -> dict[str, RemoteFile]:
    files = {name: describe(join_address(address, name)) for name in names}
    return {name: file for name, file in files.items() if file is not None}


def _is_whole(place: Path, there: dict[str, RemoteFile]) -> bool:
    try:
        sums = read_json(place / _RECORD)["sha256"]
        return sums.keys() == there.keys() and all(_sum_of(place / name) == sums[name] for name in there)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sum_of(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_room(newest: Path, room: int, is_used: Callable[[Path], bool]) -> None:
    """Remove the least recently used folders beside `newest`, until the others fit in `room` bytes; those in use stay."""
    with suppress(OSError):  # another process makes room too
        others = sorted((each for each in newest.parent.iterdir() if each != newest), key=lambda each: -each.stat().st_mtime)
        for folder in others:
            room -= folder_size(folder)
            if room < 0 and not is_used(folder):
                shutil.rmtree(folder, ignore_errors=True)


def folder_size(folder: Path) -> int:
    """Sum the bytes of the files in and below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _is_being_made(folder: Path) -> bool:
    return folder.name.startswith(_NEW) and time.time() - folder.stat().st_mtime <= _BEING_MADE_S


def copy_file(address: str, path: Path, most: int = USUAL.most) -> None:
    """Copy a file as long as it does not exceed its stated size, or `most` bytes, and the disk has room.

    Raises BadInput if it does, or cannot be read.
    """
    with reaching(address):
        system, name = open_system(address)
        size = _info(system, address, name).get("size")
        check_size(address, size or 0, size or 0, path.parent, LIMITS)
        most = min(LIMITS.unsaid if size is None else size, most)
        watch = {"callback": receiving(address, most, LIMITS, path.parent)} if address.startswith(WEB) else {}
        system.get_file(name, str(path), **watch)
        if not path.is_file() or (size is not None and path.stat().st_size != size):
            raise BadInput(f"{address} broke off before its {size:,} bytes were there; try again")


def _info(system: Any, address: str, path: str) -> dict[str, Any]:
    """The server's description of a file, within the time limit."""
    return system.info(path, **({"timeout": LIMITS.answer} if address.startswith(WEB) else {}))


def _remote_file(address: str, about: dict[str, Any]) -> RemoteFile:
    digests = (*_OF_CONTENT, "ETag") if address.startswith("s3://") else _OF_CONTENT
    name = next((name for name in (*digests, *_OF_CHANGES) if about.get(name)), None)
    mark = "" if name is None else str(about[name]) if name in digests else f"{about[name]} of {address}"
    return RemoteFile(address, about.get("size"), mark)


def open_system(address: str) -> tuple[Any, str]:
    """Open the fsspec file system for an address; returns it and the path in it. Earlier listings are requested again."""
    check_address(address)
    import fsspec

    settings: dict[str, Any] = {}
    if address.startswith(WEB):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=LIMITS.answer, sock_read=LIMITS.stall)
        settings["client_kwargs"] = {"timeout": limits}
    system, path = fsspec.url_to_fs(address, **settings)
    system.invalidate_cache()
    return system, path


@contextmanager
def reaching(address: str, done: str = "read") -> Iterator[None]:
    """Raise BadInput for errors of servers and their packages; `done` says what is done to the file there."""
    try:
        yield
    except ImportError as error:
        package = PACKAGES[address.partition("://")[0].lower()]
        raise BadInput(f"{address} is read with the package {package}: {install_line('addresses')}") from error
    except FileNotFoundError as error:
        if is_unreachable(error):
            raise BadInput(f"cannot read {address}: {_one_line(error.__cause__ or error)}") from error
        raise BadInput(f"there is nothing at {address}; check the address") from error
    except PermissionError as error:
        keys = "check AWS_ACCESS_KEY_ID or the like"
        raise BadInput(f"{address} may not be {done} with the keys that are here; {keys}") from error
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise BadInput(f"cannot read {address}: {_one_line(error)}") from error


def is_unreachable(error: FileNotFoundError) -> bool:
    """Check whether a web server is unreachable, which fsspec reports as a missing file."""
    return isinstance(error.__cause__, TimeoutError) or type(error.__cause__).__name__.startswith("ClientConnect")


def _one_line(error: BaseException) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:200]


def check_writable(address: str) -> None:
    """Write a small file below an address and remove it. Raises BadInput if that fails."""
    if address.lower().startswith(WEB):
        raise BadInput(f"{address} cannot be written to; give a folder, or an address such as s3://bucket/folder")
    trial = join_address(address, "trial")
    write_at(trial, b"trial")
    with _writing(trial) as (system, path):
        system.rm_file(path)


def write_at(address: str, content: bytes) -> None:
    """Write a file, whole or not at all. Raises BadInput if it cannot be written."""
    with _writing(address) as (system, path):
        system.pipe_file(path, content)


def remove_below(address: str, first: str) -> None:
    """Remove all files below an address, the one named `first` before the others."""
    files = (file.address for file in list_files(address))
    for file in sorted(files, key=lambda each: each != join_address(address, first)):
        with _writing(file) as (system, path):
            system.rm_file(path)


@contextmanager
def _writing(address: str) -> Iterator[tuple[Any, str]]:
    with reaching(address, "written"):
        yield open_system(address)
