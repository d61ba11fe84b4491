"""Videos and images of a folder, each identified by a random id as long as its content stays the same.

    looked for   in the folder and below it, but not in hidden folders, nor where links lead out of it
    the same     path, size and time of change are those of before; or the content is that of an item whose file is gone (moved)
    another      the content has changed: what was tracked on the old one does not fit the new one

A thread reads new files in the order of the list, some at a time, so that a large folder is listed while it is read.

Paths stay in the database: the page sees only ids. The database is in the folder and may come from someone else, so each use
checks the path again: where it leads, and whether the file is still the same.
"""

import os
import secrets
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, writable
from tapetum.core.identity import fingerprint
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.folder_files import UNREADABLE, About, FileContent, file_inside, media_below, order_of, read_file
from tapetum.desk.web.hidden import HIDDEN, make_folder
from tapetum.video import open_video
from tapetum.video.images import IMAGES, VIDEOS

PATH = "CAST(? AS TEXT)"
"""Placeholder of a path in a statement; it is passed as bytes, since a name need not be UTF-8."""
PAGE = 200
"""Number of items in a page of the list."""
_BATCH_S = 0.25
"""Seconds between two updates of the list while files are read."""
UPLOAD_BYTES = 4 << 30
"""Default maximum size of an uploaded file."""
_LONGEST_NAME = 120
_MOST_NAMES = 10_000


@dataclass(frozen=True)
class MediaItem:
    """A video or an image."""

    id: str
    path: Path
    """Absolute."""
    name: str
    """Displayed path below the folder."""
    content: str
    """Fingerprint of its bytes."""
    kind: str
    frames: int
    fps: float
    width: int
    height: int
    times: bytes | None = None
    """Seconds of each frame as float64; None before the video was tracked."""

    def as_json(self) -> dict[str, Any]:
        names = "id", "name", "kind", "frames", "fps", "width", "height"
        return {**{name: getattr(self, name) for name in names}, "order": order_of(self.name)}

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


class _File:
    """A file as the database knows it."""

    def __init__(self, id_: str, path: str, size: int, time_: int, content: str, kind: str):
        self.id, self.path, self.about, self.content, self.kind = id_, path, (size, time_), content, kind
        name = writable(path)
        self.key = order_of(name), name, id_
        """Sort key in the list."""


