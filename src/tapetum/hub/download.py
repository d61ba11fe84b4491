"""Resumable HTTP downloads, each with a record of the file beside it.

    FILE             the whole file, whose SHA-256 matches the record
    FILE.json        the record: address, size, SHA-256, and the server's identifier of this version
    FILE.part        the part received so far, with FILE.part.json to check whether the rest still belongs to it

A file without a record was put there by the user, and is used as it is.
"""

import base64
import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from tapetum.core.errors import BadInput, Remark, install_line
from tapetum.core.files import cannot_write, whole_file, write_text
from tapetum.core.limits import USUAL, Limits, check_size
from tapetum.core.reading import open_file, read_json
from tapetum.hub.connection import Response, Unreachable, check_address, connect

_BETWEEN = 64 << 20
"""Bytes after which the disk is looked at again."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a file must be."""

    source: str
    """Address, or the SHA-256 of the file that it was converted from."""
    size: int
    """Bytes."""
    sha256: str
    version: str | None = None
    """The server's ETag."""


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
    """Write `record` beside `path`."""
    with whole_file(_record(path), own=True) as temporary:
        write_text(temporary, json.dumps(asdict(record), indent=1) + "\n")


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


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def crc32c(pieces: Iterable[bytes]) -> int | None:
    """Compute the CRC-32C (RFC 3720) of bytes in pieces; None, with one remark, if google-crc32c is not installed."""
    if (extend := _crc32c_extend()) is None:
        return None
    value = 0
    for piece in pieces:
        value = extend(value, piece)
    return value


