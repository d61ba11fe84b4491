"""Contact sheets of videos: one HTML file with images of moments, their times and similarities."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tapetum.app.neighbours import small_image
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text

if TYPE_CHECKING:
    from tapetum.app.search import MomentMatch

IMAGES = 3
"""Of a moment: in the middle of each third."""


def write_sheet(words: str, moments: Sequence["MomentMatch"], path: Path) -> Path:
    """Write a page with a row a moment; a file that is gone is said to be. Raises BadInput where it cannot be written."""
    with whole_file(path) as temporary:
        write_text(temporary, "\n".join(_page(words, moments)))
    return path


def clock(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds.

    >>> clock(75.25), clock(3661)
    ('1:15.2', '1:01:01.0')
    """
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _page(words: str, moments: Sequence["MomentMatch"]) -> Iterator[str]:
    title = html.escape(words)
    yield f"<!doctype html><meta charset='utf-8'><title>{title}</title>"
    yield (
        "<style>body{font:14px sans-serif;margin:1em}div{display:flex;gap:6px;margin:0 0 4px}"
        "img,i{width:112px;height:112px;object-fit:contain;background:#eee;display:flex;align-items:center;"
        "justify-content:center}p{margin:0 0 18px;overflow-wrap:anywhere}</style>"
    )
    yield f"<h1>{title}</h1>"
    for number, each in enumerate(moments, 1):
        place = html.escape(each.path, quote=True)
        name = html.escape("/".join(Path(each.path).parts[-2:]))
        when = "" if each.start_s is None or each.stop_s is None else f"{clock(each.start_s)} to {clock(each.stop_s)}, "
        yield f"<div>{''.join(_images(each))}</div>"
        yield f"<p title='{place}'>{number}. {when}{name} ({each.cosine:.3f})</p>"


def _images(each: "MomentMatch") -> Iterator[str]:
    from tapetum.video import open_video

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
