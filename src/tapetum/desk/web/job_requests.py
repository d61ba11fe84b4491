"""Requests for jobs on the points of a video, validated before the job is created."""

from pathlib import Path
from typing import Any

from tapetum.desk.web.answers import Refused
from tapetum.desk.web.edits import Points
from tapetum.desk.web.exports import DRAWN
from tapetum.desk.web.items import MediaItem
from tapetum.desk.web.space import ADJUST, FILE, depth_beside

BUSY = {
    "track": "this video is being tracked; wait for that, or cancel it",
    "export": "a film of this video is being drawn; wait for that, or cancel it",
    "space": "these tracks are being put into space; wait for that, or cancel it",
}
"""What is said where a job of the kind is under way for the same video."""


def read_job(content: dict[str, Any], item: MediaItem, points: Points, folder: Path) -> tuple[str, dict[str, Any]]:
    """Read the kind and settings of a job.

    Raises Refused: 400 for an invalid request, 404 for points that no longer exist, 409 if there are no points.
    """
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in BUSY:
        raise Refused(400, f"there are no jobs of the kind {str(kind)[:40]!r}; give one of {', '.join(BUSY)}")
    if item.kind != "video":
        raise Refused(400, f"{item.name} is an image; points are tracked through videos")
    if not points:
        raise Refused(409, "there are no points; add some first")
    return kind, {"track": _track, "space": _space, "export": _export}[kind](content, item, points, folder)


def _track(content: dict[str, Any], item: MediaItem, points: Points, folder: Path) -> dict[str, Any]:
    chosen = content.get("points") or list(points)
    if not isinstance(chosen, list) or not all(isinstance(each, str) for each in chosen):
        raise Refused(400, "points are no list of ids; give ids of points of this video")
    if lacking := [each for each in chosen if each not in points]:
        raise Refused(404, f"{len(lacking)} of these points are no longer there; somebody may have deleted them")
    return {"clicks": [points[each].clicks for each in chosen]}


def _space(content: dict[str, Any], item: MediaItem, points: Points, folder: Path) -> dict[str, Any]:
    depth = content.get("depth", ADJUST)
    if depth not in (ADJUST, FILE):
        raise Refused(400, f"there is no depth {str(depth)[:40]!r}; give {ADJUST} or {FILE}")
    if depth == FILE and depth_beside(item, folder) is None:
        raise Refused(409, f"there are no depth maps beside {item.name}; put {item.path.stem}-depth.npz there")
    return {"depth": depth}


def _export(content: dict[str, Any], item: MediaItem, points: Points, folder: Path) -> dict[str, Any]:
    format_ = content.get("format")
    if not isinstance(format_, str) or format_ not in DRAWN:
        raise Refused(400, f"jobs draw {' and '.join(sorted(DRAWN))}, not {str(format_)[:40]!r}; ask for one of them")
    above = content.get("visible_above")
    return {"format": format_, "visible_above": None if above is None else read_chance(above)}


def read_chance(value: Any) -> float:
    """Check a chance that is received. Raises Refused with 400 unless it is a number from 0 to 1."""
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise Refused(400, f"visible_above is {str(value)[:40]}; give a number from 0 to 1")
    return float(value)
