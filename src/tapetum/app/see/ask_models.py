"""Code shared by `ask`, `caption`, `detect` and `segment`: a PaliGemma's replies about images and videos, drawn and saved.

DIR/NAME.png      the image with boxes, masks or words on it; of a video a sheet of the frames that were shown
DIR/NAME.json     what was said of it; an image that has one, made with the same settings, is not asked about again
DIR/answers.json  all of them; or FILE.json, and nothing else, where that is asked for

Text replies are about all frames of a video together; boxes and masks are predicted for each frame separately.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tapetum.app.see.jobs import Job, answer_jobs, find_jobs, is_answers, saved_rows
from tapetum.app.see.replies import ImageReplies, from_json, labels_of
from tapetum.app.see.settings import CANNOT_SAY, CLASSIFIER, MODEL, Request, SeeSettings, with_default_model
from tapetum.app.verb import Listener
from tapetum.bench.word_models import describe_model, next_step
from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, same_place, whole_file, write_text
from tapetum.core.identity import Outdated
from tapetum.core.provenance import check, protect
from tapetum.report import check_report

ANSWERS = "answers.json"
"""The file that has all answers."""


def see(settings: SeeSettings, images: Any, request: Request, listener: Listener, together: bool = False) -> ImageReplies:
    """Ask the model about each image; with `together`, once about all of them.

    Unreadable images and malformed answers are reported to the listener. Raises BadInput if there are no images or none can be
    read, the model is not installed, or the prompt is empty or too long.
    """
    settings.check()
    settings = with_default_model(settings)
    report = check_report(settings.report)
    jobs = find_jobs(settings, images, request, together)
    folder = next((job.saved.parent for job in jobs if job.saved), None)
    answers = None if folder is None else folder / ANSWERS
    if settings.out is not None and is_answers(Path(settings.out)):
        answers = _free(Path(settings.out), jobs)
    for place in {job.drawn.parent for job in jobs if job.drawn}:
        _make_folder(place)
    outdated = Outdated(listener.note)
    done = {k: saved for k, job in enumerate(jobs) if (saved := saved_rows(job, outdated)) is not None}
    waiting = [k for k in range(len(jobs)) if k not in done]
    protect(file for job in jobs for file in job.files)
    for place in (*(place for k in waiting for place in (jobs[k].drawn, jobs[k].saved)), answers):
        if place is not None:
            check(place)
    outdated.say(folder)
    progress = partial(listener.progress, "images")
    progress(len(done), len(jobs))
    if waiting:
        _introduce(settings, images, listener)
        chosen = [jobs[k] for k in waiting]
        for k, rows in answer_jobs(settings, chosen, request, together, len(done), progress):
            done[waiting[k]] = rows
            _tell(jobs[waiting[k]], rows, listener, alone=len(jobs) == 1)
    rows = [row for k in range(len(jobs)) for row in done[k]]
    if answers is not None:
        with whole_file(answers) as temporary:
            write_text(temporary, json.dumps(rows, indent=1))
    replies = tuple(from_json(row) for row in rows if "trouble" not in row)
    if not replies:
        raise BadInput(f"none of {len(jobs)} images could be read: {rows[0]['trouble']}")
    failed = tuple(row for row in rows if "trouble" in row)
    if any(reply.answer.text == CANNOT_SAY for reply in replies) and (line := next_step(settings.model)):
        listener.note(line)
    made = ImageReplies(
        images=replies, failed=failed, out=folder, regions=request.kind != "words", report=report, model=settings.model
    )
    if report is not None:
        from tapetum.app.see.report import write_replies_report

        sources = {job.path: job.source for job in jobs}
        title = {"words": "Answers", "boxes": "Boxes", "masks": "Masks"}[request.kind] + f" of {settings.model}"
        write_replies_report(report, made, sources, settings.frames, title, listener)
    return made


def _free(answers: Path, jobs: Sequence[Job]) -> Path:
    """The file for all answers. Raises BadInput, before any work, if its folder does not exist or it is one of the images."""
    if not answers.absolute().parent.is_dir():
        raise BadInput(f"--out {answers}: there is no folder {answers.parent}; make it first")
    if any(isinstance(job.source, str | Path) and same_place(job.source, answers) for job in jobs):
        raise BadInput(f"--out {answers} is what is read; give another name")
    return answers


def _make_folder(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(place, error) from error


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
            listener.note(f"{place}: the model boxed what was not asked for ({labels_of(row['unasked'])}), which is left out")
        elif not row["ended"]:
            listener.note(f"{place}: the answer was longer than --tokens allows, and is cut")


def _introduce(settings: SeeSettings, images: Any, listener: Listener) -> None:
    """Say which bundled model answers, and its limits."""
    from tapetum.app.see.answer_model import unfamiliar_remark
    from tapetum.hub.registry import known

    if settings.model in (MODEL, CLASSIFIER):
        summary = f"{settings.model}: {known()[settings.model].summary}"
        listener.note(summary if settings.model == MODEL else describe_model(settings.model))
        remarks = [unfamiliar_remark(settings.model, images, settings.frames)]
        remarks += [next_step(settings.model)] if settings.model == MODEL else []
        for line in filter(None, remarks):
            listener.note(line)
