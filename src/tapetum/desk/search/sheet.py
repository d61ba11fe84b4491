"""Contact sheet of a search: one HTML file with images, times and similarities."""

import html
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tapetum.app.see.neighbours import image_tag, small_image
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.desk.search.results import MomentMatch, Searched
from tapetum.video import open_video

IMAGES = 3
"""Images of a moment without thumbnails: in the middle of each third."""
_STYLE = "body{font:14px sans-serif}section{display:inline-block;margin:0 18px 12px 0}img{height:112px;margin-right:6px}"


def write_sheet(title: str, result: Searched, path: Path) -> Path:
    """Write a page with the images of each moment; missing files are marked. Raises BadInput if it cannot be written."""
    title = html.escape(title)
    lines = [f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"]
    lines += [f"<p>{html.escape(remark)}</p>" for remark in result.remarks()]
    for number, each in enumerate(result.moments, 1):
        span = "" if each.start_s is None or each.stop_s is None else f"{each.start_s:.1f} to {each.stop_s:.1f} s, "
        name = html.escape("/".join(Path(each.path).parts[-2:]))
        about = f"<p title='{html.escape(each.path, quote=True)}'>{number}. {span}{name} ({each.cosine:.3f})</p>"
        lines.append(f"<section>{''.join(_images(each))}{about}</section>")
    with whole_file(path) as temporary:
        write_text(temporary, "\n".join(lines))
    return path


def _images(each: MomentMatch) -> Iterator[str]:
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
