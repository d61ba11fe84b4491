"""Baselines of tasks 1 to 5 (Perception Test, section 4.5); that of task 6 is `grounded_baseline`.

Tasks 1 and 2: the start of an object or a point is given, and is followed to the end of the video.

    points of the task ----------------------.
                                             +--> one pass of a tracker of points --> points
    objects: a grid of points in each box ---'                                    --> boxes, moved as their points are

`StaticPlaces`, the benchmark's own, leaves both where they were, and looks at nothing.

Tasks 3 and 4, `PriorWindows`: the most common segments of each class in the train split, without the video. Windows (shares of
the length of a video) are chosen greedily among a class's own segments: each time the one that matches most videos' segments
not matched yet, by an overlap of a half or more. Its score is the share of all videos of which that is so.

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
from jaxtyping import Float, UInt8

from tapetum.core.errors import BadInput
from tapetum.metrics.localisation import temporal_iou
from tapetum.systems.perception_test.footage import VideoContent
from tapetum.systems.perception_test.predictions import answer_row, segment_row, track_row
from tapetum.systems.perception_test.track_scores import start_of
from tapetum.systems.perception_test.types import AnnotatedVideo, ChoiceQuestion
from tapetum.tracks.follow import box_queries, carry_box
from tapetum.tracks.tracker import Tracker
from tapetum.video import open_video


class StaticPlaces:
    """Objects and points that stay where they are first seen."""

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        predictions: dict[str, Any] = {}
        for task in tasks:
            predictions[task] = []
            for track in video.of(task):
                start, place = start_of(track)
                frames = np.arange(start, video.metadata.frames)
                predictions[task].append(track_row(track.id, frames, np.broadcast_to(place, (len(frames), len(place)))))
        return predictions


class TrackedPlaces:
    """Objects and points carried by a tracker of points, all of a video together."""

    def __init__(self, tracker: Tracker):
        """`tracker`: such as `tapetum.load("tapir-nano")`."""
        self.tracker = tracker

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Track the objects, the points, or both."""
        scale = np.array(content.size, np.float64)
        tracks = [(task, track, *start_of(track)) for task in sorted(tasks) for track in video.of(task)]
        starts = [place * np.resize(scale, len(place)) for _, _, _, place in tracks]
        groups = [
            box_queries(place, start, content.size) if len(place) == 4 else np.array([[start, *np.clip(place, 0, scale)]])
            for (_, _, start, _), place in zip(tracks, starts, strict=True)
        ]
        predictions: dict[str, Any] = {task: [] for task in tasks}
        if not sum(map(len, groups)):
            return predictions
        queries = np.concatenate(groups).astype(np.float32)
        carried = self.tracker.track(open_video(content.frames, frame_rate=video.metadata.frame_rate), queries)
        ends = np.cumsum([len(group) for group in groups])[:-1]
        for (task, track, start, _), place, xy, visible in zip(
            tracks, starts, np.split(carried.xy, ends), np.split(carried.visible, ends), strict=True
        ):
            if len(place) == 4:
                boxes = carry_box(place, start, xy, visible, content.size)
                frames, shares = np.arange(start, len(boxes.xyxy)), np.clip(boxes.xyxy[start:] / np.tile(scale, 2), 0, 1)
            else:
                shown = visible[0].copy()
                shown[start] = True  # it was given there
                frames = start + np.flatnonzero(shown[start:])
                shares = xy[0, frames] / scale
            predictions[task].append(track_row(track.id, frames, shares))
        return predictions


OVERLAP, MOST, MOST_SEGMENTS = 0.5, 10, 1500
"""Overlap of a match; windows of a class; segments of a class that are looked at."""


class PriorWindows:
    """Says the same of every video."""

    def __init__(self, train: Mapping[str, AnnotatedVideo]):
        """Choose the windows of each class."""
        self.windows = {task: _windows(train, task) for task in ("action", "sound")}

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
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
        for s in video.of(task):
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
        name = zlib.crc32(video.metadata.video_id.encode("utf-8", "surrogatepass"))
        draws = (np.random.default_rng([self.seed, name, question.id, 5]) for question in video.questions)
        return {"mcqa": [answer_row(q, self.choose(q, rng)) for q, rng in zip(video.questions, draws, strict=True)]}

    def choose(self, question: ChoiceQuestion, rng: np.random.Generator) -> int:
        """Choose an option by the votes of right answers; its place."""
        answers = self.answers.get(question.question, []) if self.shots else []
        if 0 <= self.shots < len(answers):
            answers = [answers[k] for k in rng.choice(len(answers), self.shots, replace=False).tolist()]
        votes = Counter(answers)
        counts = np.array([votes[option] for option in question.options])
        return int(rng.choice(np.flatnonzero(counts == counts.max())))


class ChosenOptions:
    """Chooses what a model scores highest; the video ends where the question has it end."""

    def __init__(self, scorer: OptionModel):
        """`scorer`: such as `tapetum.bench.perception_test.ImageOptions`."""
        self.scorer = scorer

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        rows = []
        for question in video.questions:
            scores = self.scorer.score_options(content.until(question.cut).frames, question.question, question.options)
            if len(scores) != len(question.options) or not np.isfinite(scores).all():
                raise BadInput(f"the model gave {list(scores)} for {len(question.options)} options; it must score each")
            rows.append(answer_row(question, int(np.argmax(scores))))
        return {"mcqa": rows}
