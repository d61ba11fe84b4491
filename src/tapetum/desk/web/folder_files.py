"""The videos and images in a folder: which there are, whether they really are in it, and what one is.

A folder may come from someone else: links that lead out of it, pipes and devices are left out, and never opened.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.identity import fingerprint
from tapetum.video import open_video
from tapetum.video.images import IMAGES, OVERLAY, TRACKS, VIDEOS, image_size
from tapetum.video.types import DEFAULT_RATE

UNREADABLE = "unreadable"
"""Kind of a file with the extension of a video or an image that cannot be read; it is not shown."""
_MEDIA, _NUMBER = VIDEOS | IMAGES, re.compile("[0-9]+")

About = tuple[int, int]
"""Size in bytes and modification time in ns."""


def file_inside(folder: Path, name: str) -> Path | None:
    """Find a named file below a folder; None if there is none, its name is hidden, or it leads out of the folder."""
    path = folder / name
    try:
        real = Path(os.path.realpath(path))
        inside = real.is_file() and real.is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):
        return None
    return path if inside and not any(part.startswith(".") for part in name.split("/")) else None


def media_below(folder: Path) -> dict[str, About]:
    """Find videos and images in a folder and below, by their paths in it, except hidden files and links out of it.

    Overlays beside the tracks that they show are skipped too.
    """
    files, places = dict[str, About](), [""]
    for place in places:
        try:
            entries = list(os.scandir(folder / place))
        except OSError:
            continue
        names = {entry.name for entry in entries}
        for entry in entries:
            name = place + entry.name
            try:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    places.append(f"{name}/")
                    continue
                shown = os.path.splitext(entry.name)[1].lower() in _MEDIA and not (entry.name == OVERLAY and TRACKS in names)
                if not shown or (entry.is_symlink() and file_inside(folder, name) is None):
                    continue
                about = entry.stat()
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode):
                files[name] = about.st_size, about.st_mtime_ns
    return files


def order_of(name: str) -> str:
    """Write a path so that texts sort by its parts: files before folders, numbers by value.

    >>> sorted(["b/1.png", "f10.png", "a/2.png", "f2.png"], key=order_of)
    ['f2.png', 'f10.png', 'a/2.png', 'b/1.png']
    """
    *folders, last = name.lower().split("/")
    return "\0".join([f"1{_NUMBER.sub(_by_value, part)}" for part in folders] + [f"0{_NUMBER.sub(_by_value, last)}"])


def _by_value(digits: "re.Match[str]") -> str:
    value = digits[0].lstrip("0")
    return f"\1{len(value):03}{value}"


@dataclass(frozen=True)
class FileContent:
    """A file as it was read."""

    about: About
    content: str
    measures: tuple[str, int, float, int, int]
    """Kind, number of frames, frame rate, width and height."""


def read_file(path: Path) -> FileContent | None:
    """Read a file; None if it has gone, or may not be read."""
    try:
        about = path.stat()
        content = fingerprint(path)
    except OSError:
        return None
    try:
        if path.suffix.lower() in IMAGES:
            pages, width, height = image_size(path)
            measures = "image", pages, DEFAULT_RATE, width, height
        else:
            with open_video(path) as video:
                measures = "video", len(video), float(video.frame_rate), video.width, video.height
    except (BadInput, OSError, ValueError):  # also of a name that a decoder does not take
        measures = UNREADABLE, 0, 0.0, 0, 0
    return FileContent((about.st_size, about.st_mtime_ns), content, measures)
