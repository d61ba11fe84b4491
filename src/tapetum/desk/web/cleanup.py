"""Removal of frame features that are no longer needed; they are large, and are recomputed when missing."""

from contextlib import suppress
from pathlib import Path

from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import Database
from tapetum.desk.web.edits import read_points
from tapetum.desk.web.folder_files import file_inside
from tapetum.desk.web.hidden import check_plain
from tapetum.desk.web.jobs import Jobs
from tapetum.desk.web.prompts import replay_prompts


def remove_features(place: Path, database: Database, folder: Path, jobs: Jobs) -> None:
    """Remove the features of videos that are gone or have neither points nor prompts, unless a job is working on them."""
    for path in check_plain(place / "features").glob("*"):
        item = path.name.split(".")[0]
        row = database.row("SELECT path FROM items WHERE id = ?", item)
        there = row is not None and file_inside(folder, row["path"]) is not None
        if not (there and _is_used(database, item)) and not jobs.at_work_on(item):
            with suppress(OSError):  # a folder
                path.unlink()


def _is_used(database: Database, item: str) -> bool:
    edits = database.rows(
        "SELECT edit FROM edits WHERE item = ? AND position < (SELECT position FROM projects WHERE item = ?) ORDER BY position",
        *(item, item),
    )
    try:
        texts = [each["edit"] for each in edits]
        return bool(read_points(texts) or replay_prompts(texts))
    except Refused:
        return True  # nobody knows
