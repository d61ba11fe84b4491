"""Types of predictions that were read, and findings about them. See `tapetum.systems.perception_test.predictions`."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class PredictionFinding:
    """One problem of predictions."""

    name: str
    """Its kind, such as unknown-video."""
    where: str
    """Video and item."""
    text: str
    """The value, and what it must be."""
    error: bool = True
    """The server refuses it; else it counts as empty."""

    def __str__(self) -> str:
        return f"{self.where}: {self.text} [{self.name}]"


@dataclass(frozen=True, kw_only=True)
class PredictedTrack:
    """Boxes or points of a track in some frames."""

    id: int
    frames: Int[np.ndarray, " n"]
    places: Float[np.ndarray, "n k"]
    """x1, y1, x2, y2 or x, y as shares."""
    score: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PredictedSegment:
    """A predicted action or sound."""

    label_id: int
    score: float
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class PredictedAnswer:
    """An answered question."""

    id: int
    answer_id: int
    answer: str | None


@dataclass
class TaskPredictions:
    """Predictions of one task, by video, and what is wrong with them."""

    task: str
    videos: dict[str, Any] = field(default_factory=dict)
    """Lists of predicted tracks, segments or answers; for grounded, tracks by question id; for joint, lists by task."""
    findings: list[PredictionFinding] = field(default_factory=list)

    def add(self, name: str, where: str, text: str) -> None:
        """Record an error, which the server refuses."""
        self.findings.append(PredictionFinding(name, where, text))

    def remark(self, name: str, where: str, text: str) -> None:
        """Record what is no error, but counts as empty."""
        self.findings.append(PredictionFinding(name, where, text, error=False))

    def refuse(self) -> None:
        """Raise BadInput for the first error, and say how many there are."""
        errors = [finding for finding in self.findings if finding.error]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise BadInput(f"{errors[0]}{more}; tapetum submit perception-test --check lists all")


class Findings:
    """Collects the findings about a video, or about one task's predictions for it."""

    def __init__(self, predictions: TaskPredictions, video: str):
        self.predictions, self.video = predictions, video

    def add(self, name: str, item: str, text: str) -> None:
        """Record an error about an item."""
        self.predictions.add(name, f"{self.video}, {item}", text)

    def remark(self, name: str, item: str, text: str) -> None:
        """Record a remark about an item."""
        self.predictions.remark(name, f"{self.video}, {item}", text)

    def whole_number(self, value: Any, item: str, what: str) -> int | None:
        """Check a whole number; ids as strings, a common slip, have a finding of their own."""
        if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]+\s*", value):
            self.add("id-as-text", item, f"{what} is the text {value!r}; wanted the number {int(value)}")
        elif isinstance(value, bool | str) or not isinstance(value, int | float):
            self.add("no-number", item, f"{what} is {value!r}; wanted a whole number")
        elif isinstance(value, float) and not value.is_integer():
            self.add("no-number", item, f"{what} is {value}; wanted a whole number")
        else:
            return int(value)
        return None
