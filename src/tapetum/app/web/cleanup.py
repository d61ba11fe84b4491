"""Removal of features of frames that serve nothing any more; they are large, and are computed again where they are missing."""

from pathlib import Path

from tapetum.app.web.database import Database
from tapetum.app.web.edits import replay
from tapetum.app.web.jobs import Jobs
from tapetum.core.reading import parse_json


def remove_features(place: Path, database: Database, folder: Path, jobs: Jobs) -> None:
    """Remove the features of videos that are gone or have no points, unless a job is at work on them."""
    for path in (place / "features").glob("*"):
        item = path.name.split(".")[0]
        row = database.row("SELECT path FROM items WHERE id = ?", item)
        there = row is not None and (folder / row["path"]).is_file()
        if not (there and _has_points(database, item)) and not jobs.at_work_on(item):
            path.unlink(missing_ok=True)


def _has_points(database: Database, item: str) -> bool:
    edits = database.rows(
        "SELECT edit FROM edits WHERE item = ? AND position < (SELECT position FROM projects WHERE item = ?) ORDER BY position",
        *(item, item),
    )
    return bool(replay(parse_json(each["edit"]) for each in edits))
