"""Task 6, grounded questions: objects detected by words in a frame, tracked through the video, and chosen as answers.

    words ──► boxes in some frame ──► things through the video (`tracks.follow`) ──► ranked for each question
      │
      ├─ of the train split: the nouns that answer the same question, and how often a thing of that noun did
      └─ without one: the question itself, for a model that finds what a sentence says

With a train split the things of a video are found and followed once for all its questions. A thing is an answer if its noun was
one at least half as often as the best noun there; scores are the detector's times that share. The noun of a label is its last
word ("red cup": cup). `chosen="random"` gives one thing, whichever, in place of that: what the words must beat.

Differs from the benchmark's own baseline: that shows a detector (MDETR) the middle frame and leaves boxes where they are.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.footage import VideoContent
from tapetum.systems.perception_test.predictions import track_row
from tapetum.systems.perception_test.types import AnnotatedVideo
from tapetum.tracks.boxes import BoxTracks
from tapetum.tracks.follow import BoxTracker, to_box_tracks
from tapetum.tracks.tracker import Tracker
from tapetum.types import Boxes
from tapetum.video import open_video

MOST = 10
"""Tracks that an answer may have."""
MOST_NOUNS = 12
"""Nouns that are detected together."""
DETECTION_FRAMES = 4
"""Frames in which objects are detected, at most; the first among them."""
LEAST_SHARE = 0.5
"""Share of the best noun's from which on another one is an answer too."""


class Detector(Protocol):
    """Finds in an image what words say."""

    def find_boxes(self, image: UInt8[np.ndarray, "h w 3"], names: Sequence[str], /) -> Boxes:
        """Detect boxes in raster pixels, with scores; labels are among `names` where the model tells them apart."""
        ...


class GroundedWords:
    """Words to boxes, boxes to tracks."""

    def __init__(
        self,
        detector: Detector,
        tracker: Tracker,
        train: Mapping[str, AnnotatedVideo] | None = None,
        *,
        chosen: Literal["words", "random"] = "words",
        seed: int = 0,
    ):
        """`train` has grounded questions with answers. Raises BadInput where it has none."""
        self.detector, self.tracker, self.chosen, self.seed = detector, tracker, chosen, seed
        self.shares = None if train is None else answer_shares(train)
        if self.shares == {}:
            raise BadInput(
                "the annotations to learn from have no grounded question with answers; give those of the train split"
            )

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        tracks_by_words: dict[tuple[str, ...], BoxTracks] = {}
        for question in video.grounded:
            words = self.words(question.question)
            if words not in tracks_by_words:
                tracks_by_words[words] = self.follow(words, video, content)
            tracks = tracks_by_words[words]
            scores = self._scores(tracks, question.question, video.metadata.video_id, question.id)
            order = [k for k in np.argsort(-scores, kind="stable")[:MOST].tolist() if scores[k] > 0]
            answers[str(question.id)] = [
                _row(place, tracks, k, float(scores[k]), content.size) for place, k in enumerate(order)
            ]
        return {"grounded": answers}

    def words(self, question: str) -> tuple[str, ...]:
        """Choose the words to detect: the nouns that answer questions of the train split, or the question."""
        if self.shares is None:
            return (question.rstrip("?.! "),)
        nouns: Counter[str] = Counter()
        for shares in self.shares.values():
            nouns.update(shares)
        return tuple(sorted(noun for noun, _ in nouns.most_common(MOST_NOUNS)))

    def follow(self, words: tuple[str, ...], video: AnnotatedVideo, content: VideoContent) -> BoxTracks:
        """Find things in some frames, and follow them through all."""
        clip = open_video(content.frames, frame_rate=video.metadata.frame_rate)
        every = -(-content.count // DETECTION_FRAMES)
        follower = BoxTracker(clip, self.tracker, lambda frame: self.detector.find_boxes(content.frames[frame], words), every)
        return to_box_tracks(follower.run(), clip)

    def _scores(self, tracks: BoxTracks, question: str, name: str, number: int) -> np.ndarray:
        """One for each thing; 0 for what is no answer."""
        sure = np.array(
            [row[shown].mean() if shown.any() else 0.0 for row, shown in zip(tracks.scores, tracks.shown, strict=True)]
        )
        if not len(sure):
            return sure
        if self.chosen == "random":
            rng = np.random.default_rng([self.seed, zlib.crc32(name.encode("utf-8", "surrogatepass")), number, 6])
            return np.where(np.arange(len(sure)) == rng.integers(len(sure)), np.maximum(sure, 1e-6), 0.0)
        if self.shares is None:
            return sure
        known = self.shares.get(question) or {}
        share = np.array([known.get(noun_of(label), 0.0) for label in tracks.labels])
        return sure * np.where(share >= LEAST_SHARE * share.max(), share, 0.0)


def answer_shares(train: Mapping[str, AnnotatedVideo]) -> dict[str, dict[str, float]]:
    """Compute for each question text and noun how often an object of that noun was among the answers."""
    occurrences: dict[str, Counter[str]] = {}
    answers: dict[str, Counter[str]] = {}
    for video in train.values():
        for question in video.grounded:
            if question.answers is None:
                continue
            nouns = [noun_of(track.label) for track in video.objects]
            occurrences.setdefault(question.question, Counter()).update(nouns)
            answers.setdefault(question.question, Counter()).update(nouns[k] for k in question.answers)
    return {text: {noun: count / occurrences[text][noun] for noun, count in counts.items()} for text, counts in answers.items()}


def noun_of(label: str) -> str:
    """Read the last word of a label.

    >>> noun_of("red cup")
    'cup'
    """
    return label.split()[-1].lower() if label.strip() else ""


def _row(place: int, tracks: BoxTracks, k: int, score: float, size: tuple[int, int]) -> dict[str, Any]:
    frames = np.flatnonzero(tracks.shown[k])
    shares = np.clip(tracks.xyxy[k, frames] / np.tile(np.array(size), 2), 0, 1)
    return track_row(place, frames, shares, score=round(score, 6))