@cache
def _crc32c_extend() -> Callable[[int, bytes], int] | None:
    try:
        from google_crc32c import extend
    except ImportError:
        text = f"CRC-32C sums are not checked, for google-crc32c is not installed: {install_line('addresses')}"
        warnings.warn(text, Remark, stacklevel=3)
        return None
    return extend


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Callable[[int, int | None], None] = lambda done, size: None,
    pause: float = 1.0,
    limits: Limits = USUAL,
    headers: Mapping[str, str] | None = None,
) -> Record:
    """Download `url` to `target`, unless it exists; resume an earlier call.

    Args:
        sha256: of the file, if known; otherwise it is recorded, and checked from then on.
        size: of the file in bytes, if known.
        progress: called with the bytes received and the total, None if the server does not state it; also about
            once a second while nothing arrives.
        pause: seconds before the second try; doubled after each try without progress.
        limits: on time, size and tries.
        headers: for the server only, not for one that it redirects to.

    Raises:
        BadInput: the address is invalid, the server does not have it, cannot be reached or is too slow, the data is too large
            or damaged, or it cannot be written. Received data is kept unless it is damaged.
    """
    from huggingface_hub.utils import WeakFileLock

    check_address(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(target.with_name(target.name + ".lock")):
            if target.exists():
                check(target)
                if size not in (None, have := target.stat().st_size):
                    raise BadInput(f"{target} has {have} bytes, and {size} were announced; remove it and fetch it again")
                return record_of(target) or Record(source=url, size=target.stat().st_size, sha256=sha256_of(target))
            return _Download(url, target, progress, pause, limits, headers or {}).run(sha256, size)
    except OSError as error:
        raise cannot_write(target, error) from error


@dataclass
class _Download:
    url: str
    target: Path
    progress: Callable[[int, int | None], None]
    pause: float
    limits: Limits
    headers: Mapping[str, str]
    size: int | None = None

    def __post_init__(self) -> None:
        self.part = self.target.with_name(self.target.name + ".part")
        self.note = self.target.with_name(self.target.name + ".part.json")

    def run(self, sha256: str | None, announced: int | None) -> Record:
        fails, most = 0, self._arrived()
        while True:
            try:
                headers, size = self._receive()
                break
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise BadInput(
                        f"{self.url} cannot be had ({error.code} {error.reason}); check the name or try later"
                    ) from error
                reason = f"{error.code} {error.reason}"
            except Unreachable as error:
                reason = str(error)
            have = self._arrived()
            fails = 0 if have - most >= max(self.limits.least, (self.size or 0) // 1000) else fails + 1
            most = max(most, have)  # of all tries: one that starts over brings nothing until it is beyond the others
            if fails >= self.limits.tries:
                raise BadInput(f"{self.url} cannot be reached ({reason}); {have} bytes are kept, run again to go on")
            time.sleep(self.pause * 2**fails)
        if announced not in (None, size):
            self._drop()
            raise BadInput(f"{self.url} has {size} bytes, and {announced} were announced; fetch it again")
        record = Record(source=self.url, size=size, sha256=sha256_of(self.part), version=headers.get("ETag"))
        self._judge(headers, record, sha256)
        write_record(self.target, record)
        self.part.replace(self.target)
        self.note.unlink(missing_ok=True)
        return record

    def _drop(self) -> None:
        self.part.unlink()
        self.note.unlink(missing_ok=True)

    def _arrived(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _version(self) -> str | None:
        """The server's identifier of the version of the existing part, if the rest can be requested."""
        try:
            note = read_json(self.note)
            return note["version"] if note["source"] == self.url and self.part.exists() else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _receive(self) -> tuple[http.client.HTTPMessage, int]:
        """Append the missing data; returns the headers and the total size once complete."""
        version, have = self._version(), self._arrived()
        request = urllib.request.Request(self.url, headers={"User-Agent": "tapetum", "Accept-Encoding": "identity"})
        for name, value in self.headers.items():
            request.add_unredirected_header(name, value)
        if version and have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", version)
        try:
            with connect(request, self.limits, lambda: self.progress(self._arrived(), self.size)) as answer:
                return answer.headers, self._written(answer, have)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            self.part.unlink(missing_ok=True)  # nothing of it is left to send: what is here is not a part of that
            raise Unreachable("the server has another file now") from error

    def _written(self, answer: Response, have: int) -> int:
        """Write the data after the `have` bytes received so far, or instead of them; returns the total size."""
        if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            self.part.unlink(missing_ok=True)
            raise Unreachable("the server sent another part than was asked for")
        if answer.status != 206:
            have = 0
            strong = answer.headers.get("ETag", "")
            note = {"source": self.url, "version": None if strong.startswith("W/") else strong or None}
            with whole_file(self.note, own=True) as temporary:
                write_text(temporary, json.dumps(note))
        length = answer.length
        self.size = None if length is None else have + length
        check_size(self.url, self.size or have, length or 0, self.part.parent, self.limits)
        looked = have
        with open(self.part, "ab" if have else "wb") as file:
            for piece in answer.pieces():
                have += len(piece)
                if have > self.limits.most or have - looked >= _BETWEEN:
                    check_size(self.url, have, len(piece), self.part.parent, self.limits)
                    looked = have
                file.write(piece)
                self.progress(have, self.size)
        if self.size is not None and have < self.size:
            raise Unreachable(f"the connection ended after {have} of {self.size} bytes")
        return have

    def _judge(self, headers: http.client.HTTPMessage, record: Record, sha256: str | None) -> None:
        """Raise BadInput, and delete the data, unless it has the known checksums."""
        sums = _announced_sums(headers)
        bad = sha256 is not None and record.sha256 != sha256
        if "md5" in sums:
            with open_file(self.part) as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
            bad |= digest != sums["md5"]
        elif "crc32c" in sums:  # all that the store knows of what was uploaded in parts
            with open_file(self.part) as file:
                crc = crc32c(iter(partial(file.read, 1 << 20), b""))
            bad |= crc is not None and crc.to_bytes(4, "big") != sums["crc32c"]
        if bad:
            self._drop()
            raise BadInput(f"what came from {self.url} is not what it should be (SHA-256 {record.sha256}); fetch it again")


def _announced_sums(headers: http.client.HTTPMessage) -> dict[str, bytes]:
    """Checksums that Google's store states for a file, by name."""
    sums = {}
    for value in headers.get_all("x-goog-hash") or []:
        for each in value.split(","):
            name, _, text = each.strip().partition("=")
            with suppress(ValueError):
                sums[name] = base64.b64decode(text)
    return sums


def announced_size(url: str, limits: Limits = USUAL, waiting: Callable[[], None] = lambda: None) -> int | None:
    """Request the size of a file in bytes; None if the server does not state it; `waiting` is called as by `connect`.

    Raises BadInput if the address is invalid, or the server says that the file does not exist or is not accessible;
    Unreachable if it does not respond at present.
    """
    check_address(url)
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "tapetum", "Accept-Encoding": "identity"})
    try:
        with connect(request, limits, waiting) as answer:
            return answer.length
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404, 410):
            raise BadInput(f"{url} cannot be had ({error.code} {error.reason}); check the name or try later") from error
        return None


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".json")
