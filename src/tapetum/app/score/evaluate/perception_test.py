"""`tapetum.evaluate_perception_test`: evaluates predictions, or a model that makes them, on the Perception Test."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from tapetum.app.verb import File, Listener, Result, narrowed, verb
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.identity import stamp
from tapetum.hub.registry import weights_fingerprint

if TYPE_CHECKING:
    from tapetum.systems.perception_test.scores import TaskScores
    from tapetum.systems.perception_test.types import AnnotatedVideo

Task = Literal["object", "point", "action", "sound", "mcqa", "grounded", "joint"]


@dataclass(frozen=True, kw_only=True)
class PerceptionTestOptions:
    """Score predictions, or a model that makes them, on tasks of the Perception Test, without its server.

    Numbers are shares from 0 to 1. A run with a model that was interrupted goes on when it is started again.
    """

    task: Annotated[tuple[Task, ...], tyro.conf.arg(metavar="TASK ...")]
    """object or point tracking, action or sound in time, mcqa (multiple-choice questions), grounded (questions that tracks
    answer), joint (objects and points in one file, as in 2025); several are predicted in one pass over the videos."""
    annotations: Annotated[File, tyro.conf.arg(metavar="FILE.json")]
    """Annotations of the benchmark, such as object_tracking_valid_subset.json, or of tapetum scenes episodes."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Predictions in the form of the benchmark's servers."""
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[TASK=]NAME ...")] = ()
    """In place of predictions, what makes them. Of objects and points: static, or a tracker (tapir-nano); of actions and
    sounds: prior, or the folder of a run of tapetum train localiser; of mcqa: random, frequency, a PaliGemma
    (paligemma-nano-2) or a model of video (mcvit-films); of grounded: random-object or a PaliGemma, either with +TRACKER."""
    videos: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """With --model, folder of VIDEO.mp4, or of videos/ and audios/; rules that look at nothing need none."""
    out: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """With --model, folder for the predictions, TASK.json; what it holds of the same settings is not made again. By default
    perception-test."""
    train: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """With --model, annotations of the train split, for prior, frequency and grounded."""
    shots: int = -1
    """With --model frequency, how many right answers to the same question it looks at: 0, 8, or -1 for all."""
    frames: int = 4
    """With a model of images, frames of the video that it sees."""
    features: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """With a localiser, folder of VIDEO.npy with the features it was trained on, such as the benchmark's own."""
    size: int = 256
    """With --model, pixels of the longer side at which videos are shown to it."""
    seed: int = 0
    """With --model, of what is drawn by lot."""
    workers: int = 1
    """With --model, processes that work at a time on this machine."""
    engine: Literal["local", "ray"] = "local"
    """With --model, what works: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    device: str = "auto"
    """With --model, where to compute: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""
    reading: Literal["default", "notebook"] = "default"
    """How rules are read of which the public notebooks make something else: default, the right way; notebook, theirs, to the
    last digit."""

    def check(self) -> dict[str, str]:
        """Choose the model of each task; none if predictions are given. Raises BadInput for options that conflict."""
        if not self.task or len(set(self.task)) < len(self.task):
            raise BadInput("--task names no task, or one of them twice; give one or more, such as object point")
        if (self.predictions is None) == (not self.model):
            raise BadInput("give either --predictions FILE.json, or --model NAME that makes them")
        if self.predictions is not None and (self.videos is not None or self.out is not None):
            raise BadInput("--videos and --out are for a model, and --predictions is scored without one; give one of the two")
        check_options(self, size="[16, inf)", workers="[1, inf)", frames="[1, inf)")
        models: dict[str, str] = {}
        for given in self.model:
            task, _, name = given.rpartition("=")
            if task and task not in get_args(Task):
                raise BadInput(f"--model {given}: {task} is no task; it is one of {', '.join(get_args(Task))}")
            models |= {task: name} if task else {each: name for each in self.task if each not in models}
        if self.model and (lacking := [task for task in self.task if task not in models]):
            raise BadInput(f"no --model is named for the task {lacking[0]}; add {lacking[0]}=NAME")
        return {task: models[task] for task in self.task if self.model}


