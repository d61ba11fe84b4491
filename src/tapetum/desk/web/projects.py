"""Projects: the points and prompts on each video, stored as edits; undo and redo step through these.

position   how many edits hold; those after it can be redone until another edit takes their place
revision   counts edits, undos and redos, so that a page knows whether it is up to date
"""

import json
import time
from typing import Any

from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import Database
from tapetum.desk.web.edits import Points, read_edit, read_points
from tapetum.desk.web.items import MediaItem
from tapetum.desk.web.prompts import replay_prompts


class Projects:
    """All projects of a folder."""

    def __init__(self, database: Database):
        self._database = database

    def points(self, item: MediaItem) -> Points:
        """Compute the points of a video."""
        return self._read(item)[1]

    def read(self, item: MediaItem) -> tuple[dict[str, Any], Points]:
        """Read a project: revision, undo, redo, tracked_revision, prompts for the page; and its points."""
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
        texts = [each["edit"] for each in edits[:position]]
        return {**about, "prompts": replay_prompts(texts)}, read_points(texts)
