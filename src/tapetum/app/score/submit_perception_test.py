"""`tapetum.submit_perception_test`: converts predictions to the format of the benchmark's servers, or checks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Command, with_json
from tapetum.app.score.evaluate.perception_test import Task
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.systems.perception_test.types import PredictionFinding


@dataclass(frozen=True, kw_only=True)
class SubmissionOptions:
    """Write predictions as the Perception Test's servers take them, or check them: what these would refuse, by item."""

    task: Task
    """As for tapetum eval perception-test."""
    annotations: Annotated[File, tyro.conf.arg(metavar="FILE.json")]
    """Annotations of the split that is submitted; those of the test split, which have no answers, will do."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Predictions to be written as a submission."""
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Write the submission here: nested as the servers want it, numbers short, frames that are not asked for left out."""
    check: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Only say what the server would refuse in this file, and why, item by item."""


@dataclass(frozen=True, kw_only=True)
class Submission(Result):
    """Findings about predictions, and where the submission is."""

    findings: Sequence["PredictionFinding"]
    out: Path | None
    checked: File | None = None
    """The file that was checked, if that was all."""

    @property
    def errors(self) -> int:
        """Count the findings that make a server refuse."""
        return sum(finding.error for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        rows = [
            {"kind": "error" if f.error else "remark", "name": f.name, "where": f.where, "text": f.text} for f in self.findings
        ]
        return {"errors": self.errors, "findings": rows, "out": None if self.out is None else str(self.out)}

    def as_text(self) -> str:
        lines = [f"{'error ' if finding.error else 'remark'}  {finding}" for finding in self.findings]
        if self.out is not None:
            lines.append(f"written to {self.out}")
        return "\n".join(lines or ["nothing to remark on"])

    def failure(self) -> str | None:
        if self.checked is None or not self.errors:
            return None
        return f"the server would refuse {self.checked}: {self.errors} errors; mend the items above"


@verb(SubmissionOptions, data=("annotations", "predictions", "check"))
def submit_perception_test(options: SubmissionOptions, listener: Listener) -> Submission:
    """Write predictions as a submission to the Perception Test's servers, or check one.

    Raises BadInput for files that cannot be read, and for predictions with errors, which are not written.
    """
    writes, checks = options.predictions is not None and options.out is not None, options.check is not None
    if checks == writes or (checks and (options.predictions or options.out)):
        raise BadInput("give --check FILE, or --predictions FILE and --out FILE")
    from tapetum.data.entries import write_mapping
    from tapetum.systems.perception_test.annotations import read_annotations, read_json
    from tapetum.systems.perception_test.predictions import nested, read_predictions

    annotations = read_annotations(options.annotations)
    predictions = read_predictions(options.task, read_json(options.check or options.predictions or ""), annotations)
    findings = sorted(predictions.findings, key=lambda finding: not finding.error)
    if options.out is None:
        return Submission(findings=findings, out=None, checked=options.check and str(options.check))
    predictions.refuse()
    out = write_mapping(options.out, nested(options.task, predictions, annotations))
    if (size := out.stat().st_size) > 200 << 20:
        listener.note(f"{out} has {size >> 20} MB; above 200 MB the servers take files by their command line only")
    return Submission(findings=findings, out=out)


@dataclass(frozen=True, kw_only=True)
class SubmitCommandOptions(SubmissionOptions):
    """Write predictions as a benchmark's server wants them, or check them: what it would refuse, by item."""

    benchmark: tyro.conf.Positional[Literal["perception-test"]]
    """Whose server."""


COMMAND = Command(with_json(SubmitCommandOptions), submit_perception_test.run)
