"""Training videos and images with texts, by number.

    a name             registered as a source of clips, such as ordered-events, which are made up
    a folder           of `tapetum scenes episodes`: videos/NAME.mp4, and what happens in captions.jsonl; or its questions, of
                       questions.jsonl, each with what of the video it may see; or the official files of NExT-QA
    *.tar              shards with mp4 and txt, or images and txt (`tapetum.data.shards`)

Every tenth video file is for validation. A clip has `frame_rate` frames per second from a random start, fewer if the video ends
earlier.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.plugins import find_class
from tapetum.data.entries import JsonEntry, line_entries
from tapetum.data.fields import IMAGES
from tapetum.data.files import StoredFile, opened_image
from tapetum.data.questions import Question
from tapetum.data.shards import Shards
from tapetum.data.video_language import read_nextqa
from tapetum.systems.longvideo.recipes import MADE_UP, VideoTextRun
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.video import open_video
from tapetum.video.types import resize_frame

Frames = UInt8[np.ndarray, "t h w 3"]
_BLANK = np.zeros((1, 1, 1, 3), np.uint8)
"""In place of a video that is not used."""


@dataclass(frozen=True)
class CaptionedClip:
    frames: Frames
    """As many as the run has, or fewer."""
    text: str
    image: UInt8[np.ndarray, "h w 3"]
    image_text: str
    wrong: tuple[str, ...] = ()
    """Of a question: it with each wrong answer."""


@dataclass(frozen=True)
class _Listed:
    path: Path
    text: str
    wrong: tuple[str, ...] = ()
    until_s: float | None = None
    """It may be seen up to here."""


class ClipSource(Protocol):
    count: int | None
    """Training clips; None: without end."""
    validation_count: int

    def training_clip(self, k: int, rng: np.random.Generator) -> CaptionedClip: ...

    def validation_clip(self, k: int) -> CaptionedClip:
        """Make validation clip k, the same at every call."""
        ...


@runtime_checkable
class ScoredClips(Protocol):
    """Clips with their own scores, in place of retrieval."""

    def score(self, model: VideoText, vectors: Tensor) -> Mapping[str, float]: ...


class FileClips:
    """Videos or images in files."""

    def __init__(self, run: VideoTextRun):
        self.run = run
        place = Path(run.data)
        self._beside = FileClips(replace(run, stage="images", data=run.beside, beside="")) if run.beside else None
        self._shards = self._listed = self._kind = None
        if run.stage == "questions" or (place / "captions.jsonl").is_file():
            self._listed = _read_questions(place) if run.stage == "questions" else _episodes(place)
            total = len(self._listed)
        else:
            self._shards = Shards(place)
            self._kind = next((name for name in self._shards.fields if name in (*IMAGES, "mp4")), None)
            if self._kind is None or "txt" not in self._shards.fields:
                raise BadInput(f"{place} has the fields {', '.join(self._shards.fields)}; wanted mp4 or jpg, and txt")
            total = len(self._shards)
        if total < 2 and run.stage == "questions":
            raise BadInput(f"{place} holds {total} questions; few or short episodes leave none, so give it more, of 8 seconds")
        if total < 2:
            raise BadInput(f"{place} holds {total} clips with texts; give 2 or more")
        known: dict[Path, int] = {}
        of = range(total) if self._listed is None else [known.setdefault(each.path, len(known)) for each in self._listed]
        validation = [k for k in range(total) if of[k] % 10 == 9] or [k for k in range(total) if of[k] == of[-1]]
        if len(validation) == total:
            raise BadInput(f"{place} has texts of one video alone; give two or more, so that one can be held out")
        self._parts = [k for k in range(total) if k not in set(validation)], validation
        self.count: int | None = len(self._parts[0])
        self.validation_count = min(len(validation), run.checks)

    def training_clip(self, k: int, rng: np.random.Generator) -> CaptionedClip:
        return self._read(self._parts[0][k], rng)

    def validation_clip(self, k: int) -> CaptionedClip:
        return self._read(self._parts[1][k], np.random.default_rng(k))

    def _read(self, k: int, rng: np.random.Generator) -> CaptionedClip:
        wrong: tuple[str, ...] = ()
        if self._listed is not None:
            each = self._listed[k]
            text, wrong = each.text, each.wrong
            frames = _BLANK if self.run.stage == "language" else self._clip(each.path, rng, each.until_s)
        else:
            assert self._shards is not None
            content = self._shards.read(k)
            text = content["txt"].decode(errors="replace").strip()
            if self.run.stage == "language":
                frames = _BLANK
            elif self._kind != "mp4":
                place, key = self._shards.locate(k)
                image = np.asarray(opened_image(StoredFile(f"{place}: {key}", content[str(self._kind)]), "RGB"))
                frames = resize_frame(image, self.run.size, self.run.size)[None]
            else:
                with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
                    file.write(content["mp4"])
                    file.flush()
                    frames = self._clip(Path(file.name), rng)
        if self._beside is not None:
            other = self._beside.training_clip(int(rng.integers(self._beside.count or 1)), rng)
            return CaptionedClip(frames, text, other.image, other.image_text, wrong)
        return CaptionedClip(frames, text, frames[int(rng.integers(len(frames)))], text, wrong)

    def _clip(self, path: Path, rng: np.random.Generator, until_s: float | None = None) -> Frames:
        with open_video(path) as video:
            times = video.timestamps - video.timestamps[0]
            if until_s is not None:
                times = times[: max(int(np.searchsorted(times, until_s - 1e-6)), 1)]
            at = sample_frames(times, self.run.frames, self.run.frame_rate, rng)
            frames = video[at]
        return np.stack([resize_frame(frame, self.run.size, self.run.size) for frame in frames])


def sample_frames(times: np.ndarray, count: int, frame_rate: float, rng: np.random.Generator) -> list[int]:
    """Choose at most `count` frames, `frame_rate` per second, from a random start if there are more.

    >>> sample_frames(np.arange(0, 4, 0.25), 3, 1.0, np.random.default_rng(0))
    [4, 8, 12]
    >>> sample_frames(np.arange(0, 1, 0.25), 16, 1.0, np.random.default_rng(0))
    [0]
    """
    times = times - times[0]
    step = np.diff(times).mean() if len(times) > 1 else 0.0
    available = max(int((times[-1] + step) * frame_rate + 1e-6), 1)
    first = int(rng.integers(max(available - count, 0) + 1))
    times_s = np.arange(first, first + min(count, available)) / frame_rate
    return np.minimum(np.searchsorted(times, times_s - 1e-6), len(times) - 1).tolist()


def open_clips(run: VideoTextRun) -> ClipSource:
    """Open the clips of a run. Raises BadInput for a place without any."""
    if source := find_class(run.data, "video_clips"):
        return source(run)
    if not run.data or not Path(run.data).exists():
        raise BadInput(f"there is no {run.data or 'data'}; give a folder of episodes, tar shards, or {MADE_UP}")
    return FileClips(run)


def _episodes(place: Path) -> list[_Listed]:
    return [_Listed(path, text) for path, entry in _lines(place, "captions.jsonl") for text in [entry.text("caption")]]


def _read_questions(place: Path) -> list[_Listed]:
    """The questions of a folder, each with its answer and with every wrong one."""
    if (place / "train.csv").is_file():
        return [_from_nextqa(each) for each in read_nextqa(place, "train") if each.video is not None and each.video.is_file()]
    listed = []
    for path, entry in _lines(place, "questions.jsonl"):
        options, right = entry.texts("options"), entry.whole("answer_id")
        if not 0 <= right < len(options) or len(options) < 2:
            raise BadInput(f"{entry.where} has {len(options)} options, number {right} right; make the episodes again")
        texts = [f"{entry.text('question')} {option}" for option in options]
        span = entry.fields.get("span_s")
        until = float(span[1]) if isinstance(span, list) and len(span) == 2 else None
        listed.append(_Listed(path, texts[right], tuple(t for k, t in enumerate(texts) if k != right), until))
    return listed


def _from_nextqa(each: Question) -> _Listed:
    texts = [f"{each.question} {option}" for option in each.options]
    assert each.video is not None
    assert each.right is not None
    return _Listed(each.video, texts[each.right], tuple(t for k, t in enumerate(texts) if k != each.right))


def _lines(place: Path, name: str) -> Iterator[tuple[Path, JsonEntry]]:
    if not (place / name).is_file():
        more = ", or of NExT-QA" if name == "questions.jsonl" else ""
        raise BadInput(f"{place} holds no {name}; give a folder of tapetum scenes episodes{more}")
    for entry in line_entries(place / name):
        path = place / "videos" / f"{entry.file_name('video')}.mp4"
        if not path.is_file():
            raise BadInput(f"{place / name} names the video {path.name}, which is not there; put it back")
        yield path, entry
