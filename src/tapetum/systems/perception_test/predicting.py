"""Predictions for many videos: each looked at once for all tasks, over processes or Ray, in files that a killed run finds
again.

    OUT/parts/TASK/VIDEO.json    what is predicted for a video, and of which settings: a video that has it is done
    OUT/TASK.json                all of a task in the order of the annotations: what `tapetum submit` and the servers take

The files are the same for any number of workers and after any interruption: no prediction depends on another video.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, write_text
from tapetum.core.finished import ComputedItems, read_finished, remove_unfinished
from tapetum.core.identity import Outdated, stamp
from tapetum.core.jobs import run_jobs
from tapetum.core.provenance import check
from tapetum.core.reading import read_json
from tapetum.data.entries import dumps, write_mapping
from tapetum.systems.perception_test.footage import SIDE, VideoContent, find_videos
from tapetum.systems.perception_test.types import AnnotatedVideo, below_video


class Predictor(Protocol):
    """Predictions of a model, or a rule, for a video."""

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Predict for each task what stands below the task's key in a file of predictions, as JSON values.

        Of `video` only what a test split tells may be looked at: starts of tracks, questions and options.
        """
        ...


Predictors = Sequence[tuple[Sequence[str], Predictor]]
"""Tasks, and who answers them."""


@dataclass(frozen=True, kw_only=True)
class PredictionJob:
    """A video, and what is still to be predicted for it."""

    name: str
    video: AnnotatedVideo
    content: VideoContent
    tasks: tuple[str, ...]
    identities: Mapping[str, Any]
    """Of each task, as JSON values: predictions of another are not taken over."""
    out: Path


def predict_videos(
    annotations: Mapping[str, AnnotatedVideo],
    make: Callable[[], Predictors],
    identities: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    videos: Path | None = None,
    side: int = SIDE,
    workers: int = 1,
    engine: str = "local",
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Path]:
    """Predict for all videos that have a task; returns the file of each task.

    Args:
        make: loads the predictors, in each process once; it is pickled where there are several.
        identities: task to what its predictions depend on, a stamp (`tapetum.core.identity`).
        out: folder; predictions in it that are of the same settings are not made again.
        videos: folder of the videos; None where no predictor looks at any.
        side: pixels of the longer side at which videos are shown to models.
        note: hears how many predictions in `out` are of other videos or settings, and so are made again.

    Raises BadInput if a video is missing or damaged, or `out` cannot be written.
    """
    tasks = tuple(identities)
    tasks_by_video = {name: some for name, video in annotations.items() if (some := tuple(t for t in tasks if video.of(t)))}
    if not tasks_by_video:
        raise BadInput(f"the annotations ask nothing of the tasks {', '.join(tasks)}; give those of these tasks")
    for task in tasks:
        check(out / f"{task}.json")
    files = find_videos(videos, list(tasks_by_video)) if videos is not None else {}
    try:
        for task in tasks:
            (out / "parts" / task).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    outdated = Outdated(note)

    def identity(name: str, task: str) -> Any:
        path, sound = files.get(name, (None, None))
        return json.loads(dumps({**identities[task], **stamp(video=path, sound=sound, annotation=annotations[name])}))

    def make_job(waiting: tuple[str, tuple[str, ...]]) -> PredictionJob:
        name, missing = waiting
        content = VideoContent(annotations[name].metadata, *files.get(name, (None, None)), side)
        of = {task: identity(name, task) for task in missing}
        return PredictionJob(name=name, video=annotations[name], content=content, tasks=missing, identities=of, out=out)

    left = {
        name: tuple(t for t in some if read_finished(_part(out, t, name), partial(identity, name, t), outdated, "of") is None)
        for name, some in tasks_by_video.items()
    }
    outdated.say(out)
    jobs = ComputedItems(make_job, [(name, missing) for name, missing in left.items() if missing])
    done = len(tasks_by_video) - len(jobs)
    for _ in run_jobs(predict_one, jobs, make, engine=engine, workers=workers, finished=done, progress=progress):
        pass  # what is predicted is in files
    remove_unfinished((out / "parts").glob("*/.*.tmp*"))
    return {
        task: _write_predictions(out, task, [name for name, some in tasks_by_video.items() if task in some]) for task in tasks
    }


def predict_one(job: PredictionJob, predictors: Predictors) -> None:
    """Predict for one video, which is decoded once at most, and write its parts."""
    content = replace(job.content)  # what it reads is freed with it
    for answered, predictor in predictors:
        tasks = [task for task in answered if task in job.tasks]
        if not tasks:
            continue
        predictions = predictor.predict(job.video, content, tasks)
        for task in tasks:
            write_text(_part(job.out, task, job.name), dumps({"of": job.identities[task], "said": predictions[task]}), own=True)


def _part(out: Path, task: str, name: str) -> Path:
    if "/" in name or name.startswith("."):
        raise BadInput(f"a video is called {name!r} in the annotations, which is no name of a file; rename it")
    return out / "parts" / task / f"{name}.json"


def _write_predictions(out: Path, task: str, names: Iterable[str]) -> Path:
    rows = ((name, below_video(task, read_json(_part(out, task, name))["said"])) for name in names)
    return write_mapping(out / f"{task}.json", rows)
