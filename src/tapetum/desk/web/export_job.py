"""Videos with drawn tracks, for download: mp4 and gif."""

from pathlib import Path
from typing import Any

from tapetum.app.verb import Listener
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.exports import write_export
from tapetum.desk.web.hidden import HIDDEN, make_folder
from tapetum.desk.web.items import Items
from tapetum.desk.web.projects import Projects
from tapetum.desk.web.tracks import TrackedItem, TrackStore

PLACE = "file"
"""Folder in that of the job with the one file."""


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Draw the tracks of a project. Raises Refused if points are not tracked, BadInput as `write_overlay`."""
    place, settings = make_folder(folder / HIDDEN, "jobs", job["id"], PLACE), job["settings"]
    database = Database(folder / HIDDEN / FILE)
    try:
        item = Items(database, folder).get(job["item"])
        tracked = TrackedItem(item, Projects(database).points(item), settings["model"], TrackStore(database))
        path = write_export(tracked, settings["format"], place, listener, settings.get("visible_above"))
        return {"result": {"file": path.name, "bytes": path.stat().st_size}}
    finally:
        database.close()
