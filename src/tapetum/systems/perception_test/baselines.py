"""Baselines of tasks 1 to 5 (Perception Test, section 4.5); that of task 6 is `grounded_baseline`.

Tasks 1 and 2: the start of an object or a point is given, and is followed to the end of the video.

    points of the task ----------------------.
                                             +--> one pass of a tracker of points --> points
    objects: a grid of points in each box ---'                                    --> boxes, moved as their points are

`StaticPlaces`, the benchmark's own, leaves both where they were, and looks at nothing.

Tasks 3 and 4, `PriorWindows`: the most common segments of each class in the train split, without the video. Of a class, windows
(as shares of the length of a video) are chosen one after the other among its own segments: each time the one that matches most
videos' segments which no earlier window has matched, by an overlap of a half or more. Its score is the share of all videos of
which that is so: the chance that it is right.

Task 5: the option by its frequency among right answers, or by a model's score for the video.

    frequency    of the right answers to the same question in the train split, `shots` drawn without replacement (all for -1,
                 none for 0) vote; equal votes, and questions never met, by the lot. No video is looked at (section 4.5, README)
    options      whatever has `score_options`

All draws depend on (seed, video, question) alone.

Differs from the public code: a question that was never met is an error there.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from tapetum.core.errors import BadInput
from tapetum.metrics.localisation import temporal_iou
from tapetum.systems.perception_test.footage import VideoContent
from tapetum.systems.perception_test.predictions import answer_row, box_row, point_row, segment_row
from tapetum.systems.perception_test.track_scores import start_of
from tapetum.systems.perception_test.types import AnnotatedVideo, ChoiceQuestion, ObjectTrack, PointTrack
from tapetum.tracks.follow import box_queries, carry_box
from tapetum.tracks.tracker import Tracker
from tapetum.video import open_video


class StaticPlaces:
    """Objects and points that stay where they are first seen."""

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Repeat each start in all frames from there on."""
        predictions: dict[str, Any] = {}
        last = video.metadata.frames
        if "object" in tasks:
            predictions["object"] = [
                box_row(
                    track.id,
                    (frames := np.arange(track.frames[track.start], last)),
                    _repeated(track.boxes[track.start], frames),
                )
                for track in video.objects
            ]
        if "point" in tasks:
            starts = ((track, *start_of(track)) for track in video.points)
            predictions["point"] = [
                point_row(track.id, (frames := np.arange(frame, last)), _repeated(np.array([x, y]), frames))
                for track, frame, x, y in starts
            ]
        return predictions


class TrackedPlaces:
    """Objects and points carried by a tracker of points, all of a video together."""

    def __init__(self, tracker: Tracker):
        """`tracker`: such as `tapetum.load("tapir-nano")`."""
        self.tracker = tracker

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Track the objects, the points, or both."""
        objects = list(video.objects) if "object" in tasks else []
        points = list(video.points) if "point" in tasks else []
        scale = np.array(content.size, np.float64)
        query_groups = [self._box_queries(track, content.size) for track in objects] + [
            _point_query(track, scale) for track in points
        ]
        if not sum(map(len, query_groups)):
            return {task: [] for task in tasks}
        queries = np.concatenate(query_groups).astype(np.float32)
        tracks = self.tracker.track(open_video(content.frames, frame_rate=video.metadata.frame_rate), queries)
        ends = np.cumsum([len(part) for part in query_groups])
        xy, visible = np.split(tracks.xy, ends[:-1]), np.split(tracks.visible, ends[:-1])
        predictions: dict[str, Any] = {}
        if "object" in tasks:
            predictions["object"] = []
            for k, track in enumerate(objects):
                start = int(track.frames[track.start])
                track_boxes = carry_box(_pixels(track.boxes[track.start], scale), start, xy[k], visible[k], content.size)
                shares = np.clip(track_boxes.xyxy[start:] / np.tile(scale, 2), 0, 1)
                predictions["object"].append(box_row(track.id, np.arange(start, len(track_boxes.xyxy)), shares))
        if "point" in tasks:
            predictions["point"] = []
            for k, track in enumerate(points, len(objects)):
                start = start_of(track)[0]
                shown = visible[k][0].copy()
                shown[start] = True  # it was given there
                frames = start + np.flatnonzero(shown[start:])
                predictions["point"].append(point_row(track.id, frames, xy[k][0, frames] / scale))
        return predictions

    def _box_queries(self, track: ObjectTrack, size: tuple[int, int]) -> Float[np.ndarray, "k 3"]:
        return box_queries(_pixels(track.boxes[track.start], np.array(size, np.float64)), int(track.frames[track.start]), size)


def _repeated(place: Float[np.ndarray, " k"], frames: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    return np.broadcast_to(place, (len(frames), len(place)))


def _pixels(box: Float[np.ndarray, "4"], scale: Float[np.ndarray, "2"]) -> Float[np.ndarray, "4"]:
    return box * np.tile(scale, 2)


def _point_query(track: PointTrack, scale: Float[np.ndarray, "2"]) -> Float[np.ndarray, "1 3"]:
    frame, x, y = start_of(track)
    return np.array([[frame, *np.clip(np.array([x, y]) * scale, 0, scale)]])


OVERLAP, MOST, MOST_SEGMENTS = 0.5, 10, 1500
"""Overlap of a match; windows of a class; segments of a class that are looked at."""


class PriorWindows:
    """Says the same of every video."""

    def __init__(self, train: Mapping[str, AnnotatedVideo]):
        """Choose the windows of each class."""
        self.windows = {task: _windows(train, task) for task in ("action", "sound")}

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Predict the windows for a video."""
        predictions: dict[str, Any] = {}
        for task in tasks:
            if not self.windows[task]:
                raise BadInput(
                    f"the annotations to learn from have no segment of the task {task}; give those of its train split"
                )
            predictions[task] = [
                segment_row(label, f"{score:.6g}", *(np.array(window) * video.metadata.seconds).tolist())
                for label, score, window in self.windows[task]
            ]
        return predictions


