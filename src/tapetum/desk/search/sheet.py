"""Contact sheets of images and moments of films: one HTML file with images, times and similarities."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tapetum.app.see.neighbours import image_tag, small_image
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text

if TYPE_CHECKING:
    from tapetum.desk.search.results import MomentMatch

IMAGES = 3
"""Of a moment: in the middle of each third."""


def write_sheet(title: str, groups: "Sequence[tuple[str, Sequence[MomentMatch]]]", remarks: Sequence[str], path: Path) -> Path:
    """Write a page with a heading per group and a cell per moment; missing files are marked.

    Raises BadInput if it cannot be written.
    """
    with whole_file(path) as temporary:
        write_text(temporary, "\n".join(_page(title, groups, remarks)))
    return path


def clock(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds.

    >>> clock(75.25), clock(3661)
    ('1:15.2', '1:01:01.0')
    """
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _page(title: str, groups: "Sequence[tuple[str, Sequence[MomentMatch]]]", remarks: Sequence[str]) -> Iterator[str]:
    yield f"<!doctype html><meta charset='utf-8'><title>{html.escape(title)}</title>"
    yield (
        "<style>:root{color-scheme:light dark}body{font:14px sans-serif;margin:1em}section{display:grid;gap:18px;"
        "grid-template-columns:repeat(auto-fill,minmax(120px,1fr))}article.film{grid-column:span 3}"
        "div{display:flex;gap:6px;margin:0 0 4px}img,i{width:112px;height:112px;object-fit:contain;background:#8883;"
        "display:flex;align-items:center;justify-content:center}p{margin:0 0 6px;overflow-wrap:anywhere}</style>"
    )
    yield f"<h1>{html.escape(title)}</h1>"
    for remark in remarks:
        yield f"<p>{html.escape(remark)}</p>"
    for heading, moments in groups:
        if heading:
            yield f"<h2>{html.escape(heading)}</h2>"
        yield "<section>"
        for number, each in enumerate(moments, 1):
            place = html.escape(each.path, quote=True)
            name = html.escape("/".join(Path(each.path).parts[-2:]))
            when = "" if each.start_s is None or each.stop_s is None else f"{clock(each.start_s)} to {clock(each.stop_s)}, "
            score = "" if each.score is None else f" ({each.score:.3f})"
            film = "" if each.start_s is None else " class='film'"
            yield f"<article{film}><div>{''.join(_images(each))}</div>"
            yield f"<p title='{place}'>{number}. {when}{name}{score}</p></article>"
        yield "</section>"


def _images(each: "MomentMatch") -> Iterator[str]:
    from tapetum.video import open_video

    if each.thumbnails:
        yield from map(image_tag, each.thumbnails)
        return
    try:
        with open_video(each.path) as video:
            if each.start_s is None or each.stop_s is None:
                yield small_image(video[0])
                return
            times = video.timestamps - video.timestamps[0]
            for k in range(IMAGES):
                at = each.start_s + (each.stop_s - each.start_s) * (2 * k + 1) / (2 * IMAGES)
                yield small_image(video[int(np.abs(times - at).argmin())])
    except BadInput:
        yield "<i>gone</i>"
