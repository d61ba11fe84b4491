"""Benchmarks as classes of `tapetum.bench.own`, whose headline alone is wanted; their verbs have more options and say more.

TAP-Vid            a tracker, queried at the first visible frame; an item is a video; the mean Average Jaccard
ITTO               a tracker on videos of MOSE (arXiv 2510.19819), queried at frame 0; the mean Average Jaccard over videos, and
                   scores over the tracks of all videos by how far a point moves and how often it comes back
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
from tapetum.bench.tapvid import SIZE, make_clip, sample_queries, track_queries
from tapetum.core.errors import BadInput
from tapetum.core.finished import Rows
from tapetum.core.reading import no_pipe
from tapetum.data.questions import Question
from tapetum.systems.longvideo import weights
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.tracks.metrics import HEADLINES, tapvid_metrics
from tapetum.tracks.tapvid import TapVidEntry, list_entries, read_entries
from tapetum.tracks.tracker import Tracker
from tapetum.video.images import ImageVideo


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
        """Load a tracker."""
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


class Itto(Benchmark):
    """A tracker on ITTO's videos of MOSE, as github.com/cvlab-kaist/DiTracker scores them (not its authors).

        DIR/mose/frames/ID/00000.jpg ...           in the order of their numbers
        DIR/mose/annotations/ID/ID_gradient.npy    float (n, t, 4): x, y in pixels of the frames, 1 where visible, and a fourth;
                                                   ID_random.npy; ID_background.npy may be missing

    Frames are resized to 256x256 and points with them; each is queried at frame 0, visible or not. A score of nothing is 0.
    """

    headline = "average_jaccard"
    motions = 0.005, 0.015, 0.05
    """Limits of groups by mean step between frames in which a point is visible, as a fraction of the image's diagonal."""
    returns = 1, 3
    """Limits of groups by the times that a point becomes visible again."""

    def items(self, data: Path) -> Mapping[str, tuple[Path, Path]]:
        """List the videos, each by its folders of frames and annotations. Raises BadInput if there are none."""
        data = data / "mose" if (data / "mose").is_dir() else data
        videos = {frames.name: (frames, data / "annotations" / frames.name) for frames in sorted(data.glob("frames/*"))}
        if not videos:
            raise BadInput(f"{data} has no frames/ID folders; give the folder of ITTO, which holds mose/frames")
        return videos

    def load(self, model: str, device: str | None) -> Tracker:
        """Load a tracker."""
        return load_tracker(model, device)

    @staticmethod
    def read(frames: Path, annotations: Path) -> TapVidEntry:
        """Read the frames and annotations of a video. Raises BadInput if they are damaged or do not fit."""
        files = [annotations / f"{frames.name}_{kind}.npy" for kind in ("gradient", "random", "background")]
        try:
            images = sorted(frames.glob("*.jpg"), key=lambda path: int(path.stem))
            video = ImageVideo(images, name=frames.name, frame_rate=25.0)
            marks = np.concatenate([np.load(no_pipe(file)) for file in files if file.is_file() or file != files[2]])
            points, occluded = marks[..., :2] / (video.width, video.height), marks[..., 2] == 0
        except (OSError, ValueError, IndexError) as error:
            raise BadInput(f"{frames} and {annotations} are no video with marks (n, t, 4); copy them again") from error
        if points.shape != (*occluded.shape, 2) or occluded.shape[1:] != (len(video),):
            raise BadInput(f"{annotations} has marks of {marks.shape} for {len(video)} frames; copy it again")
        return TapVidEntry(frames.name, [video[k] for k in range(len(video))], points, occluded)

    def score(self, model: Tracker, item: tuple[Path, Path]) -> Mapping[str, float]:
        """Compute the metrics, and of each group the number of its `tracks` and the means over them."""
        entry = self.read(*item)
        clip, points, occluded = make_clip(entry), entry.points, entry.occluded
        queries = np.concatenate([np.zeros((len(points), 1)), clip.tracks[:, 0]], 1)
        hidden, xy = track_queries(model, clip.video, queries, 1.0)[::-1]
        truth = clip.tracks.astype(np.float32)

        def metrics(rows: slice) -> dict[str, float]:
            scores = tapvid_metrics(queries[rows], occluded[rows], truth[rows], hidden[rows], xy[rows], "first")
            return {name: 0.0 if math.isnan(value) else value for name, value in scores.items()}

        each = [metrics(slice(k, k + 1)) for k in range(len(points))]
        both = ~occluded[:, 1:] & ~occluded[:, :-1]
        steps = np.linalg.norm(np.diff(truth, axis=1), axis=-1) / (math.sqrt(2) * SIZE)
        motion = np.searchsorted(self.motions, (steps * both).sum(1) / both.sum(1).clip(1), side="right")
        again = np.searchsorted(self.returns, (occluded[:, :-1] & ~occluded[:, 1:]).sum(1), side="right")
        row = metrics(slice(None))
        for name, groups, count in (("motion", motion, 4), ("returns", again, 3)):
            for group in range(count):
                chosen = np.flatnonzero(groups == group)
                row[f"{name}_{group}_tracks"] = len(chosen)
                for score in HEADLINES if len(chosen) else ():
                    row[f"{name}_{group}_{score}"] = float(np.mean([each[k][score] for k in chosen]))
        return row

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Average over videos, and in each group over all tracks."""
        total = dict(super().summary(rows))
        for name in [name for name in total if name.endswith("_tracks")]:
            group = name.removesuffix("tracks")
            total[name] = sum(row[name] for row in rows)
            for score in [f"{group}{score}" for score in HEADLINES if f"{group}{score}" in total]:
                total[score] = sum(row[score] * row[name] for row in rows if score in row) / total[name]
        return total


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
        """Compute the accuracy over all questions."""
        right, questions = (sum(row[name] for row in rows) for name in ("right", "questions"))
        return {"accuracy": right / questions, "questions": questions}
