"""Reports of `classify`, `caption`, `ask`, `detect`, `segment` and `discover`: one row per image, the least confident first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapetum.app.see.replies import ImageReplies, ImageReply, draw_reply
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.report.page import ReportPage, TableColumn, TableRow, write_report
from tapetum.video.types import Frame

if TYPE_CHECKING:
    from tapetum.app.see.classify import Classes, Classified
    from tapetum.app.see.classify_labels import FittingLabels, LabelsFitted
    from tapetum.app.track.track_things import Things
    from tapetum.video import Video

_FRAMES = 4
"""Frames of a video side by side, where what was said is about all of it."""
_FAILED = "could not be read"


def write_classes_report(
    path: Path, classified: "Classified | LabelsFitted", sources: Sequence[tuple[str, Any]], listener: Listener
) -> Path:
    """Write the report of `tapetum classify`, with or without labels. Raises BadInput if it cannot be written.

    Args:
        path: of the page.
        classified: the result.
        sources: name and source of each image, to show them.
        listener: receives progress.
    """
    from tapetum.app.see.classify import Classified

    images = dict(sources)
    if isinstance(classified, Classified):
        columns = "class", "probability", "second", "its probability"
        order = "The least probable first."
        rows = [_class_row(each, images) for each in classified.images]
    else:
        columns = "label", "share", "second", "its share"
        order = "What fits none of the labels first, then by the share."
        rows = [_label_row(each, images) for each in classified.images]
    rows += [_failed_row(name, _FAILED) for name in classified.failed]
    named = [TableColumn("image"), *(TableColumn(name, 3 if k % 2 else None) for k, name in enumerate(columns))]
    report = ReportPage(title="What is in images", lines=[_counted(rows)], columns=named, rows=rows, order=order)
    return write_report(path, report, partial(listener.progress, "report: images"))


def _class_row(image: "Classes", sources: Mapping[str, Any]) -> TableRow:
    return _ranked_row(image.path, image.names, image.probabilities.tolist(), sources, 0.0)


def _label_row(image: "FittingLabels", sources: Mapping[str, Any]) -> TableRow:
    names = image.names if image.fits else ("none of these", *image.names)
    shares = list(image.shares) if image.fits else [float("nan"), *image.shares]
    return _ranked_row(image.path, names, shares, sources, 0.0 if image.fits else 2.0)


def _ranked_row(path: str, names: Sequence[str], values: Sequence[float], sources: Mapping[str, Any], doubt: float) -> TableRow:
    second = (names[1], values[1]) if len(names) > 1 else (None, None)
    best = 0.0 if np.isnan(values[0]) else values[0]
    cells = (path, names[0], values[0], *second)
    return TableRow(cells=cells, doubt=doubt + 1 - best, image=partial(_image, sources[path], path))


def write_replies_report(
    path: Path, replies: ImageReplies, sources: Mapping[str, Any], frames: int | None, title: str, listener: Listener
) -> Path:
    """Write the report of a vision-language model's replies. Raises BadInput if it cannot be written.

    Args:
        path: of the page.
        replies: the result.
        sources: each image or video by its path in the result; several if they were shown together.
        frames: number of frames used per video.
        title: of the page.
        listener: receives progress.
    """
    if replies.regions:
        columns = (
            TableColumn("image"),
            TableColumn("frame", 0),
            TableColumn("things", 0),
            TableColumn("labels"),
            TableColumn("least score", 3),
        )
        order = "Images in which nothing was found first, then by the least score."
        rows = [_regions_row(each, sources, frames) for each in replies.images]
    else:
        columns = TableColumn("image"), TableColumn("answer"), TableColumn("probability", 3), TableColumn("remark")
        order = "The least probable answers first."
        rows = [_words_row(each, sources, frames) for each in replies.images]
    rows += [_failed_row(each["path"], each["trouble"]) for each in replies.failed]
    lines = [f"The model was told: {replies.images[0].prompt}", _counted(rows)]
    report = ReportPage(title=title, lines=lines, columns=columns, rows=rows, order=order)
    return write_report(path, report, partial(listener.progress, "report: images"))


def _words_row(reply: ImageReply, sources: Mapping[str, Any], frames: int | None) -> TableRow:
    remark = None if reply.ended else "cut: longer than --tokens allows"
    cells = (reply.path, reply.answer.text or "(nothing)", reply.answer.score, remark)
    doubt = 1 - reply.answer.score + (not reply.ended)
    return TableRow(cells=cells, doubt=doubt, image=partial(_shown, sources.get(reply.path), reply, frames))


def _regions_row(reply: ImageReply, sources: Mapping[str, Any], frames: int | None) -> TableRow:
    scores = [] if reply.boxes.scores is None else reply.boxes.scores.tolist()
    labels = ", ".join(dict.fromkeys(filter(None, reply.boxes.labels)))
    left_out = [f"{reply.malformed} malformed"] if reply.malformed else []
    left_out += [f"not asked for: {', '.join(reply.unasked)}"] if reply.unasked else []
    text = f"{labels or '(nothing)'}{f' ({chr(59).join(left_out)})' if left_out else ''}"
    least = min(scores) if scores else None
    doubt = 2.0 if least is None else 1 - least + bool(left_out)
    cells = (reply.path, reply.frame, len(scores), text, least)
    return TableRow(cells=cells, doubt=doubt, image=partial(_shown, sources.get(reply.path), reply, frames))


def _shown(source: Any, reply: ImageReply, frames: int | None) -> Frame | None:
    """Draw the image of a reply; None if its file has gone."""
    from tapetum.systems.paligemma.images import read_images, read_numbered

    try:
        if isinstance(source, tuple):
            return _side_by_side([_image(each, "an image") for each in source[:_FRAMES]])
        if reply.frame is None and reply.frames > 1:
            return _side_by_side(list(read_images(source, min(frames or 1, _FRAMES))))
        images, numbers = read_numbered(source, frames)
        which = list(numbers).index(reply.frame) if reply.frame is not None else 0
        return draw_reply(images[which], reply)
    except (BadInput, ValueError):
        return None


def write_things_report(path: Path, things: "Things", video: "Video", listener: Listener) -> Path:
    """Write the report of objects tracked through a video: a row each, the lowest scores first."""
    from tapetum.types import Boxes
    from tapetum.video.draw_regions import draw_regions

    boxes = things.boxes

    def drawn(thing: int, frame: int) -> Frame:
        one = Boxes(xyxy=boxes.xyxy[thing, frame][None], labels=[boxes.labels[thing]])
        return draw_regions(video[frame], one)

    rows = []
    for thing, label in enumerate(boxes.labels):
        shown = np.flatnonzero(boxes.shown[thing])
        least = int(shown[boxes.scores[thing, shown].argmin()]) if len(shown) else 0
        score, share = float(boxes.scores[thing, least]), float(boxes.shown[thing].mean())
        cells = (label, share, int(boxes.detected[thing].sum()), score, least)
        rows.append(TableRow(cells=cells, doubt=2 - score - share, image=partial(drawn, thing, least)))
    columns = (
        TableColumn("thing"),
        TableColumn("share of frames", 2),
        TableColumn("times found", 0),
        TableColumn("least score", 3),
        TableColumn("in frame", 0),
    )
    lines = [f"{len(rows)} things through {boxes.frames} frames."]
    order = "Those that are lost most, or least sure, first; the image shows the least sure frame."
    report = ReportPage(title=f"Things in {video.name}", lines=lines, columns=columns, rows=rows, order=order)
    return write_report(path, report, partial(listener.progress, "report: things"))


def objects_report(
    objects: Iterable[tuple[str, Sequence[float], Callable[[], Frame | None]]], failed: Sequence[str], lines: Sequence[str]
) -> ReportPage:
    """Build the report of `tapetum discover`.

    Args:
        objects: of each image its path, the scores of its objects, and what draws it.
        failed: paths of images that could not be read.
        lines: text at its head.
    """
    rows = []
    for path, scores, drawn in objects:
        best = max(scores, default=None)
        cells = (Path(path).name, len(scores), best, min(scores, default=None))
        rows.append(TableRow(cells=cells, doubt=2.0 if best is None else 1 - best, image=drawn))
    rows += [_failed_row(name, _FAILED) for name in failed]
    columns = TableColumn("image"), TableColumn("objects", 0), TableColumn("best score", 3), TableColumn("least score", 3)
    order = "Left the image, right what was discovered. The lowest best score first."
    return ReportPage(title="Objects discovered without labels", lines=lines, columns=columns, rows=rows, order=order)


def _image(source: Any, name: str) -> Frame | None:
    from tapetum.video.read import read_image

    try:
        return read_image(source, name)
    except BadInput:
        return None


def _side_by_side(images: Sequence[Frame | None]) -> Frame | None:
    from PIL import Image

    there = [each for each in images if each is not None]
    if not there:
        return None
    height = min(each.shape[0] for each in there)
    sizes = [(max(round(each.shape[1] * height / each.shape[0]), 1), height) for each in there]
    return np.concatenate([np.asarray(Image.fromarray(i).resize(s)) for i, s in zip(there, sizes, strict=True)], axis=1)


def _failed_row(path: str, trouble: str) -> TableRow:
    return TableRow(cells=(path,), doubt=np.inf, trouble=trouble)


def _counted(rows: Sequence[TableRow]) -> str:
    failed = sum(row.trouble is not None for row in rows)
    return f"Rows: {len(rows)}; could not be read: {failed}." if failed else f"Rows: {len(rows)}."
