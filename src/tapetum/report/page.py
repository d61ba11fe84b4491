"""The page of a report: a head and a table that sorts and filters, with thumbnails; one file that needs no network.

The content is stored in the page as JSON, and its script builds the page with `textContent`, so file names are never parsed as
HTML. A policy in the page (Content-Security-Policy) allows only its own script and embedded images.

    element "data"   {"table": {"columns": [{"name", "digits"}], "rows": [{"cells", "trouble"}],
                     "images": JPEG of each row as base64, or null}}
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tapetum.core.files import (
    content_security_policy,
    embedded_json,
    escaped,
    filled,
    resource,
    writable,
    write_text,
)

IMAGE_BYTES = 24_000_000
"""Maximum total size of a page's thumbnails; the least doubtful rows beyond it have none."""
SIDES = {50: 480, 500: 240, 2000: 160}
"""Longer side of thumbnails in pixels, by maximum number of rows."""
_LEAST_SIDE = 96


@dataclass(frozen=True)
class TableColumn:
    name: str
    digits: int | None = None
    """Decimal places of numbers; None for text."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """An image, a video or a point."""

    cells: Sequence[str | float | None]
    """A value per column; only the first if the item failed."""
    doubt: float
    """Rows are sorted by this, the largest first."""
    image: Callable[[], "UInt8[np.ndarray, 'h w 3'] | None"] | None = None
    """Draws the thumbnail; may return None."""
    trouble: str | None = None
    """Why the item failed; shown in place of the other cells."""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    title: str
    lines: Sequence[str] = ()
    """Paragraphs at the head."""
    columns: Sequence[TableColumn] = ()
    rows: Sequence[TableRow] = ()
    order: str = ""
    """Description of the order of rows."""


def write_report(path: Path, report: ReportPage, progress: Callable[[int, int], None] = lambda done, count: None) -> Path:
    """Write the page atomically. Raises BadInput if it cannot be written."""
    text = report_html(report, progress)
    write_text(path, text)
    return path


def report_html(report: ReportPage, progress: Callable[[int, int], None] = lambda done, count: None) -> str:
    """Build the page; `progress` is called with the number of rows whose images are done and the total."""
    package = __package__ or "tapetum.report"
    style, script, title = resource(package, "page.css"), resource(package, "table.js"), escaped(writable(report.title))
    parts = {
        "title": title,
        "policy": escaped(content_security_policy(style, script)),
        "style": style,
        "script": script,
        "data": embedded_json({"table": _table(report, progress)}),
        "lines": "\n".join(f"<p>{escaped(writable(line))}</p>" for line in report.lines),
        "order": escaped(report.order),
    }
    return filled(package, "page.html", parts)


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"], side: int, quality: int = 78) -> bytes:
    """Encode an image as JPEG, with its longer side at most `side` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.BOX if max(small.size) > 4 * side else Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _table(report: ReportPage, progress: Callable[[int, int], None]) -> dict[str, Any]:
    rows = sorted(report.rows, key=lambda row: -row.doubt)
    side = next((side for most, side in SIDES.items() if len(rows) <= most), _LEAST_SIDE)
    images: list[str | None] = []
    room = IMAGE_BYTES
    for done, row in enumerate(rows, 1):
        image = row.image() if row.image is not None and room > 0 else None
        jpeg = b"" if image is None else encode_jpeg(image, side)
        room -= len(jpeg)
        images.append(base64.b64encode(jpeg).decode() if jpeg and room >= 0 else None)
        progress(done, len(rows))
    used = [k for k in range(len(report.columns)) if any(k < len(row.cells) and row.cells[k] is not None for row in rows)]
    columns = [report.columns[k] for k in used]
    return {
        "columns": [{"name": column.name, "digits": column.digits} for column in columns],
        "rows": [
            {"cells": [_cell(row.cells, k) for k in used]} | ({} if row.trouble is None else {"trouble": writable(row.trouble)})
            for row in rows
        ],
        "images": images if any(images) else None,
    }


def _cell(cells: Sequence[str | float | None], column: int) -> str | float | None:
    value = cells[column] if column < len(cells) else None
    if isinstance(value, str):
        return writable(value)
    return None if value is None or not np.isfinite(value) else round(float(value), 6)