class Items:
    """The files of a folder."""

    def __init__(
        self, database: Database, folder: Path, changed: Callable[[list[str], list[str]], None] = lambda changed, gone: None
    ):
        """Call `changed`, after the first look, with ids of new and renamed items, as the list has them, and of those gone."""
        self._database, self._folder, self._changed = database, folder, changed
        self._looking, self._lock = threading.RLock(), threading.RLock()
        """One scan at a time; the attributes below and the database change together."""
        self._files: dict[str, About] = {}
        self._unread: dict[str, About] = {}
        self._shown: list[tuple[str, str, str]] = []
        self._reading: Future[None] | None = None
        self._looked = self._closed = False

    @cached_property
    def _known(self) -> dict[str, _File]:
        rows = self._database.rows("SELECT id, path, size, time, content, kind FROM items ORDER BY rowid")
        return {row["path"]: _File(*row) for row in rows}

    def look(self, patience_s: float | None = 0.0) -> None:
        """Scan the folder, let a thread read new files, and wait for it, for at most `patience_s`; None: to its end.

        Raises BadInput if the database cannot be written.
        """
        with self._looking:
            files = media_below(self._folder)
            with self._lock:
                new = [name for name, about in files.items() if name not in self._known or self._known[name].about != about]
                self._files, self._unread = files, {name: files[name] for name in sorted(new, key=order_of)}
                self._show()
                if not new or self._closed:
                    return
                if self._reading is None or self._reading.done():
                    self._reading = Future()
                    threading.Thread(target=self._read, args=(self._reading,), daemon=True).start()
                reading = self._reading
        if wait([reading], patience_s).done:
            reading.result()

    def close(self) -> None:
        """Read no more files."""
        with self._lock:
            self._closed = True

    def add(self, path: Path) -> MediaItem | None:
        """Read a file of the folder at once; None if it is no video and no image, or gone."""
        name = path.relative_to(self._folder).as_posix()
        with self._looking:
            if (read := read_file(path)) is not None:
                self._files[name] = read.about
            self._record({name: read})
        return self.by_path(path)

    def page(self, after: str | None = None, text: str = "") -> dict[str, Any]:
        """Describe the next `PAGE` items, of those with a text in their names, after one given by its id.

        `next` is the id of the last one, or None if no more follow; `count` and `unread` count the items of the folder, and the
        files that are not read yet. Raises Refused with 404 if there never was such an item.
        """
        shown, first, text = self._shown, 0, text.lower()
        if after is not None:
            row = self._database.row("SELECT path FROM items WHERE id = ?", after)
            if row is None:
                raise Refused(404, "there is no such item; reload the page")
            name = writable(row["path"])
            first = bisect_right(shown, (order_of(name), name, after))
        numbers = list(islice((number for _, name, number in shown[first:] if text in name.lower()), PAGE + 1))
        following = numbers[PAGE - 1] if len(numbers) > PAGE else None
        return {"items": self.describe(numbers[:PAGE]), "next": following, **self.counts()}

    def counts(self) -> dict[str, int]:
        """Count the items, and the files that are not read yet."""
        return {"count": len(self._shown), "unread": len(self._unread)}

    def describe(self, numbers: Sequence[str]) -> list[dict[str, Any]]:
        """Describe items for the page, by their ids."""
        rows = self._database.rows(f"SELECT * FROM items WHERE id IN ({','.join('?' * len(numbers))})", *numbers)
        described = {row["id"]: self._item(row).as_json() for row in rows}
        return [described[number] for number in numbers]

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
        known = self._known.get(Path(os.path.relpath(path, self._folder)).as_posix())
        try:
            return None if known is None else self.get(known.id)
        except Refused:
            return None

    def settle(self, number: str, frames: int, times: bytes | None) -> None:
        """Record the true number of frames and their times, known once a video was decoded to its end."""
        with self._database.transaction():
            self._database.rows("UPDATE items SET frames = ?, times = ? WHERE id = ?", frames, times, number)

    def _item(self, row: Any) -> MediaItem:
        fields = {name: row[name] for name in ("id", "content", "kind", "frames", "fps", "width", "height", "times")}
        return MediaItem(path=self._folder / row["path"], name=writable(row["path"]), **fields)

    def _show(self) -> None:
        """List the items of the files that are there, and pass on what has changed since."""
        moving = set(self._unread.values())  # a file that is gone may be one of those, under its old name
        there = (
            file
            for name, file in self._known.items()
            if file.kind != UNREADABLE
            and (file.about in moving if name not in self._files else name in self._unread or file.about == self._files[name])
        )
        before, self._shown = self._shown, sorted(file.key for file in there)
        if self._looked:
            numbers, old = {number for *_, number in self._shown}, set(before)
            changed = [key[-1] for key in self._shown if key not in old]
            self._changed(changed, [number for *_, number in before if number not in numbers])
        self._looked = True

    def _read(self, reading: Future[None]) -> None:
        """Read the files that are not read yet, and show them batch by batch."""
        try:
            while names := self._next():
                begun, read = time.monotonic(), dict[str, FileContent | None]()
                for name in names:
                    read[name] = read_file(self._folder / name)
                    if self._closed or time.monotonic() - begun > _BATCH_S:
                        break
                self._record(read)
            reading.set_result(None)
        except Exception as error:  # whoever waits for it gets it
            reading.set_exception(error)

    def _next(self) -> list[str]:
        with self._lock:
            return [] if self._closed else list(islice(self._unread, PAGE))

    def _record(self, read: dict[str, FileContent | None]) -> None:
        with self._lock:
            if self._closed:
                return
            self._files |= {name: each.about for name, each in read.items() if each is not None and name in self._files}
            gone = {file.content: file for name, file in reversed(self._known.items()) if name not in self._files}
            try:
                with self._database.transaction():
                    for name, each in read.items():
                        if each is not None:
                            self._store(name, each, gone)
            except BaseException:
                del self._known  # which is read again
                raise
            for name in read:
                self._unread.pop(name, None)
            self._show()

    def _store(self, name: str, read: FileContent, gone: dict[str, _File]) -> None:
        """Give a file the id of the item that it is, or of a new one; `gone`: items without files, by content."""
        path, before = os.fsencode(name), self._known.pop(name, None)
        same = before if before is not None and before.content == read.content else gone.pop(read.content, None)
        if before is not None and before.kind == UNREADABLE and before is not same:
            self._database.rows("DELETE FROM items WHERE id = ?", before.id)
        elif before is not None and before is not same:  # no file has the name that it gets
            self._database.rows("UPDATE items SET path = path || '?' || id WHERE id = ?", before.id)
            before.path = f"{name}?{before.id}"
            self._known[before.path] = before
        number = secrets.token_hex(8) if same is None else same.id
        if same is None:
            self._database.rows(
                "INSERT INTO items (id, path, size, time, content, kind, frames, fps, width, height) "
                f"VALUES (?, {PATH}, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(number, path, *read.about, read.content, *read.measures),
            )
        else:
            self._known.pop(same.path, None)
            self._database.rows(f"UPDATE items SET path = {PATH}, size = ?, time = ? WHERE id = ?", path, *read.about, number)
        self._known[name] = _File(number, name, *read.about, read.content, read.measures[0] if same is None else same.kind)


