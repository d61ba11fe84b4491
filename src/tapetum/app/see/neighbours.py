"""Nearest neighbours of embedded files by cosine similarity, and a page that shows them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64

from tapetum.core.errors import BadInput
from tapetum.report.page import ReportPage, TableColumn, TableRow, write_report

if TYPE_CHECKING:
    from tapetum.app.see.embed import Embedded
    from tapetum.video.types import Frame

ROWS = 50
"""Most rows of a page: pieces from first to last, evenly chosen."""
_SIDE = 120
_CHUNK = 1024


def nearest(
    vectors: Float32[np.ndarray, "n c"], files: Sequence[str], count: int
) -> tuple[Int64[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
    """Find the `count` nearest neighbours of each vector in other files, and their cosines; -1 and NaN if there are fewer.

    `files` are the files of the vectors.

    >>> rows, cosines = nearest(np.array([[1, 0], [2, 0], [1, 1]], np.float32), ["a", "b", "c"], 2)
    >>> rows.tolist(), [round(cosine, 2) for cosine in cosines[0].tolist()]
    ([[1, 2], [0, 2], [0, 1]], [1.0, 0.71])
    """
    n, k = len(vectors), min(count, len(vectors))
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    owner = np.unique(np.array(files), return_inverse=True)[1]
    rows, cosines = np.full((n, count), -1, np.int64), np.full((n, count), np.nan, np.float32)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        alike = unit[part] @ unit.T
        alike[owner[part, None] == owner[None]] = -np.inf
        best = np.argsort(-alike, axis=1, kind="stable")[:, :k]
        value = np.take_along_axis(alike, best, axis=1)
        rows[part, :k] = np.where(np.isfinite(value), best, -1)
        cosines[part, :k] = np.where(np.isfinite(value), value, np.nan)
    return rows, cosines


def write_page(made: "Embedded", path: Path, places: Sequence[str]) -> Path:
    """Write a page with a row per piece: a sheet of its image and then its neighbours', and their names and cosines.

    Of many pieces, `ROWS` are shown; `places` are the files of the pieces. Raises BadInput if the page cannot be written.
    """
    assert made.neighbours is not None
    assert made.cosines is not None
    rows = []
    for row in np.unique(np.linspace(0, len(made.paths) - 1, ROWS).round().astype(int)).tolist():
        pairs = [(k, c) for k, c in zip(made.neighbours[row].tolist(), made.cosines[row].tolist(), strict=True) if k >= 0]
        text = "; ".join(f"{cosine:.3f} {_name(made, k)}" for k, cosine in pairs)
        image = partial(_sheet, made, places, [row, *(k for k, _ in pairs)])
        rows.append(TableRow(cells=(_name(made, row), text), doubt=-float(row), image=image))
    lines = [
        f"First of each sheet a piece, then those that are most alike, with their cosines: {len(rows)} of {len(made.paths)}."
    ]
    columns = TableColumn("piece"), TableColumn("nearest")
    return write_report(
        path, ReportPage(title="Nearest neighbours", lines=lines, columns=columns, rows=rows, order="As listed.")
    )


def _name(made: "Embedded", k: int) -> str:
    start = made.start_s[k]
    return "/".join(Path(made.paths[k]).parts[-2:]) + ("" if start is None else f" {start:g} s")


def _sheet(made: "Embedded", places: Sequence[str], pieces: Sequence[int]) -> "Frame":
    """Arrange the images of pieces; sound and files that no longer exist are left grey."""
    from PIL import Image, ImageOps

    from tapetum.video import open_video
    from tapetum.video.draw_regions import contact_sheet

    cells = np.full((len(pieces), _SIDE, _SIDE, 3), 238, np.uint8)
    for cell, k in zip(cells, pieces, strict=True):
        if not {"image", "video"}.intersection(made.modalities[k]):
            continue
        try:
            with open_video(places[k]) as video:
                start, stop = made.start_s[k] or 0.0, made.stop_s[k] or 0.0
                times = video.timestamps - video.timestamps[0]
                frame = Image.fromarray(video[int(np.abs(times - (start + stop) / 2).argmin())])
        except BadInput:
            continue
        cell[:] = np.asarray(ImageOps.pad(frame, (_SIDE, _SIDE), color=(238, 238, 238)))
    return contact_sheet(cells)
