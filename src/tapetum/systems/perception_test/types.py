"""Types of the Perception Test: its tasks, annotations, and predictions with findings about them; in seconds and (x, y).

Places are shares: x of the width, y of the height, both 0..1, as in the public files. They are left so because every score is
taken of shares or of its own raster (256 x 256 for points); `Metadata.to_raster` turns them into raster pixels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tapetum.core.errors import BadInput

KEYS: Mapping[str, str] = {
    "object": "object_tracking",
    "point": "point_tracking",
    "action": "action_localisation",
    "sound": "sound_localisation",
    "mcqa": "mc_question",
    "grounded": "grounded_question",
}
"""Task to its key in annotations and predictions."""
JOINT: Mapping[str, tuple[str, str]] = {"joint": ("object", "point"), "localisation": ("action", "sound")}
"""Unified tracks of 2025 (arXiv 2601.06287): the tasks that are in one file."""


def below_video(task: str, value: Any) -> Any:
    """Nest predictions of a video as the servers take them: those of objects and questions want them directly below it."""
    return value if task in ("object", "mcqa") else {KEYS[task]: value}


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata of a video."""

    video_id: str
    split: str
    frame_rate: float
    """Frames a second."""
    frames: int
    size: tuple[int, int]
    """Height and width in pixels."""
    audio_samples: int = 0
    audio_sample_rate: float = 0.0
    cup_game: bool | None = None
    """None where it is not said, as of test videos; `moving` likewise."""
    moving: bool | None = None
    """Whether the camera moves."""

    @property
    def seconds(self) -> float:
        """Compute the length of the video."""
        return self.frames / self.frame_rate

    def to_raster(self, shares: Float[np.ndarray, "*s 2k"]) -> Float[np.ndarray, "*s 2k"]:
        """Convert shares (x, y) or (x1, y1, x2, y2) to raster pixels."""
        return shares * np.resize(np.array(self.size[::-1], np.float64), shares.shape[-1])


@dataclass(frozen=True, kw_only=True)
class ObjectTrack:
    """Boxes of an object over time."""

    id: int
    label: str
    frames: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    """x1, y1, x2, y2 as shares."""
    start: int
    """Which of the n boxes is given to a tracker."""
    masked: Bool[np.ndarray, " n"]
    """The object is hidden, as under a cup."""
    occluder: bool = False


@dataclass(frozen=True, kw_only=True)
class PointTrack:
    """Positions of a point, in the frames in which it can be seen."""

    id: int
    label: str
    parents: tuple[int, ...]
    """Object tracks that it is part of."""
    frames: Int[np.ndarray, " n"]
    xy: Float[np.ndarray, "n 2"]
    """Shares."""


@dataclass(frozen=True, kw_only=True)
class LabelledSegment:
    """An action or a sound."""

    id: int
    label: str
    label_id: int
    """Class, of the whole data set."""
    parents: tuple[int, ...]
    start_s: float
    end_s: float
    visible: bool | None = None
    """Of a sound: whether its cause is in the image."""


@dataclass(frozen=True, kw_only=True)
class ChoiceQuestion:
    """A question with options."""

    id: int
    question: str
    options: tuple[str, ...]
    answer: int | None
    """Place among the options; None where it is not told."""
    area: str = ""
    reasoning: str = ""
    tags: tuple[str, ...] = ()
    cut: int | None = None
    """First frame that whoever answers may not see, where the question looks ahead; None: all may be seen."""


@dataclass(frozen=True, kw_only=True)
class GroundedQuestion:
    """A question that object tracks answer."""

    id: int
    question: str
    answers: tuple[int, ...] | None
    """Ids of object tracks; None where they are not told."""
    area: str = ""
    reasoning: str = ""


@dataclass(frozen=True, kw_only=True)
class AnnotatedVideo:
    """All annotations of a video."""

    metadata: Metadata
    objects: Sequence[ObjectTrack] = ()
    points: Sequence[PointTrack] = ()
    actions: Sequence[LabelledSegment] = ()
    sounds: Sequence[LabelledSegment] = ()
    questions: Sequence[ChoiceQuestion] = ()
    grounded: Sequence[GroundedQuestion] = ()

    def of(self, task: str) -> Sequence[Any]:
        """List the annotations of a task; of two tasks in one file, of both."""
        fields = {"object": self.objects, "point": self.points, "action": self.actions, "sound": self.sounds}
        fields |= {"mcqa": self.questions, "grounded": self.grounded}
        return [each for part in JOINT.get(task, (task,)) for each in fields[part]]

    def segments(self, task: str) -> Sequence[LabelledSegment]:
        """List the actions or the sounds."""
        return self.actions if task == "action" else self.sounds


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
