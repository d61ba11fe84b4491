"""Downloads of plain addresses by pooch, each with a record of the file beside it; repositories come by `tapetum.hub.fetch`.

    FILE             the whole file, whose SHA-256 matches the record
    FILE.json        the record: address, size and SHA-256
    FILE.part        what has arrived so far, with the server's identifier of the version in FILE.part.version

A file without a record was put there by the user, and is used as it is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, write_json
from tapetum.core.reading import read_json, read_text, sha256_of

Progress = Callable[[int, int | None], None]
_TIMEOUT = 30.0
"""Seconds in which a server must send something."""
_TRIES, _PAUSE = 4, 1.0
"""In one call, and seconds between them."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a file must be."""

    source: str
    """Address, or the SHA-256 of the file that it was converted from."""
    size: int
    """Bytes."""
    sha256: str
    version: str | None = None
    """The server's identifier of the version, in records of tapetum 0.1.0."""


def record_of(path: Path) -> Record | None:
    """Read the record beside `path`, if it exists; raises BadInput if it cannot be read."""
    file = _record(path)
    if not file.exists():
        return None
    try:
        return Record(**read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"the record {file} cannot be read ({error}); remove it and fetch {path.name} again") from error


def write_record(path: Path, record: Record) -> None:
    write_json(_record(path), asdict(record), own=True)


def discard(path: Path) -> None:
    """Remove a fetched file at `path` with its record; a file without a record stays."""
    if (record := _record(path)).exists():
        record.unlink()
        path.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raise BadInput, naming the file, unless it matches its record; a file without a record passes."""
    record = record_of(path)
    if record is None:
        return
    size = path.stat().st_size
    if size != record.size:
        raise BadInput(f"{path} has {size} bytes where {record.size} were fetched: remove it and fetch it again")
    digest = sha256_of(path)
    if digest != record.sha256:
        sums = f"SHA-256 {digest[:12]}, not {record.sha256[:12]}"
        raise BadInput(f"{path} has changed since it was fetched ({sums}): remove it and fetch it again")


def check_sum(path: Path, sha256: str | None) -> None:
    """Raise BadInput, naming the file, unless its SHA-256 is `sha256`; None passes."""
    if sha256 is not None and (digest := sha256_of(path)) != sha256:
        raise BadInput(
            f"{path} is not what was published (SHA-256 {digest[:12]}, not {sha256[:12]}): install or fetch it again"
        )


def check_address(url: str) -> None:
    """Raise BadInput for text that is not the address of a file on a server.

    >>> check_address("http://[::1")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: 'http://[::1' is no address to fetch from; give one such as https://example.org/folder
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not (good and url.isascii() and url.isprintable() and " " not in url):
        raise BadInput(f"{url[:200]!r} is no address to fetch from; give one such as https://example.org/folder")


def download(
    url: str, target: Path, *, sha256: str | None = None, progress: Progress = lambda done, size: None, most: int = 1 << 41
) -> Record:
    """Download `url` to `target`, unless it exists, and write its record; resume an earlier call.

    Args:
        sha256: of the file, if known; otherwise it is recorded, and checked from then on.
        progress: called with the bytes received and the total, None if the server does not state it.
        most: bytes of the file that are accepted.

    Raises:
        BadInput: the address is invalid, the server does not have it or cannot be reached, the data is too large or not what
            was published, or it cannot be written.
    """
    check_address(url)
    if target.exists():
        check(target)
        return record_of(target) or Record(source=url, size=target.stat().st_size, sha256=sha256_of(target))
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        downloader: Any = _Resuming(target.with_name(target.name + ".part"), progress, most)
        pooch.retrieve(url, sha256 and f"sha256:{sha256}", target.name, target.parent, downloader=downloader)
        record = Record(source=url, size=target.stat().st_size, sha256=sha256_of(target))
        write_record(target, record)
    except requests.HTTPError as error:
        answer: Any = error.response
        raise BadInput(f"{url} cannot be had ({answer.status_code} {answer.reason}); check the name or try later") from error
    except requests.RequestException as error:
        reason = " ".join(str(error).split())[:120]
        raise BadInput(f"{url} cannot be reached ({reason}); what has come is kept, run again to go on") from error
    except ValueError as error:  # another hash than known, or a length that is no number
        raise BadInput(f"what came from {url} is not what it should be ({' '.join(str(error).split())[:120]})") from error
    except OSError as error:
        raise cannot_write(target, error) from error
    return record


@dataclass
class _Resuming:
    """A downloader for pooch that keeps what has arrived in a file, and requests the rest, a few times or in the next call."""

    part: Path
    progress: Progress
    most: int

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        version = self.part.with_name(self.part.name + ".version")
        for left in reversed(range(_TRIES)):
            try:
                self._receive(url, version)
                break
            except requests.RequestException as error:
                if not left or (error.response is not None and error.response.status_code < 500):
                    raise
                time.sleep(_PAUSE)
        self.part.replace(output_file)
        version.unlink(missing_ok=True)

    def _receive(self, url: str, version: Path) -> None:
        import requests

        have = self.part.stat().st_size if self.part.exists() and version.exists() else 0
        headers = {"User-Agent": "tapetum", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": read_text(version)}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == 416:
                self.part.unlink()  # the server has a shorter file now
                raise requests.ConnectionError("the server has another file now")
            response.raise_for_status()
            have = have if response.status_code == 206 else 0
            tag = response.headers.get("ETag", "")
            version.unlink(missing_ok=True)
            if tag and not tag.startswith("W/"):
                version.write_bytes(tag.encode())
            length = response.headers.get("Content-Length")
            total = None if length is None else have + int(length)
            with self.part.open("ab" if have else "wb") as file:
                for piece in response.iter_content(1 << 16):
                    have += len(piece)
                    if max(have, total or 0) > self.most:
                        self.part.unlink()
                        raise BadInput(f"{url} has more than {self.most:,} bytes, which is not accepted; check the address")
                    file.write(piece)
                    self.progress(have, total)
            if total is not None and have != total:  # urllib3 below 2 takes a short answer for the whole
                raise requests.ConnectionError(f"{have:,} of {total:,} bytes came")


@contextmanager
def loading_by_name() -> Iterator[None]:
    """Raise ConnectionError for the errors of libraries that fetch by themselves, each with its own classes."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _NETWORKING:
            raise
        raise ConnectionError(" ".join(str(error).split())[:200] or type(error).__name__) from error


_NETWORKING = "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "huggingface_hub"


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".json")
