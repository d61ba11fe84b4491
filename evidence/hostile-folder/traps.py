"""Folders that somebody has prepared for `claims.py`: what an honest server left in each, and one trap."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.edits import Projects
from tapetum.desk.web.items import Items
from tapetum.video import write_video

HIDDEN, ID = ".tapetum-web", "0123456789abcdef"
SECRET, PINK = "what nobody has given away", (250, 10, 200)
DONE = {"state": "done", "done": 1, "total": 1, "seconds_left": None, "message": ""}
Trap = Callable[[Path, Path, str], None]
"""Sets a trap, given the folder, the one beside it, and the id of the video."""


def prepare(base: Path) -> tuple[Path, Path, str]:
    """Make the folder as a server has left it, and the one beside it; gives both, and the id of the video."""
    folder, outside = base / "folder", base / "outside"
    (outside / "mine").mkdir(parents=True)
    for name in ("secret.txt", "mine/notes.txt"):
        (outside / name).write_text(SECRET)
    Image.new("RGB", (64, 48), PINK).save(outside / "secret.png")
    with closing(sqlite3.connect(outside / "mine.sqlite")) as other, other:
        other.execute(f"CREATE TABLE mine AS SELECT '{SECRET}' AS text")
    (folder / HIDDEN / "jobs").mkdir(parents=True)
    write_video(folder / "clip.mp4", np.full((6, 48, 64, 3), 90, np.uint8), 10)
    (folder / "evil.py").write_text(f"open({str(base / 'ran')!r}, 'w')\nclass Net:\n    pass\n")
    database = Database(folder / HIDDEN / FILE)
    item = Items(database, folder).add(folder / "clip.mp4")
    assert item is not None
    Projects(database).edit(item, {"type": "add_point", "frame": 0, "x": 5, "y": 5})
    database.close()
    return folder, outside, item.id


def job(name: str = ID, progress: Any = None, result: Any = None, **fields: Any) -> Trap:
    """A job that no server was asked for; texts have OUT for the folder beside, ITEM for the video."""

    def trap(folder: Path, outside: Path, item: str) -> None:
        place = folder / HIDDEN / "jobs" / name
        (place / "file").mkdir(parents=True)
        (place / "file" / "link.mp4").symlink_to(outside / "secret.txt")
        about = {"id": name, "kind": "track", "item": ID, "created": 0, "settings": {}, **fields}
        for file, content in (("job", about), ("progress", progress), ("result", result)):
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                (place / f"{file}.json").write_text(text.replace("OUT", str(outside)).replace("ITEM", item))

    return trap


def export_of(file: str) -> Trap:
    """A film that is done, and is not in its folder."""
    return job(kind="export", item="ITEM", progress=DONE, result={"result": {"file": file}})


def link(name: str, target: str) -> Trap:
    """A link to a place beside the folder, where something else was expected."""

    def trap(folder: Path, outside: Path, item: str) -> None:
        path = folder / name.replace("ITEM", item)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(outside / target)

    return trap


def pipe(name: str) -> Trap:
    """A pipe into which nobody writes."""

    def trap(folder: Path, outside: Path, item: str) -> None:
        path = folder / HIDDEN / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    return trap


def sql(statement: str) -> Trap:
    """A database that no server wrote."""

    def trap(folder: Path, outside: Path, item: str) -> None:
        about = (outside / "secret.png").stat()
        text = statement.replace("OUT", str(outside)).replace("ITEM", item)
        text = text.replace("SIZE", str(about.st_size)).replace("TIME", str(about.st_mtime_ns))
        with closing(sqlite3.connect(folder / HIDDEN / FILE)) as database:
            database.executescript(text)

    return trap


def write(**contents: str) -> Trap:
    """Files of the folder, by name with __ for / and _ for the dot; EVIL is code that shows that it ran."""

    def trap(folder: Path, outside: Path, item: str) -> None:
        for name, content in contents.items():
            path = folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((folder / "evil.py").read_bytes() if content == "EVIL" else content.encode())

    return trap


def strange_names(folder: Path, outside: Path, item: str) -> None:
    """A video whose name is not UTF-8."""
    name = os.fsdecode(b"caf\xe9")
    shutil.copy(folder / "clip.mp4", folder / f"{name}.mp4")


def nothing(folder: Path, outside: Path, item: str) -> None:
    """The trap is in what is sent."""


EVIL, MOVE = "evil.py:Net", "UPDATE items SET size = SIZE, time = TIME, kind = 'image', path = "
LOOK = {"frame": 0, "text": "a", "labels": ["a"]}
SHORT = "INSERT INTO tracks SELECT id, 'x', 6, x'00', NULL, 0 FROM items"
VIEW = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 'x' AS path, 0 AS kind FROM n"
TRAPS: dict[str, Trap] = {
    "track by own code, a bad id": job("0", settings={"model": EVIL}),
    "track by own code": job(kind="track", item="ITEM", settings={"model": EVIL, "device": None, "clicks": [[[0, 5, 5]]]}),
    "look by own code": job(kind="look", item="ITEM", settings={**LOOK, "verb": "classify", "loads": EVIL}),
    "look by random code": job(kind="look", item="ITEM", settings={**LOOK, "verb": "ask", "model": f"random:{EVIL}"}),
    "module beside the video": write(tyro_py="EVIL", numpy_py="EVIL"),
    "id is a path": job(kind="track", id="OUT/mine", progress=DONE),
    "id leads up": job("1", kind="track", id="../../../outside/mine", progress=DONE),
    "file is a path": export_of("OUT/secret.txt"),
    "file leads up": export_of("../../../../../outside/secret.txt"),
    "file is a link": export_of("link.mp4"),
    "result is a list": job(progress=DONE, result=[1]),
    "job is a list": job(id=[], kind=[]),
    "job lacks a field": job(created=None, settings=None),
    "progress is nested deeply": job(progress="[" * 100_000),
    "progress says it waits": job(kind="track", item="ITEM", settings={"model": EVIL}, progress={**DONE, "state": "waiting"}),
    "job is a pipe": pipe(f"jobs/{ID}/job.json"),
    "job is a link": link(f"{HIDDEN}/jobs/{ID}", "mine"),
    "jobs is a link": link(f"{HIDDEN}/jobs", "mine"),
    "hidden folder is a link": link(HIDDEN, "mine"),
    "features is a link": link(f"{HIDDEN}/features", "mine"),
    "exports is a link": link(f"{HIDDEN}/exports", "mine"),
    "uploads is a link": link(f"{HIDDEN}/uploads", "mine"),
    "features lead out": link(f"{HIDDEN}/features/ITEM.new", "secret.txt"),
    "lock is a link": link(f"{HIDDEN}/server.lock", "secret.txt"),
    "lock is a pipe": pipe("server.lock"),
    "database is a pipe": pipe(FILE),
    "database is a link": link(f"{HIDDEN}/{FILE}", "mine.sqlite"),
    "database is endless": sql(f"DROP TABLE items; CREATE VIEW items AS {VIEW}"),
    "item leads up": sql(f"{MOVE} '../outside/secret.png'"),
    "item is a path": sql(f"{MOVE} 'OUT/secret.png'"),
    "video became a link": link("clip.mp4", "secret.png"),
    "points are no points": sql("""UPDATE edits SET edit = '{"type": "add", "points": [{"id": []}]}'"""),
    "tracks are short": sql(f"{SHORT}; UPDATE items SET frames = 1e15, times = x'00'"),
    "index is a link": link(".tapetum-index", "mine"),
    "names are not UTF-8": strange_names,
    "requests are odd": nothing,
}  # fmt: skip
