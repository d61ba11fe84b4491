"""Tracks as files for other programs, as `tapetum convert` and `tapetum show` write them."""

import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from tapetum.app.track.show import write_overlay
from tapetum.app.verb import Listener
from tapetum.core.errors import MissingExtra
from tapetum.core.files import plain_name, writable
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.edits import Projects
from tapetum.desk.web.hidden import HIDDEN, make_folder
from tapetum.desk.web.items import Items
from tapetum.desk.web.tracks import TrackedItem, TrackStore
from tapetum.tracks.exchange import write_tracks
from tapetum.video import open_video

FORMATS: dict[str, tuple[str, str | None]] = {
    "csv": (".csv", "tapetum"),
    "json": (".json", "tapetum"),
    "npz": (".npz", "tapetum"),
    "parquet": (".parquet", "tapetum"),
    "deeplabcut": ("-dlc.csv", "dlc"),
    "napari": ("-napari.csv", "napari"),
    "sleap": (".h5", "sleap"),
    "coco": ("-coco.json", "coco"),
    "tapvid": (".pkl", "tapvid"),
    "nuke": (".nk", "nuke"),
    "aftereffects": ("-after-effects.txt", "aftereffects"),
    "blender": ("-blender.py", "blender"),
    "cvat": ("-cvat.xml", "cvat"),
    "mp4": ("-overlay.mp4", None),
    "gif": ("-overlay.gif", None),
}
"""File ending and layout of each format; None for the video with the tracks drawn on it."""
DRAWN = frozenset(kind for kind, (_, layout) in FORMATS.items() if layout is None)
"""Formats in which each frame is drawn; jobs make them, since that takes long."""
_PACKAGES = {"parquet": ("pyarrow", "tables"), "sleap": ("h5py", "tables")}
"""Package that a format needs, and the extra that installs it."""
PLACE = "file"
"""Folder of the one file in the folder of an export job."""
_NEED_VIDEO = frozenset(("sleap", "coco", "tapvid", "nuke", "aftereffects", "blender", "mp4", "gif"))


def missing_packages() -> dict[str, str]:
    """Say of formats whose packages are not installed how to install them."""
    return {
        kind: str(MissingExtra(package, extra, kind))
        for kind, (package, extra) in _PACKAGES.items()
        if find_spec(package) is None
    }


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Draw the tracks of a project, as a job. Raises as `write_export`."""
    place, settings = make_folder(folder / HIDDEN, "jobs", job["id"], PLACE), job["settings"]
    database = Database(folder / HIDDEN / FILE)
    try:
        item = Items(database, folder).get(job["item"])
        tracked = TrackedItem(item, Projects(database).points(item), settings["model"], TrackStore(database))
        path = write_export(tracked, settings["format"], place, settings.get("visible_above"), listener)
        return {"result": {"file": path.name, "bytes": path.stat().st_size}}
    finally:
        database.close()


def write_export(
    tracked: TrackedItem, kind: str, folder: Path, visible_above: float | None = None, listener: Listener | None = None
) -> Path:
    """Write the tracks of a project into a folder, in a format of `FORMATS`, with names; drawn tracks have colours too.

    With `visible_above`, points are visible where their chance of being right is at least that (`TrackedItem.tracks`).

    Raises Refused with 400 for another format, with 409 if points are not tracked; BadInput and MissingExtra as `write_tracks`
    and `write_overlay`.
    """
    if kind not in FORMATS:
        raise Refused(400, f"there is no format {kind[:40]!r}; choose one of {', '.join(FORMATS)}")
    tracks = tracked.tracks(visible_above)
    ending, layout = FORMATS[kind]
    path = folder / f"{plain_name(tracked.item.path)}{ending}"
    if kind not in _NEED_VIDEO:
        return write_tracks(tracks, path, layout)
    with open_video(tracked.item.path) as video:
        if layout is None:
            colours = np.array([list(bytes.fromhex(point.color[1:])) for point in tracked.points], np.uint8)
            write_overlay(path, video, tracks, "tracks", listener or Listener(), colours=colours)
            return path
        return write_tracks(tracks, path, layout, video=video)


def export(place: Path, write: Callable[[Path], Path]) -> FileResponse:
    """Build the response with a file as an attachment; it is written into a folder in `place`, and removed once sent."""
    folder = Path(tempfile.mkdtemp(dir=make_folder(place.parent, place.name)))
    try:
        path = write(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return send_once(path)


def send_once(path: Path) -> FileResponse:
    """Build the response with a file as an attachment; its folder is removed once sent."""
    task = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
    name = writable(path.name)  # a header has no bytes that are no UTF-8
    return FileResponse(path, filename=name, content_disposition_type="attachment", background=task)
