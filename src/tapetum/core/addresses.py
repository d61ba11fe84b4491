"""Files at addresses, through fsspec: object storage (s3://, gs://), web servers and repositories of Hugging Face (hf://).

    list_files       the files below an address
    describe         one file: its size, and a mark that changes with its content
    copy_files       some files, to paths on this machine
    temporary_copy   one file while a block runs

Media readers read files on disk, so a file is copied before it is opened (`tapetum.data.remote_folder` keeps the copies). Keys
and endpoints are those that fsspec and the package of a scheme find: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, FSSPEC_S3_ANON=true.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from tapetum.core.errors import BadInput, install_line
from tapetum.core.reading import is_address

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub"}
"""Supported schemes, and the package that fsspec needs for each."""
WEB = "http://", "https://"
_MARKS = "md5Hash", "Content-MD5", "blob_id", "ETag", "etag", "generation", "LastModified", "Last-Modified", "updated"
"""What the file systems of fsspec call something that changes with the content."""
_LIBRARIES = "aiohttp", "botocore", "aiobotocore", "s3fs", "gcsfs", "google", "httpx", "requests", "urllib3", "huggingface_hub"
"""Packages that raise classes of their own if a server refuses or cannot be reached."""
ANSWER_SECONDS, STALL_SECONDS = 20.0, 60.0
"""For which a server's answer, and the next part of a file, is waited for."""
MOST_BYTES, RESERVED_BYTES = 1 << 41, 512 << 20
"""Of a file that is copied, and those that stay free on the disk."""
_PAGE_BYTES = 64 << 20
"""Maximum size of a page of links."""
_DEPTH = 16
"""Maximum depth of folders on a web server, whose links may form a loop."""


@dataclass(frozen=True)
class RemoteFile:
    address: str
    size: int | None
    """Bytes; None if the server does not say."""
    mark: str
    """Changes with the content; "" if the server sends nothing of that kind."""