def _windows(train: Mapping[str, AnnotatedVideo], task: str) -> list[tuple[int, float, tuple[float, float]]]:
    by_class: dict[int, list[tuple[int, float, float]]] = {}
    for number, video in enumerate(train.values()):
        length = video.metadata.seconds
        for s in video.segments(task):
            by_class.setdefault(s.label_id, []).append((number, s.start_s / length, min(1.0, s.end_s / length)))
    windows = []
    for label in sorted(by_class):
        rows = np.array(by_class[label])
        rows = rows[:: -(-len(rows) // MOST_SEGMENTS)]
        for window, share in _chosen(rows[:, 1:], rows[:, 0].astype(int)):
            windows.append((label, share / len(train), window))
    return windows


def _chosen(spans: Float[np.ndarray, "n 2"], owners: np.ndarray) -> list[tuple[tuple[float, float], int]]:
    """Windows, and how many videos each is the first to match."""
    matches = temporal_iou(spans, spans) >= OVERLAP
    _, owners = np.unique(owners, return_inverse=True)
    left, chosen = np.ones(len(spans), bool), []
    while left.any() and len(chosen) < MOST:
        by_video = np.zeros((len(spans), owners.max() + 1), bool)
        rows, columns = np.nonzero(matches & left)
        by_video[rows, owners[columns]] = True
        counts = by_video.sum(1)
        best = int(counts.argmax())
        if not counts[best]:
            break
        chosen.append(((float(spans[best, 0]), float(spans[best, 1])), int(counts[best])))
        left &= ~matches[best]
    return chosen


class OptionModel(Protocol):
    """A video-language model."""

    def score_options(self, video: UInt8[np.ndarray, "t h w 3"], question: str, options: Sequence[str], /) -> Sequence[float]:
        """Score how well each option answers a question about a video; only their order counts."""
        ...


class Frequency:
    """Chooses what was right most often."""

    def __init__(self, train: Mapping[str, AnnotatedVideo], shots: int = -1, seed: int = 0):
        """Learn the right answers of a split.

        Args:
            train: annotations with answers.
            shots: right answers to the same question that are looked at: -1 all, 0 none, which is chance.
            seed: of what is drawn.

        Raises BadInput for fewer shots than -1, and annotations without answered questions.
        """
        if shots < -1:
            raise BadInput(f"asked for {shots} shots; give 0 or more, or -1 for all")
        self.shots, self.seed = shots, seed
        self.answers: dict[str, list[str]] = {}
        for video in train.values():
            for question in video.questions:
                if question.answer is not None:
                    self.answers.setdefault(question.question, []).append(question.options[question.answer])
        if not self.answers and shots:
            raise BadInput("the annotations to learn from have no answered question; give those of the train split")

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Answer the questions of a video."""
        name = video.metadata.video_id
        return {"mcqa": [answer_row(q, self.choose(q, self._generator(name, q))) for q in video.questions]}

    def choose(self, question: ChoiceQuestion, rng: np.random.Generator) -> int:
        """Choose an option by the votes of right answers; its place."""
        answers = self.answers.get(question.question, []) if self.shots else []
        if 0 <= self.shots < len(answers):
            answers = [answers[k] for k in rng.choice(len(answers), self.shots, replace=False).tolist()]
        votes = Counter(answers)
        counts = np.array([votes[option] for option in question.options])
        return int(rng.choice(np.flatnonzero(counts == counts.max())))

    def _generator(self, name: str, question: ChoiceQuestion) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode("utf-8", "surrogatepass")), question.id, 5])


class ChosenOptions:
    """Chooses what a model scores highest; the video ends where the question has it end."""

    def __init__(self, scorer: OptionModel):
        """`scorer`: such as `tapetum.bench.perception_test.ImageOptions`."""
        self.scorer = scorer

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Answer the questions of a video."""
        rows = []
        for question in video.questions:
            scores = self.scorer.score_options(content.until(question.cut).frames, question.question, question.options)
            if len(scores) != len(question.options) or not np.isfinite(scores).all():
                raise BadInput(f"the model gave {list(scores)} for {len(question.options)} options; it must score each")
            rows.append(answer_row(question, int(np.argmax(scores))))
        return {"mcqa": rows}
