"""The page of a report: a head, a film with tracks, a table that sorts and filters; all in one file that needs no network.

The content is stored in the page as JSON, and its script builds the page with `textContent`, so file names are never parsed as
HTML. A policy in the page (Content-Security-Policy) allows only its own script and embedded images.

    element "data"   {"film": see `film`, "table": {"columns": [{"name", "digits"}], "rows": [{"cells", "trouble", "goes_to"}],
                     "images": JPEG of each row as base64, or null}}
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    whole_file,
    writable,
    write_text,
)

IMAGE_BYTES = 24_000_000
"""Most bytes of all thumbnails of a page; rows that would exceed them, the least doubtful, have none."""
SIDES = {50: 480, 500: 240, 2000: 160}
"""Longer side of thumbnails in pixels, by the most rows that have such large ones."""
_LEAST_SIDE = 96


@dataclass(frozen=True)
class TableColumn:
    """A column of the table."""

    name: str
    digits: int | None = None
    """Digits behind the point of numbers; None of texts."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of the table: an image, a video or a point."""

    cells: Sequence[str | float | None]
    """A value for each column; of what failed the first alone."""
    doubt: float
    """The rows with the largest come first."""
    image: Callable[[], "UInt8[np.ndarray, 'h w 3'] | None"] | None = None
    """Draws what stands beside the cells; None where there is nothing to show any more."""
    trouble: str | None = None
    """Why it failed, in place of the other cells."""
    goes_to: tuple[int, int] | None = None
    """Point and frame of the film that the row leads to."""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """Content of a page."""

    title: str
    lines: Sequence[str] = ()
    """What is said at its head."""
    columns: Sequence[TableColumn] = ()
    rows: Sequence[TableRow] = ()
    order: str = ""
    """What rows come first, in words."""
    film: dict[str, Any] | None = field(default=None, repr=False)
    """Made by `tapetum.report.film.film_data`."""
    charts: Sequence[str] = field(default=(), repr=False)
    """SVG of our own making."""


def write_report(path: Path, report: ReportPage, progress: Callable[[int, int], None] = lambda done, count: None) -> Path:
    """Write the page atomically. Raises BadInput if it cannot be written."""
    text = report_html(report, progress)
    with whole_file(path) as temporary:
        write_text(temporary, text)
    return path


def report_html(report: ReportPage, progress: Callable[[int, int], None] = lambda done, count: None) -> str:
    """Build the page; `progress` is called with the number of rows whose images are done and the total."""
    package = __package__ or "tapetum.report"
    style = resource(package, "page.css")
    script = resource(package, "film.js") + resource(package, "table.js")
    content = {"film": report.film, "table": _table(report, progress) if report.columns else None}
    parts = {
        "title": escaped(writable(report.title)),
        "policy": escaped(content_security_policy(style, script)),
        "style": style,
        "script": script,
        "data": embedded_json(content),
        "body": "\n".join(_body(report)),
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
        "rows": [_row(row, used) for row in rows],
        "images": images if any(images) else None,
    }


def _row(row: TableRow, columns: Sequence[int]) -> dict[str, Any]:
    made: dict[str, Any] = {"cells": [_cell(row.cells[k]) if k < len(row.cells) else None for k in columns]}
    if row.trouble is not None:
        made["trouble"] = writable(row.trouble)
    return made if row.goes_to is None else {**made, "goes_to": row.goes_to}


def _cell(value: str | float | None) -> str | float | None:
    if isinstance(value, str):
        return writable(value)
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


def _body(report: ReportPage) -> Sequence[str]:
    lines = [f"<header><h1>{escaped(writable(report.title))}</h1>"]
    lines += [f"<p>{escaped(writable(line))}</p>" for line in report.lines]
    lines += ["</header><main>"]
    if report.film is not None:
        checks = report.film["doubtful"]
        lines += ["<section id='film' class='checks'>" if checks else "<section id='film'>", _STAGE]
        lines += [_CHECKS if checks else "", "</section>"]
    if report.columns:
        lines.append(_TABLE.format(order=escaped(report.order)))
    if report.charts:
        lines += ["<section class='charts'>", *report.charts, "</section>"]
    return [*lines, "</main>"]


_STAGE = """<div><div id='stage'><canvas id='frame' role='img' aria-label='The frame with its points'></canvas>
<div id='tip' hidden></div></div>
<div id='controls'><button id='play'>Play</button><input id='slider' type='range' min='0' value='0' aria-label='Frame'>
<span id='time' role='status'></span></div></div>"""
_CHECKS = """<div id='checks' tabindex='0' role='region' aria-label='Look here first'><h2>Look here first</h2>
<ol id='places'></ol></div>"""
_TABLE = """<section><div class='bar'><input id='search' type='search' placeholder='Filter' aria-label='Filter rows'>
<span id='count' role='status'></span><button id='reset'>Most doubtful first</button><span class='soft'>{order}</span></div>
<div class='wide'><table><thead><tr id='heads'></tr></thead><tbody id='rows'></tbody></table></div>
<button id='more' hidden>Show more</button></section><dialog id='large'><img alt='Enlarged'></dialog>"""