@dataclass(frozen=True, kw_only=True)
class PerceptionTestScores(Result):
    """Scores on a task of the Perception Test, 0..1."""

    task: str
    reading: str
    scores: "TaskScores"
    """Headlines, groups, counts, and a row for each item."""
    model: str | None = None
    """What predicted; None for predictions that were there."""
    predictions: Path | None = None
    others: "tuple[PerceptionTestScores, ...]" = ()

    def as_json(self) -> dict[str, Any]:
        if self.others:
            return {"benchmark": "perception-test", "tasks": {each.task: each._own() for each in (self, *self.others)}}
        return {"benchmark": "perception-test", **self._own()}

    def _own(self) -> dict[str, Any]:
        made = {} if self.model is None else {"model": self.model, "predictions": str(self.predictions)}
        return {"task": self.task, "reading": self.reading, **made, **self.scores.as_json()}

    def as_text(self) -> str:
        parts = (self, *self.others)
        return "\n\n".join((f"{part.task}\n" if self.others else "") + part._table() for part in parts)

    def _table(self) -> str:
        numbers, groups = self.scores.numbers, self.scores.groups
        rows: list[tuple[str, Any]] = [each for each in numbers.items() if not isinstance(each[1], Mapping)]
        rows += [(f"map at {at}", value) for at, value in numbers.get("map_at", {}).items()]
        rows += [(f"{group.removeprefix('by_')} {name}", value) for group, of in groups.items() for name, value in of.items()]
        width = max(len(name) for name, _ in rows)
        counted = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in self.scores.counts.items())
        return "\n".join([*(f"{name:{width}}  {value:6.3f}" for name, value in rows), "", f"{counted}; reading {self.reading}"])


@verb(PerceptionTestOptions, data=("annotations", "predictions", "videos", "train", "features"))
def evaluate_perception_test(options: PerceptionTestOptions, listener: Listener) -> PerceptionTestScores:
    """Score predictions for tasks of the Perception Test, or a model that makes them.

    An interrupted run with a model resumes when started again. Raises BadInput for missing or damaged files, files that are not
    of the benchmark, models that do not fit, and predictions that a server would refuse; missing predictions count as empty,
    with a remark.
    """
    models = options.check()
    from tapetum.systems.perception_test.annotations import read_annotations, read_json
    from tapetum.systems.perception_test.evaluate import check_annotated, check_task, score
    from tapetum.systems.perception_test.predictions import read_predictions

    for task in options.task:
        check_task(task, options.reading)
    annotations = read_annotations(options.annotations)
    for task in options.task:
        check_annotated(task, annotations)
    files = dict.fromkeys(options.task, Path(options.predictions or ""))
    if models:
        files = _predicted(options, models, annotations, listener)
    results: list[PerceptionTestScores] = []
    for task, file in files.items():
        predictions = read_predictions(task, read_json(file), annotations)
        remarks = [finding for finding in predictions.findings if not finding.error]
        scores = score(task, annotations, predictions, options.reading)
        if remarks:
            more = f", and {len(remarks) - 1} more such remarks" if len(remarks) > 1 else ""
            listener.note(f"{remarks[0]}{more}; tapetum submit perception-test --check lists them")
        made = {"model": models[task], "predictions": file} if models else {}
        results.append(PerceptionTestScores(task=task, reading=options.reading, scores=scores, **made))
    return replace(results[0], others=tuple(results[1:]))


def _predicted(
    options: PerceptionTestOptions, models: Mapping[str, str], annotations: "Mapping[str, AnnotatedVideo]", listener: Listener
) -> dict[str, Path]:
    """Run the models; return the prediction file of each task."""
    from tapetum.bench.perception_test import ModelOptions, load_predictors
    from tapetum.systems.perception_test.annotations import read_annotations
    from tapetum.systems.perception_test.predicting import predict_videos

    features, train = (None if each is None else Path(each) for each in (options.features, options.train))
    known_answers = None if train is None else read_annotations(train)
    how = narrowed(ModelOptions, options, train=known_answers, features=features, device=choose_device(options.device))
    known = {name: getattr(options, name) for name in ("shots", "frames", "size", "seed")}
    known |= stamp(train=train, features=features)
    weights = {name: [weights_fingerprint(part) for part in name.split("+")] for name in models.values()}
    return predict_videos(
        annotations,
        partial(load_predictors, models, how),
        {task: {"model": name, "weights": weights[name], **known} for task, name in models.items()},
        Path(options.out or "perception-test"),
        videos=None if options.videos is None else Path(options.videos),
        side=options.size,
        workers=options.workers,
        engine=options.engine,
        progress=lambda done, total: listener.progress("videos", done, total),
        note=listener.note,
    )
