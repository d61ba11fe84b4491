"""Nearest neighbours of embedded files by cosine similarity, and a page that shows them."""

import base64
import html
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text

if TYPE_CHECKING:
    from tapetum.app.see.embed import Embedded

ROWS = 200
"""Rows of a page at most: pieces from first to last, evenly chosen."""
_SIDE = 112
_CHUNK = 1024


def nearest(
    vectors: Float32[np.ndarray, "n c"], files: Sequence[str], count: int
) -> tuple[Int64[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
    """Find the `count` nearest neighbours of each vector in other files, and their cosines; -1 and NaN if there are fewer.

    Args:
        vectors: one per piece.
        files: the file of each piece; pieces of one file are not neighbours.

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


def write_page(
    made: "Embedded",
    path: Path,
    image_of: Callable[[int], UInt8[np.ndarray, "h w 3"]] | None = None,
    places: Sequence[str] | None = None,
    *,
    before: "Embedded | None" = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write an HTML page with a row per piece: its image and its neighbours' images, with names and cosines.

    The file is self-contained. Of many pieces, `ROWS` are shown. `image_of` gives the image of a piece if it differs from what
    its file shows; `places` are the files of the pieces, by default their paths. `before` are the same pieces by other vectors,
    whose neighbours stand in a row above; `notes` are HTML before all. Raises BadInput if the page cannot be written.
    """
    assert made.neighbours is not None
    assert made.cosines is not None
    rows = np.unique(np.linspace(0, len(made.paths) - 1, ROWS).round().astype(int)).tolist()
    every = [made.neighbours] if before is None or before.neighbours is None else [before.neighbours, made.neighbours]
    shown = sorted({k for row in rows for neighbours in every for k in (row, *neighbours[row].tolist()) if k >= 0})
    files = made.paths if places is None else places
    images = {k: _thumbnail(made, files, k) if image_of is None else small_image(image_of(k)) for k in shown}
    with whole_file(path) as temporary:
        write_text(temporary, "\n".join(_page(made, rows, images, before, notes)))
    return path


def _page(
    made: "Embedded", rows: Sequence[int], images: dict[int, str], before: "Embedded | None", notes: Sequence[str]
) -> Iterator[str]:
    yield "<!doctype html><meta charset='utf-8'><title>nearest neighbours</title>"
    yield (
        "<style>body{font:13px sans-serif;margin:1em}div{display:flex;gap:8px;margin-bottom:8px}"
        f"figure{{margin:0;width:{_SIDE}px;overflow-wrap:anywhere}}figure:first-child{{margin-right:20px;font-weight:bold}}"
        f"img,i{{display:flex;width:{_SIDE}px;height:{_SIDE}px;object-fit:contain;background:#eee;align-items:center;"
        "justify-content:center}</style>"
    )
    note = "" if len(rows) == len(made.paths) else f", {len(rows)} of {len(made.paths)} pieces"
    yield f"<p>Left: a file. Right of it: the files that are most alike, with the cosine of their vectors{note}.</p>"
    if before is not None:
        yield "<p>Each twice: the first row by the encoder before, the second by the encoder after.</p>"
    yield from notes
    for row in rows:
        for vectors in (made,) if before is None else (before, made):
            assert vectors.neighbours is not None
            assert vectors.cosines is not None
            cells = [_cell(made, row, images[row], "")]
            for k, cosine in zip(vectors.neighbours[row].tolist(), vectors.cosines[row].tolist(), strict=True):
                if k >= 0:
                    cells.append(_cell(made, k, images[k], f"{cosine:.3f} "))
            yield f"<div>{''.join(cells)}</div>"


def _cell(made: "Embedded", k: int, image: str, before: str) -> str:
    start, name = made.start_s[k], html.escape("/".join(Path(made.paths[k]).parts[-2:]))
    when = "" if start is None else f" {start:g} s"
    return f"<figure title='{html.escape(made.paths[k], quote=True)}'>{image}{before}{name}{when}</figure>"


def _thumbnail(made: "Embedded", files: Sequence[str], k: int) -> str:
    """An image tag for a piece; text for sound and for files that no longer exist."""
    from tapetum.video import open_video

    if "image" not in made.modalities[k] and "video" not in made.modalities[k]:
        return "<i>sound</i>"
    try:
        with open_video(files[k]) as video:
            start, stop = made.start_s[k], made.stop_s[k]
            frame = 0
            if start is not None and stop is not None:
                times = video.timestamps - video.timestamps[0]
                frame = int(np.abs(times - (start + stop) / 2).argmin())
            return small_image(video[frame])
    except BadInput:
        return "<i>gone</i>"


def small_image(frame: UInt8[np.ndarray, "h w 3"]) -> str:
    """Write an image tag with an embedded JPEG thumbnail."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return image_tag(out.getvalue())


def image_tag(jpeg: bytes) -> str:
    """Write an image tag with an embedded JPEG."""
    return f"<img src='data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}'>"
