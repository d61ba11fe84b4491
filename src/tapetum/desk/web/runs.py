"""Training runs in the served folder: their ledgers, and curves from their logs."""

import os
import secrets
from pathlib import Path
from typing import Any

from tapetum.app.score.ledger import FILE, LedgerOptions, ledger
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.core.files import writable
from tapetum.desk.web.answers import Refused, hide_paths
from tapetum.desk.web.database import Database
from tapetum.desk.web.folder_files import file_inside
from tapetum.desk.web.items import PATH
from tapetum.report.curves import read_curves

LOG = "log.jsonl"
_POINTS = 2000
"""Of a curve that are sent, evenly; the last is always among them."""


class Runs:
    """Runs by random ids."""

    def __init__(self, database: Database, folder: Path):
        self._database, self._folder = database, folder

    def list_all(self) -> dict[str, Any]:
        """List the runs of the folder, with the totals of their ledgers; new ones get ids."""
        runs = []
        for path in self._places():
            name = path.relative_to(self._folder).as_posix()
            runs.append({"id": self._number(name), "name": writable(name), **self._costs(path)})
        return {"runs": runs}

    def get(self, number: str) -> dict[str, Any]:
        """Read the ledger of a run, and the curves of its log: name, x (steps), y.

        Raises Refused with 404 if there is no such run.
        """
        row = self._database.row("SELECT path FROM runs WHERE id = ?", number)
        if row is None or (path := self._folder / row["path"]) not in self._places():
            raise Refused(404, "there is no such run; reload the page")
        log = self._file(path, LOG)
        curves = read_curves(log) if log is not None else {}
        shown = [{"name": name, **_columns(points)} for name, points in curves.items()]
        return {"id": number, "name": writable(row["path"]), **self._costs(path), "curves": shown}

    def _places(self) -> list[Path]:
        folders_of_runs = []
        for place, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if any(name in names and self._file(Path(place), name) is not None for name in (FILE, LOG)):
                folders_of_runs.append(Path(place))
        return folders_of_runs

    def _file(self, place: Path, name: str) -> Path | None:
        """The file of a run; None if it has none, or one that leads out of the folder."""
        return file_inside(self._folder, (place / name).relative_to(self._folder).as_posix())

    def _number(self, name: str) -> str:
        data = os.fsencode(name)
        with self._database.transaction():
            self._database.rows(f"INSERT OR IGNORE INTO runs (id, path) VALUES (?, {PATH})", secrets.token_hex(8), data)
            return self._database.rows(f"SELECT id FROM runs WHERE path = {PATH}", data)[0]["id"]

    def _costs(self, path: Path) -> dict[str, Any]:
        file = self._file(path, FILE)
        if file is None:
            return {"ledger": None}
        try:
            [content] = ledger.run(LedgerOptions((file,)), Listener()).ledgers.values()
        except BadInput as error:
            return {"ledger": None, "trouble": hide_paths(str(error), self._folder)}
        return {"ledger": content}


def _columns(points: list[tuple[float, float]]) -> dict[str, list[float]]:
    every = -(-len(points) // _POINTS)
    shown = points[::every] if (len(points) - 1) % every == 0 else [*points[::every], points[-1]]
    return {"x": [x for x, _ in shown], "y": [y for _, y in shown]}
