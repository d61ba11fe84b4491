"""Limits on size and time of a download."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput


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
    reserve: int = 512 << 20
    """Bytes that stay free on the disk."""
    tries: int = 5
    """Times in a row that a connection may bring next to nothing: less than `least`, or than a thousandth of the file."""


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
