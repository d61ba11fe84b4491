"""Limits on size and time of downloads: of one file, of a page of links, and of all pages of a listing.

Folders of web servers are listed by their pages of links, within these limits.
"""

import io
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from fsspec import Callback


_LINK = re.compile(r"""\bhref\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')""", re.IGNORECASE)
_LONGEST = 8192
"""Characters of an address."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is waited for and taken of a server."""

    answer: float = 20.0
    """Seconds until it has answered: look-up of its name, connection and all headers."""
    stall: float = 60.0
    """Seconds in which `least` bytes of the body must come."""
    least: int = 1 << 14
    """Bytes."""
    part: float = 120.0
    """Seconds that a part of a file takes, all tries together; as much more as it is larger than 4 MiB."""
    most: int = 1 << 41
    """Bytes of a file."""
    unsaid: int = 4 << 30
    """Bytes of a file whose length the server does not say."""
    reserve: int = 512 << 20
    """Bytes that stay free on the disk."""
    tries: int = 5
    """Times in a row that a connection may bring next to nothing: less than `least`, or than a thousandth of the file."""
    page: int = 64 << 20
    """Bytes of a page of links."""
    pages: int = 100_000
    """Pages of links of one listing."""
    links: int = 2_000_000
    """Files and folders of one listing."""
    depth: int = 32
    """Folders inside each other."""
    listing: float = 3600.0
    """Seconds of one listing."""


USUAL = Limits()
"""What is waited for and taken where nobody says otherwise."""


def check_size(url: str, size: int, missing: int, folder: Path, limits: Limits) -> None:
    """Raise BadInput if a file of `size` bytes, of which some are `missing`, exceeds the limit or the disk."""
    if size > limits.most:
        raise BadInput(f"{url} has {size:,} bytes or more, and {limits.most:,} are taken at most; check the address")
    if missing > (free := shutil.disk_usage(folder).free - limits.reserve):
        raise BadInput(
            f"{url} brings {missing:,} bytes more, and {folder} has room for {max(0, free):,}; free some or use another disk"
        )


def receiving(address: str, most: int, limits: Limits, folder: Path | None = None, until: float = float("inf")) -> "Callback":
    """Make the callback that fsspec calls for each piece of a file; it raises BadInput if this is too much or too slow.

    Args:
        address: used in messages.
        most: bytes of the file.
        limits: on the rate and the disk.
        folder: where it is written; None: into memory.
        until: deadline, by `time.monotonic`.
    """
    from fsspec import Callback

    class Receiving(Callback):
        came, since, due = 0, 0, time.monotonic() + limits.stall

        def relative_update(self, inc: int = 1) -> None:
            now = time.monotonic()
            self.came, self.since = self.came + inc, self.since + inc
            if self.came > most:
                raise BadInput(f"{address} sends more than {most:,} bytes, and no more are taken; check the address")
            if self.since >= limits.least:
                self.since, self.due = 0, now + limits.stall
            if inc and now > min(self.due, until):
                raise BadInput(f"{address} sends {self.came:,} bytes too slowly; try later, or copy it yourself")
            if folder is not None:
                check_size(address, self.came, 0, folder, limits)

    return Receiving()


def linked_files(system: Any, root: str, limits: Limits) -> Iterator[str]:
    """Yield the addresses of files linked from pages, starting at `root`, all below it; without hidden ones.

    Args:
        system: fsspec's, for web servers.
        root: address of a folder.
        limits: on a page and on the whole listing.

    Raises:
        BadInput: links, pages, nested folders or seconds exceed `limits`.
        Exception: errors of the server, of the kinds that `tapetum.core.addresses.reaching` handles.
    """
    root = root.rstrip("/") + "/"
    until = time.monotonic() + limits.listing
    waiting, known, pages = [root], {root}, 0
    while waiting:
        page, pages = waiting.pop(), pages + 1
        for name in _links(system, page, until, limits):
            below = name.removeprefix(root)
            if name in known or below == name or "?" in name or "#" in name or not is_visible(below):
                continue
            known.add(name)
            for what, count, most in (
                ("files and folders", len(known), limits.links),
                ("pages of links", pages + len(waiting), limits.pages),
                ("folders inside each other", below.count("/"), limits.depth),
            ):
                if count > most:
                    raise BadInput(f"{root} leads to more than {most:,} {what}, and may never end; give a folder in it")
            if name.endswith("/"):
                waiting.append(name)
            else:
                yield name


def is_visible(path: str) -> bool:
    """Check that neither a file nor a folder of its path is hidden.

    >>> is_visible("a/b.png"), is_visible(".a/b.png")
    (True, False)
    """
    return not any(part.startswith(".") for part in path.split("/"))


def _links(system: Any, page: str, until: float, limits: Limits) -> Iterator[str]:
    if (left := until - time.monotonic()) <= 0:
        raise BadInput(f"the listing takes longer than {limits.listing:g} seconds at {page}; give a folder in it")
    text = io.BytesIO()
    watch = receiving(page, limits.page, limits, until=until)
    system.get_file(page, text, callback=watch, timeout=left)
    for link in _LINK.finditer(text.getvalue().decode("utf-8", "ignore")):
        with suppress(ValueError):  # it is no address
            name = urljoin(page, link[1] or link[2] or "")
            if len(name) <= _LONGEST:
                yield name
