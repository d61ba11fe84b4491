"""Types of the Perception Test: its tasks, annotations, and predictions with findings about them; in seconds and (x, y).

Places are shares: x of the width, y of the height, both 0..1, as in the public files. They are left so because every score is
taken of shares or of its own raster (256 x 256 for points); `Metadata.to_raster` turns them into raster pixels.
"""

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
JOINT = "object", "point"
"""Tasks of the joint track of 2025 (arXiv 2601.06287), which are in one file."""


class InvalidItem(ValueError):
    """An item of a file is wrong; its kind has a name."""

    def __init__(self, name: str, text: str):
        super().__init__(text)
        self.name = name


def below_video(task: str, value: Any) -> Any:
    """Nest predictions of a video as the servers take them: those of objects and questions want them directly below it."""
    return value if task in ("object", "mcqa") else {KEYS[task]: value}


@dataclass(frozen=True, kw_only=True)
class Metadata:
    video_id: str
    split: str
    frame_rate: float
    frames: int
    size: tuple[int, int]
    """Height and width in pixels."""
    audio_samples: int = 0
    audio_sample_rate: float = 0.0
    cup_game: bool | None = None
    """None where it is not said, as of test videos; `moving` likewise."""
    moving: bool | None = None

    @property
    def seconds(self) -> float:
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
    id: int
    question: str
    answers: tuple[int, ...] | None
    """Ids of object tracks; None where they are not told."""
    area: str = ""
    reasoning: str = ""


@dataclass(frozen=True, kw_only=True)
class AnnotatedVideo:
    metadata: Metadata
    objects: Sequence[ObjectTrack] = ()
    points: Sequence[PointTrack] = ()
    actions: Sequence[LabelledSegment] = ()
    sounds: Sequence[LabelledSegment] = ()
    questions: Sequence[ChoiceQuestion] = ()
    grounded: Sequence[GroundedQuestion] = ()

    def of(self, task: str) -> Sequence[Any]:
        """List the annotations of a task; of joint, objects and points."""
        fields = {"object": self.objects, "point": self.points, "action": self.actions, "sound": self.sounds}
        fields |= {"mcqa": self.questions, "grounded": self.grounded, "joint": [*self.objects, *self.points]}
        return fields[task]


@dataclass(frozen=True)
class PredictionFinding:
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
    label_id: int
    score: float
    start_s: float
    end_s: float


@dataclass
class TaskPredictions:
    """Predictions of one task, by video, and what is wrong with them."""

    task: str
    videos: dict[str, Any] = field(default_factory=dict)
    """Lists of predicted tracks or segments; chosen options by question id; for grounded, tracks by question id; for joint,
    lists of tracks by task."""
    findings: list[PredictionFinding] = field(default_factory=list)

    def add(self, name: str, where: str, text: str, error: bool = True) -> None:
        """Record a finding: an error, which the server refuses, or what counts as empty."""
        self.findings.append(PredictionFinding(name, where, text, error))

    def refuse(self) -> None:
        """Raise BadInput for the first error, and say how many there are."""
        errors = [finding for finding in self.findings if finding.error]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise BadInput(f"{errors[0]}{more}; tapetum submit perception-test --check lists all")
