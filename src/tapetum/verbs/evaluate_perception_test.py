"""`tapetum.evaluate_perception_test`: predictions scored on the Perception Test, as its closed server does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.files import refuse_folder
from tapetum.verbs.verb import File, Listener, verb

if TYPE_CHECKING:
    from tapetum.perception_test.scores.common import Scores
    from tapetum.perception_test.types import Video

Task = Literal["object", "point", "action", "sound", "mcqa", "grounded", "joint"]


@dataclass(frozen=True, kw_only=True)
class PerceptionTestOptions:
    """What may be asked of `evaluate_perception_test`."""

    task: Task
    """Object or point tracking, actions or sounds in time, multiple-choice questions, questions that tracks answer, or
    joint: objects and points in one file, as in 2025."""
    annotations: Annotated[File, tyro.conf.arg(metavar="FILE.json")]
    """Annotations of the benchmark, such as object_tracking_valid_subset.json, or of tapetum scenes episodes."""
    predictions: Annotated[File, tyro.conf.arg(metavar="FILE.json")]
    """Predictions in the form of the benchmark's servers."""
    reading: Literal["default", "notebook", "tapvid-first"] = "default"
    """How rules are read of which the public notebooks make something else: default, the right way; notebook, theirs, to the
    last digit; tapvid-first, for points, TAP-Vid's own."""
    report: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Write a page with a table and a picture of the scores by area, reasoning and tag, or by what the task has of these."""


@dataclass(frozen=True, kw_only=True)
class PerceptionTestScores:
    """Scores on a task of the Perception Test, 0..1."""

    task: str
    reading: str
    scores: "Scores"
    """Headlines, groups, counts, and a row for each item."""

    def as_json(self) -> dict[str, Any]:
        """Say headlines, groups and counts, with None in place of NaN."""
        return {"benchmark": "perception-test", "task": self.task, "reading": self.reading, **self.scores.as_json()}


@verb(PerceptionTestOptions)
def evaluate_perception_test(options: PerceptionTestOptions, listener: Listener) -> PerceptionTestScores:
    """Score predictions on a task of the Perception Test.

    Raises BadInput for files that are missing, damaged, or not of the benchmark, and for predictions that a server would
    refuse; what is missing counts as empty, and is remarked on.
    """
    from tapetum.perception_test.annotations import read_annotations, read_json
    from tapetum.perception_test.evaluate import check_task, score
    from tapetum.perception_test.predictions import read_predictions

    if options.report is not None:
        refuse_folder(Path(options.report))
    check_task(options.task, options.reading)
    annotations = read_annotations(options.annotations)
    predictions = read_predictions(options.task, read_json(options.predictions), annotations)
    remarks = [finding for finding in predictions.findings if not finding.error]
    found = score(options.task, annotations, predictions, options.reading)
    if remarks:
        more = f", and {len(remarks) - 1} more such remarks" if len(remarks) > 1 else ""
        listener.note(f"{remarks[0]}{more}; tapetum submit perception-test --check lists them")
    if options.report is not None:
        _write_report(options, [PerceptionTestScores(task=options.task, reading=options.reading, scores=found)], annotations)
    return PerceptionTestScores(task=options.task, reading=options.reading, scores=found)


def _write_report(
    options: PerceptionTestOptions, found: "Sequence[PerceptionTestScores]", annotations: "Mapping[str, Video]"
) -> None:
    """Write the report of what was scored."""
    from tapetum.perception_test.views.report import Part, write_report

    source = Path(options.predictions).name
    parts = [Part(task=each.task, reading=each.reading, scores=each.scores, source=source) for each in found]
    write_report(Path(options.report or ""), parts, annotations, Path(options.annotations).name)
