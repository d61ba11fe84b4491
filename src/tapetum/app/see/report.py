"""Reports of verbs about images: a row for each image, what is said of it, and how sure that is; the least sure first."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.report.page import ReportPage, TableColumn, TableRow, write_report
from tapetum.video.types import Frame

UNREAD = "could not be read"


class ReplyRow(NamedTuple):
    """A row: an image and what is said of it."""

    name: str
    text: str
    score: float | None
    """None comes first."""
    image: Callable[[], Frame | None]
    """Draws it; None if its file has gone."""


def rows_page(title: str, lines: Sequence[str], rows: Iterable[ReplyRow], failed: Iterable[tuple[str, str]]) -> ReportPage:
    """Build the page of some rows; `failed` are the names of images without a row, and why."""
    table = [
        TableRow(cells=(row.name, row.text, row.score), doubt=2.0 if row.score is None else 1 - row.score, image=row.image)
        for row in rows
    ]
    table += [TableRow(cells=(name,), doubt=np.inf, trouble=trouble) for name, trouble in failed]
    columns = TableColumn("image"), TableColumn("what is said"), TableColumn("score", 3)
    return ReportPage(
        title=title, lines=[*lines, f"Rows: {len(table)}."], columns=columns, rows=table, order="The lowest scores first."
    )


def write_rows(
    path: Path,
    title: str,
    lines: Sequence[str],
    rows: Iterable[ReplyRow],
    failed: Iterable[tuple[str, str]],
    listener: Listener,
) -> Path:
    """Write the page of some rows. Raises BadInput if it cannot be written."""
    return write_report(path, rows_page(title, lines, rows, failed), partial(listener.progress, "report: images"))


def read_or_none(source: Any, name: str) -> Frame | None:
    """Read an image; None if its file has gone."""
    from tapetum.video.read import read_image

    try:
        return read_image(source, name)
    except BadInput:
        return None
