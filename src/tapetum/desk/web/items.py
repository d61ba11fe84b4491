"""Videos and images of a folder, each identified by a random id as long as its content stays the same.

    looked for   in the folder and below it, but not in hidden folders, nor where links lead out of it
    the same     path, size and time of change are those of before; or the content is that of an item whose file is gone (moved)
    another      the content has changed: what was tracked on the old one does not fit the new one

Paths stay in the database: the page sees only ids. The database is in the folder and may come from someone else, so each use
checks the path again: where it leads, and whether the file is still the same.
"""

import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import writable
from tapetum.core.identity import fingerprint
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.hidden import HIDDEN
from tapetum.video import open_video
from tapetum.video.images import IMAGES, OVERLAY, TRACKS, VIDEOS, natural_key

PATH = "CAST(? AS TEXT)"
"""Where a path goes into a statement, as bytes: a name need not be UTF-8."""
UNREADABLE = "unreadable"
"""Kind of a file that looks like a video or an image and is none; it is not shown."""


@dataclass(frozen=True)
class MediaItem:
    """A video or an image."""

    id: str
    path: Path
    """Absolute."""
    name: str
    """Path below the folder, for people."""
    content: str
    """Fingerprint of its bytes."""
    kind: str
    frames: int
    fps: float
    width: int
    height: int
    times: bytes | None = None
    """float64: seconds of each frame, as far as tracking has settled them."""

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("id", "name", "kind", "frames", "fps", "width", "height")}

    def seconds_of(self, frame: int) -> float:
        """Compute a frame's seconds since the first: exact once tracking has found the times, else by the frame rate."""
        if self.times is not None and frame < len(times := np.frombuffer(self.times, "<f8")):
            return float(times[frame] - times[0])
        return frame / self.fps if self.fps else 0.0

    def frame_at(self, seconds: float) -> int:
        """Find the frame shown at a time, in seconds from the first frame."""
        if self.times is not None and len(times := np.frombuffer(self.times, "<f8")):
            return max(int(np.searchsorted(times - times[0], seconds + 1e-6)) - 1, 0)
        return min(max(int(seconds * self.fps + 1e-6), 0), max(self.frames - 1, 0))


