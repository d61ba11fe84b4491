"""Tracks as files for other programs, as `tapetum convert` and `tapetum show` write them."""

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from tapetum.app.track.show import write_overlay
from tapetum.app.verb import Listener
from tapetum.core.errors import MissingExtra
from tapetum.core.files import plain_name, writable
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.hidden import make_folder
from tapetum.desk.web.space import Space
from tapetum.desk.web.tracks import TrackedItem
from tapetum.tracks.exchange import Layout, write_tracks
from tapetum.video import open_video

FORMATS: dict[str, tuple[str, Layout | None]] = {
    "csv": (".csv", "tapetum"),
    "json": (".json", "tapetum"),
    "npz": (".npz", "tapetum"),
    "parquet": (".parquet", "tapetum"),
    "deeplabcut": ("-dlc.csv", "dlc"),
    "napari": ("-napari.csv", "napari"),
    "sleap": (".h5", "sleap"),
    "coco": ("-coco.json", "coco"),
    "tapvid": (".pkl", "tapvid"),
    "mp4": ("-overlay.mp4", None),
    "gif": ("-overlay.gif", None),
}
"""Ending of the file of each format, and its layout; None for the video with the tracks drawn on it."""
DRAWN = frozenset(kind for kind, (_, layout) in FORMATS.items() if layout is None)
"""Formats that take long, for each frame is drawn: jobs make them."""
IN_SPACE = {"npz3d": "-3d.npz", "csv3d": "-3d.csv"}
"""Formats of 3D tracks, and the endings of their files."""
_PACKAGES = {"parquet": ("pyarrow", "tables"), "sleap": ("h5py", "tables")}
"""Packages that formats need, and the extras that install them."""
_NEED_VIDEO = frozenset(("sleap", "coco", "tapvid", "mp4", "gif"))


def missing_packages() -> dict[str, str]:
    """Say of formats whose packages are not installed how to install them."""
    return {
        kind: str(MissingExtra(package, extra, kind))
        for kind, (package, extra) in _PACKAGES.items()
        if find_spec(package) is None
    }


def write_export(
    tracked: TrackedItem,
    kind: str,
    folder: Path,
    listener: Listener | None = None,
    visible_above: float | None = None,
    space: Space | None = None,
) -> Path:
    """Write the tracks of a project into a folder, in a format of `FORMATS`, with names; drawn tracks have colours too.

    With `visible_above`, points are visible where their chance of being right is at least that (`TrackedItem.tracks`).

    Raises Refused with 400 for another format, with 409 if points are not tracked; BadInput and MissingExtra as `write_tracks`
    and `write_overlay`.
    """
    if kind not in FORMATS and kind not in IN_SPACE:
        raise Refused(400, f"there is no format {kind[:40]!r}; choose one of {', '.join((*FORMATS, *IN_SPACE))}")
    tracks = tracked.tracks(visible_above)
    if kind in IN_SPACE:
        if space is None:
            raise Refused(409, "there are no 3D tracks; begin a job of the kind space")
        return space.tracks(tracked, tracks).save(folder / f"{plain_name(tracked.item.path)}{IN_SPACE[kind]}")
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


def export(
    tracked: TrackedItem, kind: str, place: Path, visible_above: float | None = None, space: Space | None = None
) -> FileResponse:
    """Build the response with the file as an attachment; the file is made in `place`, and removed once sent.

    Raises as `write_export`, and Refused with 400 for formats that need a job.
    """
    if kind in DRAWN:
        raise Refused(400, f"{kind} is drawn by a job; begin one of the kind export, and read its file")
    folder = Path(tempfile.mkdtemp(dir=make_folder(place.parent, place.name)))
    try:
        path = write_export(tracked, kind, folder, None, visible_above, space)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return send_once(path)


def send_once(path: Path) -> FileResponse:
    """Build the response with a file as an attachment; its folder is removed once sent."""
    task = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
    name = writable(path.name)  # a header has no bytes that are no UTF-8
    return FileResponse(path, filename=name, content_disposition_type="attachment", background=task)
