"""`.tapetum-web` in a served folder, which someone else may have created: all access to it goes through this module.

Links, pipes and devices in it are refused and never opened, so everything read, written or removed is inside the folder.
"""

import os
import stat
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import kind_of

HIDDEN = ".tapetum-web"
"""Name of the folder with the server's state, in the served folder."""
_FOLDERS = "exports", "jobs", "uploads"
_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def check_plain(path: Path, below: bool = False) -> Path:
    """Check that a path, and with `below` everything in that folder, is a plain file or folder, or does not exist yet.

    Raises BadInput for a link, a pipe or a device.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "a link" if stat.S_ISLNK(mode) else kind_of(mode)
        place = "/".join(path.parts[-2:])
        raise BadInput(f"{place} is {what}; tapetum serve keeps plain files and folders there: move it away")
    if below and stat.S_ISDIR(mode):
        for each in sorted(path.iterdir()):
            check_plain(each, below)
    return path


def open_hidden(served: Path) -> Path:
    """Create the hidden folder of a served one if necessary, and check it and its contents.

    Raises BadInput as `check_plain`.
    """
    place = make_folder(served, HIDDEN)
    for each in sorted(place.iterdir()):
        check_plain(each)
        if each.name in _FOLDERS:
            make_folder(place, each.name)
    return place


def make_folder(place: Path, *names: str) -> Path:
    """Create nested folders where they are missing. Raises BadInput if one is a link or a file."""
    for name in names:
        place = check_plain(place / name)
        try:
            place.mkdir(exist_ok=True)
        except FileExistsError:
            raise BadInput(f"{place.parent.name}/{name} is a file, where tapetum serve has a folder: move it away") from None
    return place


def open_plain(place: Path, *names: str, flags: int = os.O_RDONLY) -> int:
    """Open a file by its name and those of the folders leading to it from `place`; returns its descriptor.

    Raises OSError if it cannot be opened, one of the steps is a link, or it is not a file.
    """
    if any(name in ("", ".", "..") or "/" in name for name in names):
        raise OSError(f"{'/'.join(names)} has names that lead elsewhere")
    at = os.open(place, _STEP)
    try:
        for name in names[:-1]:
            next_ = os.open(name, _STEP, dir_fd=at)
            os.close(at)
            at = next_
        there = names[-1] in os.listdir(at)
        if there and not stat.S_ISREG(os.stat(names[-1], dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(f"{names[-1]} is no plain file")
        return os.open(names[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=at)
    finally:
        os.close(at)


def read_plain(place: Path, *names: str, most: int) -> bytes:
    """Read a file as `open_plain` opens it. Raises OSError as that does, and for more than `most` bytes."""
    with os.fdopen(open_plain(place, *names), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"{names[-1]} has more than {most:,} bytes")
    return data