def has_address(given: object, lists: int = 2) -> bool:
    """Check whether this is an address, or contains one in up to `lists` nested lists or tuples.

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
    if scheme not in PACKAGES:
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
    with _reaching(address):
        system, path = _open_system(address)
        try:
            about = system.info(path)
        except FileNotFoundError as error:
            if _is_unreachable(error):
                raise
            return None
    is_page = about.get("mimetype") == "text/html" and not name_at(address).endswith((".html", ".htm"))
    return None if is_page or about.get("type") == "directory" else _remote_file(address, about)


def list_files(address: str) -> list[RemoteFile]:
    """List the files below an address, sorted, without hidden ones and those in hidden folders.

    A web server must answer with a page of links, like those of plain folders; only links to addresses below are followed.
    """
    with _reaching(address):
        system, path = _open_system(address)
        if address.startswith(WEB):
            return [RemoteFile(name, None, "") for name in sorted(_linked_files(system, path.rstrip("/") + "/", _DEPTH))]
        scheme, root = address.partition("://")[0], path.rstrip("/")
        return [
            _remote_file(f"{scheme}://{name}", about)
            for name, about in sorted(system.find(path, detail=True).items())
            if about.get("type") == "file" and _is_visible(name.removeprefix(root))
        ]


def _linked_files(system: Any, folder: str, depth: int) -> Iterator[str]:
    """Yield the files that the page of a folder on a web server, and those of its folders, link to."""
    for name in system.ls(folder, detail=False):
        below = name.removeprefix(folder)
        if not below or below == name or "?" in below or "#" in below or not _is_visible(below):
            continue
        if not name.endswith("/"):
            yield name
        elif depth:
            yield from _linked_files(system, name, depth - 1)
        else:
            raise BadInput(f"{name} is a folder in {_DEPTH} others, and they may never end; give a folder in it")


def _is_visible(below: str) -> bool:
    return not any(part.startswith(".") for part in below.split("/"))


def copy_files(address: str, copies: Mapping[str, Path]) -> None:
    """Copy files from addresses at and below `address`, the keys, to paths on this machine."""
    with _reaching(address):
        system, _ = _open_system(address)
        names = [name if name.startswith(WEB) else name.partition("://")[2] for name in copies]
        system.get(names, [str(path) for path in copies.values()])
        for name, path in copies.items():
            if not path.is_file():
                raise FileNotFoundError(name)


@contextmanager
def temporary_copy(address: str) -> Iterator[Path]:
    """Copy a file into a temporary folder, under its own name, while the block runs."""
    file = describe(address)
    if file is None:
        raise BadInput(f"there is nothing at {address}; check the address")
    with tempfile.TemporaryDirectory(prefix="tapetum-") as folder:
        check_room(address, known_size(file), Path(folder))
        path = Path(folder, name_at(address) or "file")
        copy_files(address, {address: path})
        yield path


def known_size(file: RemoteFile) -> int:
    """Get the size of a file. Raises BadInput if the server does not say it: its answer may have no end."""
    if file.size is None:
        raise BadInput(f"the server does not say how large {file.address} is; copy it to this machine yourself")
    return file.size


def check_room(address: str, size: int, folder: Path) -> None:
    """Raise BadInput if `size` bytes are more than a file may have, or than the folder has room for."""
    if size > MOST_BYTES:
        raise BadInput(f"{address} has {size:,} bytes or more, and {MOST_BYTES:,} are taken at most; check the address")
    if size > (free := shutil.disk_usage(folder).free - RESERVED_BYTES):
        raise BadInput(
            f"{address} has {size:,} bytes, and {folder} has room for {max(0, free):,}; free some or use another disk"
        )


def _remote_file(address: str, about: Mapping[str, Any]) -> RemoteFile:
    return RemoteFile(address, about.get("size"), next((str(about[name]) for name in _MARKS if about.get(name)), ""))


def _open_system(address: str) -> tuple[Any, str]:
    """Open the fsspec file system for an address; returns it and the path in it. Earlier listings are requested again."""
    check_address(address)
    import fsspec

    settings: dict[str, Any] = {}
    if address.startswith(WEB):
        import aiohttp

        class ServerAnswer(aiohttp.ClientResponse):
            """What a web server sends; as text, for which fsspec has no bound, it is a page of links."""

            async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
                body = bytearray()
                while part := await self.content.read(_PAGE_BYTES):
                    body += part
                    if len(body) > _PAGE_BYTES:
                        raise BadInput(f"the list of files at {address} has no end; give the address of one file")
                self._body = bytes(body)
                return await super().text(encoding, errors)

        limits = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS, sock_read=STALL_SECONDS)
        settings["client_kwargs"] = {"timeout": limits, "response_class": ServerAnswer}
    system, path = fsspec.url_to_fs(address, **settings)
    system.invalidate_cache()
    return system, path


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Raise BadInput for errors of servers and their packages."""
    try:
        yield
    except ImportError as error:
        package = PACKAGES[address.partition("://")[0]]
        raise BadInput(f"{address} is read with the package {package}: {install_line('addresses')}") from error
    except FileNotFoundError as error:
        if _is_unreachable(error):
            raise BadInput(f"cannot read {address}: {_one_line(error.__cause__ or error)}") from error
        raise BadInput(f"there is nothing at {address}; check the address") from error
    except PermissionError as error:
        keys = "check AWS_ACCESS_KEY_ID or the like"
        raise BadInput(f"{address} may not be read with the keys that are here; {keys}") from error
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise BadInput(f"cannot read {address}: {_one_line(error)}") from error


def _is_unreachable(error: FileNotFoundError) -> bool:
    """Check whether a web server is unreachable, which fsspec reports as a missing file."""
    return isinstance(error.__cause__, TimeoutError) or type(error.__cause__).__name__.startswith("ClientConnect")


def _one_line(error: BaseException) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:200]
