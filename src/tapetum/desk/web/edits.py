"""Points on each video, saved as edits: what each edit does, checked before it is saved; undo and redo step through them.

A point has marks, at most one per frame: (frame, x, y) where a user saw it, or a frame where it is hidden. Its track passes
through the marks where it is seen. After a hidden mark it counts as not visible until its next mark, or until a frame where a
user marked it as back. The first mark where it is seen is its query.

    sent          add_point, add_grid   move_point, hide_point   show_point   delete_point   edit_point   clear
    saved         add                   mark                     show         delete         edit         clear

Saved edits are complete, including ids and colours, so that the same edits always produce the same points. Of a project,
`position` counts the edits that hold: those after it can be redone until another edit takes their place. `revision` counts
edits, undos and redos, so that a page knows whether it is up to date.
"""

import json
import math
import re
import secrets
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tapetum.core.reading import parse_json
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import Database
from tapetum.desk.web.items import MediaItem
from tapetum.video.draw import APART, position_colours

MOST_POINTS = 4096
POINT = "point"
"""Name of unnamed points, followed by a number."""
_OF_MASKS = "prompt", "clear_prompts"
"""Edits of version 0.1.0, which had masks; they are skipped."""
_LONGEST_NAME = 200
_ID = re.compile("[0-9a-f]{12}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass
class EditedPoint:
    """A point of a project."""

    id: str
    name: str
    color: str
    marks: dict[int, tuple[float, float, bool]] = field(default_factory=dict)
    """x, y in raster pixels and whether the point is hidden, by frame; the query first."""
    returns: set[int] = field(default_factory=set)
    """Frames on which it is visible again after it was hidden, at its tracked position."""

    @property
    def clicks(self) -> list[tuple[int, float, float]]:
        """List the marks where it is seen, (frame, x, y), the query first."""
        return [(frame, x, y) for frame, (x, y, hidden) in self.marks.items() if not hidden]

    def hidden_frames(self, frames: int) -> list[tuple[int, int]]:
        """List the ranges of frames, first and one past the last, in which its marks say that it is hidden."""
        order = [*sorted({*self.marks, *self.returns}), frames]
        return [(at, order[k + 1]) for k, at in enumerate(order[:-1]) if at in self.marks and self.marks[at][2]]

    def as_json(self) -> dict[str, Any]:
        queries = [{"frame": frame, "x": x, "y": y, "hidden": hidden} for frame, (x, y, hidden) in self.marks.items()]
        return {"id": self.id, "name": self.name, "color": self.color, "queries": queries, "returns": sorted(self.returns)}


Points = dict[str, EditedPoint]


def apply(points: Points, edit: dict[str, Any]) -> None:
    """Apply a saved edit to points."""
    kind = edit["type"]
    if kind in _OF_MASKS:
        return
    if kind == "add":
        for each in edit["points"]:
            points[each["id"]] = EditedPoint(
                each["id"], each["name"], each["color"], {each["frame"]: (each["x"], each["y"], False)}
            )
    elif kind == "clear":
        points.clear()
    elif kind == "delete":
        points.pop(edit["point"], None)
    elif (point := points.get(edit["point"])) is not None:
        if kind == "mark":
            point.marks[edit["frame"]] = edit["x"], edit["y"], edit["hidden"]
            point.returns.discard(edit["frame"])
        elif kind == "show":
            if edit["frame"] in point.marks and point.marks[edit["frame"]][2]:
                del point.marks[edit["frame"]]
            point.returns.add(edit["frame"])
        elif kind == "edit":
            point.name, point.color = edit.get("name", point.name), edit.get("color", point.color)


def read_points(texts: Iterable[str]) -> Points:
    """Read the points that result from saved edits, each as JSON. Raises Refused with 409 for edits no server saved."""
    points: Points = {}
    try:
        for text in texts:
            apply(points, parse_json(text))
        whole = len(points) <= MOST_POINTS and all(map(_is_whole, points, points.values()))
    except (Refused, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        whole = False
    if not whole:
        raise Refused(
            409, "the points of this video are not as tapetum serve saves them; move .tapetum-web away, and start over"
        )
    return points


def _is_whole(number: str, point: EditedPoint) -> bool:
    places = all(
        type(frame) is int and frame >= 0 and type(hidden) is bool and math.isfinite(x) and math.isfinite(y)
        for frame, (x, y, hidden) in point.marks.items()
    )
    frames = all(type(frame) is int and frame >= 0 for frame in point.returns)
    named = number == point.id and bool(_ID.fullmatch(number)) and _name(point.name) == point.name
    return named and _color(point.color) != "" and places and frames and bool(point.clicks)


def read_edit(content: dict[str, Any], item: MediaItem, points: Points) -> dict[str, Any]:
    """Convert a received edit to its saved form.

    Raises Refused: 400 for an invalid edit, 404 for a point that no longer exists.
    """
    kind = content.get("type")
    if kind == "add_point":
        place = {"frame": _frame(content, item), **_place(content, item)}
        name = _name(content.get("name", "")) or free_names(points, POINT, 1)[0]
        return {"type": "add", "points": [_new(points, 0, name, content.get("color"), place)]}
    if kind == "add_grid":
        return _grid(content, item, points)
    if kind == "clear":
        return {"type": "clear"}
    if kind not in ("move_point", "hide_point", "show_point", "delete_point", "edit_point"):
        raise Refused(400, f"there is no edit of the type {str(kind)[:40]!r}; reload the page")
    point = points.get(content["point"]) if isinstance(content.get("point"), str) else None
    if point is None:
        raise Refused(404, "that point is no longer there; somebody may have deleted it")
    if kind == "delete_point":
        return {"type": "delete", "point": point.id}
    if kind == "edit_point":
        checks = {"name": _name, "color": _color}
        return {"type": "edit", "point": point.id} | {name: checks[name](content[name]) for name in checks if name in content}
    frame = _frame(content, item)
    if kind == "move_point":
        return {"type": "mark", "point": point.id, "frame": frame, **_place(content, item), "hidden": False}
    return _hide(point, frame) if kind == "hide_point" else _show(point, frame)


def _hide(point: EditedPoint, frame: int) -> dict[str, Any]:
    """Hide a point from a frame on; its position is that of its nearest mark."""
    if not any(at != frame for at, _, _ in point.clicks):
        raise Refused(400, "this is the only mark of the point where it is seen; mark it on another frame first, or delete it")
    nearest = min(point.clicks, key=lambda click: abs(click[0] - frame))
    return {"type": "mark", "point": point.id, "frame": frame, "x": nearest[1], "y": nearest[2], "hidden": True}


def _show(point: EditedPoint, frame: int) -> dict[str, Any]:
    """End the hiding of a point at a frame."""
    if not any(first <= frame < end for first, end in point.hidden_frames(frame + 1)):
        raise Refused(400, f"nobody has hidden the point on frame {frame}; to say where it is seen, click there")
    return {"type": "show", "point": point.id, "frame": frame}


def _grid(content: dict[str, Any], item: MediaItem, points: Points) -> dict[str, Any]:
    frame, rows, columns = _frame(content, item), _count(content, "rows"), _count(content, "columns")
    x1, y1, x2, y2 = _box(content.get("box") or [0, 0, item.width, item.height], item)
    if rows * columns > MOST_POINTS - len(points):
        raise Refused(400, f"{rows * columns} more points are too many; a video has at most {MOST_POINTS}")
    places = [
        {"frame": frame, "x": x1 + (column + 0.5) / columns * (x2 - x1), "y": y1 + (row + 0.5) / rows * (y2 - y1)}
        for row in range(rows)
        for column in range(columns)
    ]
    if len(points) + len(places) <= len(APART):
        colors: list[str | None] = [None] * len(places)
    else:
        colours = position_colours([(place["x"], place["y"]) for place in places], item.width, item.height)  # type: ignore[arg-type]
        colors = [_hexadecimal(colour) for colour in colours]
    names = free_names(points, _name(content.get("name", "")) or POINT, len(places))
    new = zip(names, colors, places, strict=True)
    return {"type": "add", "points": [_new(points, k, *each) for k, each in enumerate(new)]}


def free_names(points: Points, base: str, count: int) -> list[str]:
    """Choose names for new points: the base and a number above all existing ones; for a single point just the base if free.

    >>> points = {"a": EditedPoint("a", "point 4", "#ff0000"), "b": EditedPoint("b", "ball", "#ff0000")}
    >>> free_names(points, "point", 2), free_names(points, "ball", 1), free_names(points, "box", 1)
    (['point 5', 'point 6'], ['ball 1'], ['box'])
    """
    used = {point.name for point in points.values()}
    if count == 1 and base not in (POINT, *used):
        return [base]
    numbers = [name.removeprefix(f"{base} ") for name in used if name.startswith(f"{base} ")]
    last = max((int(number) for number in numbers if number.isascii() and number.isdecimal() and len(number) < 7), default=0)
    return [f"{base} {last + 1 + k}" for k in range(count)]


def _new(points: Points, further: int, name: Any, color: Any, place: dict[str, Any]) -> dict[str, Any]:
    if len(points) + further >= MOST_POINTS:
        raise Refused(400, f"there are {MOST_POINTS} points, the most that a video has; delete some first")
    color = _hexadecimal(APART[(len(points) + further) % len(APART)]) if color is None else _color(color)
    return {"id": secrets.token_hex(6), "name": _name(name), "color": color, **place}


def _hexadecimal(colour: Any) -> str:
    return "#" + bytes(int(value) for value in colour).hex()


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not value.isprintable():
        raise Refused(400, f"the name of a point is a text in one line of at most {_LONGEST_NAME} letters; give another")
    return value


def _color(value: Any) -> str:
    if not isinstance(value, str) or not _COLOR.fullmatch(value):
        raise Refused(400, f"{str(value)[:40]!r} is no colour; give one as #ff8800")
    return value.lower()


def _frame(content: dict[str, Any], item: MediaItem) -> int:
    frame = content.get("frame")
    if type(frame) is not int or not 0 <= frame < item.frames:
        raise Refused(400, f"frame {str(frame)[:40]} is not in {item.name}, which has frames 0 to {item.frames - 1}")
    return frame


def _place(content: dict[str, Any], item: MediaItem) -> dict[str, float]:
    x, y = _number(content, "x"), _number(content, "y")
    if not (0 <= x <= item.width and 0 <= y <= item.height):
        raise Refused(400, f"the point {x:g},{y:g} is outside the image of {item.width}x{item.height} pixels")
    return {"x": x, "y": y}


def _number(content: dict[str, Any], name: str) -> float:
    value = content.get(name)
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:  # type: ignore[arg-type]
        raise Refused(400, f"{name} is {str(value)[:40]}; give a finite number")
    return float(value)  # type: ignore[arg-type]


def _box(box: Any, item: MediaItem) -> list[float]:
    """Read x1, y1, x2, y2 in any order of its corners, as far as it lies in the image."""
    if not isinstance(box, list) or len(box) != 4:
        raise Refused(400, "the box is not four numbers; give x1, y1, x2, y2")
    x1, y1, x2, y2 = (_number({"box": value}, "box") for value in box)
    (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
    return [min(max(value, 0.0), most) for value, most in zip((x1, y1, x2, y2), 2 * (item.width, item.height), strict=True)]


def _count(content: dict[str, Any], name: str) -> int:
    value = content.get(name)
    if type(value) is not int or not 1 <= value <= MOST_POINTS:
        raise Refused(400, f"{name} is {str(value)[:40]}; give a whole number from 1 to {MOST_POINTS}")
    return value


class Projects:
    """All projects of a folder."""

    def __init__(self, database: Database):
        self._database = database

    def points(self, item: MediaItem) -> Points:
        """Compute the points of a video."""
        return self._read(item)[1]

    def read(self, item: MediaItem) -> tuple[dict[str, Any], Points]:
        """Read a project: revision, undo, redo, tracked_revision for the page; and its points."""
        row, points = self._read(item)
        return {**row, "points": [point.as_json() for point in points.values()]}, points

    def edit(self, item: MediaItem, content: dict[str, Any]) -> int:
        """Apply an edit and save it; returns the revision. Raises Refused as `read_edit`, and with 409 if it was based on
        another revision than the current one."""
        with self._database.transaction():
            row, points = self._read(item)
            if content.get("revision", row["revision"]) != row["revision"]:
                raise Refused(409, "somebody has changed the points meanwhile; look at them, and do it again")
            edit = read_edit(content, item, points)
            position = row["undo"]
            self._database.rows("DELETE FROM edits WHERE item = ? AND position >= ?", item.id, position)
            values = item.id, position, json.dumps(edit), time.time()
            self._database.rows("INSERT INTO edits (item, position, edit, time) VALUES (?, ?, ?, ?)", *values)
            return self._save(item, row["revision"] + 1, position + 1)

    def step(self, item: MediaItem, direction: int) -> int:
        """Undo (-1) or redo (1) one edit; returns the revision. Raises Refused with 409 if there is none."""
        with self._database.transaction():
            row, _ = self._read(item)
            if not row["undo" if direction < 0 else "redo"]:
                raise Refused(409, f"there is nothing to {'undo' if direction < 0 else 'redo'}")
            return self._save(item, row["revision"] + 1, row["undo"] + direction)

    def note_tracked(self, item: str, revision: int) -> None:
        """Record that the points of a revision are tracked."""
        with self._database.transaction():
            self._database.rows("UPDATE projects SET tracked_revision = ? WHERE item = ?", revision, item)

    def _save(self, item: MediaItem, revision: int, position: int) -> int:
        self._database.rows(
            "INSERT INTO projects (item, revision, position) VALUES (?, ?, ?) "
            "ON CONFLICT (item) DO UPDATE SET revision = excluded.revision, position = excluded.position",
            *(item.id, revision, position),
        )
        return revision

    def _read(self, item: MediaItem) -> tuple[dict[str, Any], Points]:
        with self._database.transaction():  # row and edits of one moment
            row = self._database.row("SELECT * FROM projects WHERE item = ?", item.id)
            edits = self._database.rows("SELECT edit FROM edits WHERE item = ? ORDER BY position", item.id)
        position = row["position"] if row else 0
        about = {
            "revision": row["revision"] if row else 0,
            "undo": position,
            "redo": len(edits) - position,
            "tracked_revision": row["tracked_revision"] if row else None,
        }
        return about, read_points(each["edit"] for each in edits[:position])
