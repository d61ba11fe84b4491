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
    """Lists of Tracked, Found or Chosen; of grounded a dict from question id to a list of Tracked, of joint one from task."""
    findings: list[PredictionFinding] = field(default_factory=list)

    def refuse(self) -> None:
        """Raise BadInput for the first error, and say how many there are."""
        errors = [finding for finding in self.findings if finding.error]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise BadInput(f"{errors[0]}{more}; tapetum submit perception-test --check lists all")


class FindingCollector:
    """Collects the findings of a video, or of a part of what is said about it."""

    def __init__(self, predictions: TaskPredictions, video: str):
        self.predictions, self.video = predictions, video

    def add(self, name: str, item: str, text: str, error: bool = True) -> None:
        """Record that something is wrong with an item."""
        where = f"{self.video}, {item}" if item else self.video
        self.predictions.findings.append(PredictionFinding(name, where, text, error))

    def whole_number(self, value: Any, item: str, what: str) -> int | None:
        """Check a whole number; ids as strings, a common slip, have a finding of their own."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            self.add("no-number", item, f"{what} is {value!r}; wanted a whole number")
            return None
        if isinstance(value, str):
            if re.fullmatch(r"\s*-?[0-9]+\s*", value):
                self.add("id-as-text", item, f"{what} is the text {value!r}; wanted the number {int(value)}")
            else:
                self.add("no-number", item, f"{what} is {value!r}; wanted a whole number")
            return None
        if isinstance(value, float) and not value.is_integer():
            self.add("no-number", item, f"{what} is {value}; wanted a whole number")
            return None
        return int(value)
