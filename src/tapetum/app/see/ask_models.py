"""Code shared by `ask`, `caption`, `detect` and `segment`: a model's replies about images and videos, drawn and saved.

DIR/NAME.png      the image with boxes, masks or words on it; of a video a sheet of the frames that were shown
DIR/NAME.json     what was said of it; an image that has one, made with the same settings, is not asked about again
DIR/answers.json  all of them; or FILE.json, and nothing else, where that is asked for

Text replies are about all frames of a video together; boxes and masks are predicted for each frame separately.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.see.jobs import Job, answer_jobs, find_jobs, is_answers, saved_rows
from tapetum.app.see.replies import ImageReplies, ImageReply, draw_reply, from_json, region_text
from tapetum.app.see.settings import CLASSIFIER, ImageOptions, Request
from tapetum.app.verb import Listener
from tapetum.bench.word_models import describe_model, next_step
from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, check_place, write_json
from tapetum.core.identity import Outdated
from tapetum.core.provenance import check, protect
from tapetum.hub.registry import find
from tapetum.report import check_report

if TYPE_CHECKING:
    from tapetum.video.types import Frame

ANSWERS = "answers.json"
"""The file that has all answers."""
_FRAMES = 4
"""Frames of a video that a report shows, where what was said is about all of it."""


def see(options: ImageOptions, request: Request, listener: Listener, together: bool = False) -> ImageReplies:
    """Ask the model about each image; with `together`, once about all of them.

    Unreadable images and malformed answers are reported to the listener. Raises BadInput if there are no images or none can be
    read, the model is not installed, or the prompt is empty or too long.
    """
    options.check()
    report = check_report(options.report)
    jobs = find_jobs(options, request, together)
    folder = next((job.saved.parent for job in jobs if job.saved), None)
    answers = None if folder is None else folder / ANSWERS
    if options.out is not None and is_answers(Path(options.out)):
        answers = Path(options.out)
        check_place(answers, [job.source for job in jobs])
    for place in {job.drawn.parent for job in jobs if job.drawn}:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(place, error) from error
    outdated = Outdated(listener.note)
    done = {k: saved for k, job in enumerate(jobs) if (saved := saved_rows(job, outdated)) is not None}
    waiting = [k for k in range(len(jobs)) if k not in done]
    sources = [each for job in jobs for each in (job.source if isinstance(job.source, tuple) else (job.source,))]
    protect(each for each in sources if isinstance(each, str | Path))
    for place in (*(place for k in waiting for place in (jobs[k].drawn, jobs[k].saved)), answers):
        if place is not None:
            check(place)
    outdated.say(folder)
    progress = partial(listener.progress, "images")
    progress(len(done), len(jobs))
    if waiting:
        if options.model == CLASSIFIER:
            better = find("sam2-tiny").fetch_text if request.kind == "masks" else next_step(options.model)
            what = f"outlines of anything, by --click: {better}" if request.kind == "masks" else better
            listener.note(f"{describe_model(options.model)}; {what}")
        for k, rows in answer_jobs(
            options, [jobs[k] for k in waiting], request, together, len(done), progress, listener.status
        ):
            done[waiting[k]] = rows
            _tell(jobs[waiting[k]], rows, listener, alone=len(jobs) == 1)
    rows = [row for k in range(len(jobs)) for row in done[k]]
    if answers is not None:
        write_json(answers, rows)
    replies = tuple(from_json(row) for row in rows if "trouble" not in row)
    if not replies:
        raise BadInput(f"none of {len(jobs)} images could be read: {rows[0]['trouble']}")
    made = ImageReplies(
        images=replies,
        failed=tuple(row for row in rows if "trouble" in row),
        out=folder,
        regions=request.kind != "words",
        report=report,
        model=options.model,
    )
    if report is not None:
        write_replies_report(report, made, {job.path: job.source for job in jobs}, options.frames, listener)
    return made


def _tell(job: Job, rows: list[dict[str, Any]], listener: Listener, alone: bool) -> None:
    for row in rows:
        place = job.name if row.get("frame") is None else f"{job.name}, frame {row['frame']}"
        if "trouble" in row:
            if alone:
                raise BadInput(row["trouble"])
            listener.note(f"{place}: {row['trouble']}")
        elif row["malformed"]:
            listener.note(f"{place}: {row['malformed']} boxes or masks in the answer were malformed and left out")
        elif row["unasked"]:
            unasked = ", ".join(dict.fromkeys(row["unasked"]))
            listener.note(f"{place}: the model boxed what was not asked for ({unasked}), which is left out")
        elif not row["ended"]:
            listener.note(f"{place}: the answer was longer than --tokens allows, and is cut")


def write_replies_report(
    path: Path, replies: ImageReplies, sources: Mapping[str, Any], frames: int | None, listener: Listener
) -> Path:
    """Write the report of a model's replies. Raises BadInput if it cannot be written.

    Args:
        path: of the page.
        replies: the result.
        sources: each image or video by its path in the result; several if they were shown together.
        frames: number of frames used per video.
        listener: receives progress.
    """
    from tapetum.app.see.report import ReplyRow, write_rows

    rows = []
    for reply in replies.images:
        if replies.regions:
            text, score = region_text(reply), min(reply.boxes.scores.tolist(), default=None)  # pyright: ignore[reportOptionalMemberAccess]
        else:
            text, score = reply.answer.text or "(nothing)", reply.answer.score
        place = reply.path if reply.frame is None else f"{reply.path}, frame {reply.frame}"
        rows.append(ReplyRow(place, text, score, partial(_shown, sources.get(reply.path), reply, frames)))
    failed = [(each["path"], each["trouble"]) for each in replies.failed]
    lines = [f"The model was told: {replies.images[0].prompt}"]
    return write_rows(path, f"Replies of {replies.model}", lines, rows, failed, listener)


def _shown(source: Any, reply: ImageReply, frames: int | None) -> "Frame | None":
    """Draw the image of a reply; None if its file has gone."""
    import numpy as np

    from tapetum.systems.paligemma.images import read_images, read_numbered
    from tapetum.video.draw_regions import contact_sheet

    try:
        if isinstance(source, tuple):
            return read_images(source[0], frames)[0]
        if reply.frame is None and reply.frames > 1:
            return contact_sheet(np.asarray(read_images(source, min(frames or 1, _FRAMES))))
        images, numbers = read_numbered(source, frames)
        return draw_reply(images[0 if reply.frame is None else list(numbers).index(reply.frame)], reply)
    except (BadInput, ValueError):
        return None