def check_same(folder: Path, number: str) -> None:
    """Raise Refused if the file of an item is gone or has changed."""
    database = Database(folder / HIDDEN / FILE)
    try:
        Items(database, folder).get(number)
    finally:
        database.close()


async def upload(request: Request, folder: Path, place: Path, items: Items, most: int) -> MediaItem:
    """Save the body of a request as a file of the folder, under its name or a similar one; never overwrites another file.

    It is streamed into `place`, checked, and only then moved. Raises Refused: 400 for a name or content that is not a video or
    image, or a full disk; 413 for more than `most` bytes.
    """
    name = read_name(request.query_params.get("name", ""))
    too_large = Refused(
        413, f"{name} has more than {most:,} bytes, the most that is taken; start tapetum serve with a higher limit"
    )
    if int(request.headers.get("content-length", "0") or 0) > most:
        raise too_large
    part, received = place / f"{secrets.token_hex(8)}{Path(name).suffix.lower()}", 0
    try:
        make_folder(place.parent, place.name)
        with open(part, "xb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > most:
                    raise too_large
                await run_in_threadpool(file.write, chunk)
            file.flush()
            os.fsync(file.fileno())
        return await run_in_threadpool(_put_in_place, part, folder, name, items)
    except OSError as error:
        raise Refused(400, str(cannot_write(name, error))) from error
    finally:
        with suppress(OSError):
            part.unlink()


def read_name(given: str) -> str:
    """Check the name of an uploaded file: no folders, not hidden, with the extension of a video or an image.

    Raises Refused with 400.

    >>> read_name("clip 1.mp4")
    'clip 1.mp4'
    """
    plain = given.isprintable() and "/" not in given and "\\" not in given and len(given.encode()) <= _LONGEST_NAME
    if not plain or not given or given.startswith(".") or given != given.strip():
        raise Refused(400, f"{given[:40]!r} is no name for a file; give one without folders, such as clip.mp4")
    if Path(given).suffix.lower() not in VIDEOS | IMAGES:
        raise Refused(400, f"{given} has the ending of neither a video nor an image; give one such as clip.mp4")
    return given


def _put_in_place(part: Path, folder: Path, name: str, items: Items) -> MediaItem:
    try:
        with open_video(part) as video:
            video[0]
    except (BadInput, IndexError) as error:
        text = str(error).replace(str(part), name).replace(part.name, name)
        raise Refused(400, text) from error
    for number in range(1, _MOST_NAMES):
        free = folder / (name if number == 1 else f"{Path(name).stem}-{number}{Path(name).suffix}")
        try:
            os.link(part, free)
        except FileExistsError:
            continue
        except OSError:  # a disk that knows no second names
            if os.path.lexists(free):
                continue
            os.rename(part, free)
        if (item := items.add(free)) is not None:
            return item
    raise Refused(409, f"there is no free name like {name} in the folder; give another")