class Items:
    """The files of a folder."""

    def __init__(self, database: Database, folder: Path):
        self._database, self._folder = database, folder
        self._looking = threading.Lock()

    def look(self) -> list[MediaItem]:
        """Scan the folder and list readable files by name; new files get ids."""
        with self._looking:
            known = {row["path"]: row for row in self._database.rows("SELECT * FROM items ORDER BY rowid")}
            there = {path.relative_to(self._folder).as_posix(): path for path in media_below(self._folder)}
            here = [self._known(name, path, known.get(name), known, there) for name, path in there.items()]
        return [item for item in here if item is not None and item.kind != UNREADABLE]

    def get(self, number: str) -> MediaItem:
        """Get an item by its id. Raises Refused with 404 if there is none, or its file is gone or has changed."""
        row = self._database.row("SELECT * FROM items WHERE id = ?", number)
        path = None if row is None or row["kind"] == UNREADABLE else file_inside(self._folder, row["path"])
        if row is None or path is None:
            raise Refused(404, "there is no such item; reload the page")
        try:
            about = path.stat()
            same = (row["size"], row["time"]) == (about.st_size, about.st_mtime_ns) or row["content"] == fingerprint(path)
        except OSError:
            same = False
        if not same:
            raise Refused(404, f"{writable(row['path'])} is another file than it was; reload the page")
        return self._item(row)

    def by_path(self, path: str | Path) -> MediaItem | None:
        """Find the item of a file; None if there is none."""
        name = os.fsencode(Path(os.path.relpath(path, self._folder)).as_posix())
        row = self._database.row(f"SELECT id FROM items WHERE path = {PATH} ORDER BY rowid DESC", name)
        try:
            return None if row is None else self.get(row["id"])
        except Refused:
            return None

    def settle(self, number: str, frames: int, times: bytes | None) -> None:
        """Record the true number of frames and their times, known once a video was decoded to its end."""
        with self._database.transaction():
            self._database.rows("UPDATE items SET frames = ?, times = ? WHERE id = ?", frames, times, number)

    def _item(self, row: Any) -> MediaItem:
        fields = {name: row[name] for name in ("id", "content", "kind", "frames", "fps", "width", "height", "times")}
        return MediaItem(path=self._folder / row["path"], name=writable(row["path"]), **fields)

    def _known(self, name: str, path: Path, row: Any, known: dict[str, Any], there: dict[str, Path]) -> MediaItem | None:
        """The item of a file, added if it is new; None if the file has since gone."""
        try:
            about = path.stat()
            if row is not None and (row["size"], row["time"]) == (about.st_size, about.st_mtime_ns):
                return self._item(row)
            content = fingerprint(path)
        except OSError:
            return None
        same = row if row is not None and row["content"] == content else None
        if same is None:
            gone = (each for each in known.values() if each["path"] not in there and each["content"] == content)
            same = next(gone, None)
        with self._database.transaction():
            if same is not None:
                self._database.rows(
                    f"UPDATE items SET path = {PATH}, size = ?, time = ? WHERE id = ?",
                    *(os.fsencode(name), about.st_size, about.st_mtime_ns, same["id"]),
                )
                number = same["id"]
            else:
                data, number = os.fsencode(name), secrets.token_hex(8)
                self._database.rows(f"DELETE FROM items WHERE path = {PATH} AND kind = ?", data, UNREADABLE)
                self._database.rows(
                    f"UPDATE items SET path = path || '?' || id WHERE path = {PATH}", data
                )  # no file has that name
                self._database.rows(
                    "INSERT INTO items (id, path, size, time, content, kind, frames, fps, width, height) "
                    f"VALUES (?, {PATH}, ?, ?, ?, ?, ?, ?, ?, ?)",
                    *(number, data, about.st_size, about.st_mtime_ns, content, *_measured(path)),
                )
        row = self._database.row("SELECT * FROM items WHERE id = ?", number)
        return self._item(row)


def _measured(path: Path) -> tuple[str, int, float, int, int]:
    """Kind, number of frames, frame rate, width and height of a file."""
    try:
        with open_video(path) as video:
            kind = "image" if path.suffix.lower() in IMAGES else "video"
            return kind, len(video), float(video.frame_rate), video.width, video.height
    except (BadInput, OSError, ValueError):  # also of a name that a decoder does not take
        return UNREADABLE, 0, 0.0, 0, 0


def file_inside(folder: Path, name: str) -> Path | None:
    """Find a named file below a folder; None if there is none, its name is hidden, or it leads out of the folder."""
    path = folder / name
    try:
        real = Path(os.path.realpath(path))
        inside = real.is_file() and real.is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):
        return None
    return path if inside and not any(part.startswith(".") for part in name.split("/")) else None


def check_same(folder: Path, number: str) -> None:
    """Raise Refused if the file of an item is gone or has changed."""
    database = Database(folder / HIDDEN / FILE)
    try:
        Items(database, folder).get(number)
    finally:
        database.close()


def media_below(folder: Path) -> list[Path]:
    """List videos and images in a folder and below, in natural order, except hidden files and links out of it.

    Overlays beside the tracks that they show are skipped too.
    """
    root, media = Path(os.path.realpath(folder)), []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted(names, key=natural_key):
            path = Path(place, name)
            shown = not name.startswith(".") and path.suffix.lower() in VIDEOS | IMAGES
            if not shown or (name == OVERLAY and TRACKS in names):
                continue
            real = Path(os.path.realpath(path))
            if real.is_file() and real.is_relative_to(root):
                media.append(path)
    return media
