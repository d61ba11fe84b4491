"""Benchmarks as classes of `tapetum.bench.own`, whose headline alone is wanted; their verbs have more options and say more.

TAP-Vid            a tracker, queried at the first visible frame; an item is a video; the mean Average Jaccard
video questions    a model of long video, questions as the benchmark's own tool does if it has a language model; an item is a
                   video with all its questions, so that intervals are those over videos; accuracy
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tapetum.bench.baselines import load_tracker
from tapetum.bench.longvideo import answer_questions
from tapetum.bench.longvideo_tasks import BENCHMARKS, PROTOCOLS
from tapetum.bench.own import Benchmark
from tapetum.bench.tapvid import make_clip, sample_queries, track_queries
from tapetum.core.errors import BadInput
from tapetum.core.finished import Rows
from tapetum.data.questions import Question
from tapetum.systems.longvideo import weights
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.tracks.metrics import tapvid_metrics
from tapetum.tracks.tapvid import TapVidEntry, list_entries, read_entries
from tapetum.tracks.tracker import Tracker


class TapVid(Benchmark):
    """A tracker on TAP-Vid's pickles, in the mode first."""

    headline = "average_jaccard"

    def __init__(self, name: str = ""):
        super().__init__(name)
        self._file: Path | None = None
        self._entries: Iterator[TapVidEntry] = iter(())

    def items(self, data: Path) -> Mapping[str, tuple[Path, str]]:
        """List the videos, each by its file and its name there."""
        files = sorted(data.glob("*.pkl"))
        return {f"{file.stem}/{name}": (file, name) for file in files for name in list_entries(file)}

    def load(self, model: str, device: str | None) -> Tracker:
        return load_tracker(model, device)

    def score(self, model: Tracker, item: tuple[Path, str]) -> Mapping[str, float]:
        """Compute the metrics; those that have nothing to count are left out."""
        clip = make_clip(self._entry(*item))
        sampled = sample_queries(clip.tracks, clip.occluded, "first")
        tracks, occluded = track_queries(model, clip.video, sampled.queries, 1.0)
        scores = tapvid_metrics(sampled.queries, sampled.occluded, sampled.tracks, occluded, tracks, "first")
        return {"queries": len(sampled.queries)} | {name: value for name, value in scores.items() if math.isfinite(value)}

    def _entry(self, file: Path, name: str) -> TapVidEntry:
        """Read a video; files are read on from the last one, since they must be read in their order."""
        for start in (self._file != file, True):
            if start:
                self._file, self._entries = file, read_entries(file)
            for entry in self._entries:
                if entry.name == name:
                    return entry
        raise BadInput(f"{file} no longer has a video {name}; leave the files as they are while they are scored")


class VideoQuestions(Benchmark):
    """A model of long video on questions with options, without subtitles; of EgoSchema those whose answers are public."""

    headline = "accuracy"

    def __init__(self, name: str):
        super().__init__(name)
        self.task = name.replace("next-qa", "nextqa")

    def items(self, data: Path) -> Mapping[str, tuple[Question, ...]]:
        """List the videos that are there, each with its questions. Raises BadInput if none is."""
        questions = BENCHMARKS[self.task].read(data, BENCHMARKS[self.task].split)
        by_video: dict[str, list[Question]] = {}
        for each in questions:
            if each.right is not None and each.video.is_file():
                by_video.setdefault(each.video.name, []).append(each)
        if not by_video:
            raise BadInput(f"none of the videos is there, such as {questions[0].video}; put them into {data / 'videos'}")
        return {name: tuple(group) for name, group in by_video.items()}

    def load(self, model: str, device: str | None) -> VideoText | Captioner:
        """Load weights with a text tower or a language model. Raises BadInput for others."""
        loaded = weights.load(model, device)
        if not isinstance(loaded, VideoText | Captioner):
            raise BadInput(f"{model} answers no questions; give the folder of a run of tapetum train longvideo")
        return loaded

    def score(self, model: VideoText | Captioner, item: Sequence[Question]) -> Mapping[str, float]:
        """Count the questions of a video, and those that are answered right."""
        protocol = PROTOCOLS.get(self.task if isinstance(model, Captioner) else "papers", PROTOCOLS["papers"])
        frame_rate = protocol.frame_rate or BENCHMARKS[self.task].frame_rate
        with Rows(None, {}) as rows:
            answers = answer_questions(model, item, rows, frame_rate=frame_rate, protocol=protocol, blind=False)
        right = sum(int(np.argmax(answers[each.key]["scores"])) == each.right for each in item)
        return {"right": right, "questions": len(item)}

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        right, questions = (sum(row[name] for row in rows) for name in ("right", "questions"))
        return {"accuracy": right / questions, "questions": questions}
