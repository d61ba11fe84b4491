"""How much is taken of a server, and how long it may take: of one file, of a page of links, and of all pages of a listing."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from fsspec import Callback


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is waited for and taken of a server."""

    answer: float = 20.0
    """Seconds until it has answered: look-up of its name, connection and all headers."""
    stall: float = 60.0
    """Seconds in which `least` bytes of the body must come."""
    least: int = 1 << 14
    """Bytes."""
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
    """Raise BadInput where a file of `size` bytes, of which some are `missing`, is larger than it may be or than the disk."""
    if size > limits.most:
        raise BadInput(f"{url} has {size:,} bytes or more, and {limits.most:,} are taken at most; check the address")
    if missing > (free := shutil.disk_usage(folder).free - limits.reserve):
        raise BadInput(
            f"{url} brings {missing:,} bytes more, and {folder} has room for {max(0, free):,}; free some or use another disk"
        )


def receiving(address: str, most: int, limits: Limits, folder: Path | None = None, until: float = float("inf")) -> "Callback":
    """Make what fsspec calls for each piece of a file that comes, which raises BadInput where that is too much or too slow.

    Args:
        address: what messages name.
        most: bytes of the file.
        limits: on the rate and the disk.
        folder: where it is written; None: into memory.
        until: when it must be there, by `time.monotonic`.
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
