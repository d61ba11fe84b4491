"""Predicted cost of processing long videos (`--plan` of `embed` and `answer`): tokens, memories, bytes, FLOPs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.verb import File, Result
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.systems.longvideo.cost import VideoCost


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """The cost of looking at one video."""

    name: str
    frames: int
    """That are looked at."""
    segments: int
    tokens: int
    memories: int
    """That each layer holds at the end."""
    memory_bytes: int
    """Of all layers at the end."""
    flops: int
    seconds: float | None = None
    """That it takes on this machine, by a little of it that was done; None where that could not be."""


@dataclass(frozen=True, kw_only=True)
class PlannedWork(Result):
    """What is to be looked at, and its cost."""

    videos: tuple[PlannedVideo, ...]

    @property
    def flops(self) -> int:
        """Sum over all videos."""
        return sum(each.flops for each in self.videos)

    def as_json(self) -> dict[str, Any]:
        return {"videos": [asdict(each) for each in self.videos], "flops": self.flops, "seconds": self.seconds}

    @property
    def seconds(self) -> float | None:
        """Sum over all videos."""
        each = [video.seconds for video in self.videos]
        return None if None in each else sum(filter(None, each))

    def as_text(self) -> str:
        wide = max(len(each.name) for each in self.videos)
        head = (
            f"{'':{wide}}  {'frames':>9} {'segments':>9} {'tokens':>11} {'memories':>9} {'memory':>9} {'FLOPs':>9} {'time':>9}"
        )
        rows = [
            f"{each.name:{wide}}  {each.frames:9,} {each.segments:9,} {each.tokens:11,} {each.memories:9,} "
            f"{_short(each.memory_bytes, 'B'):>9} {_short(each.flops, ''):>9} {_time(each.seconds):>9}"
            for each in self.videos
        ]
        total = [f"together {_short(self.flops, '')} FLOPs, {_time(self.seconds)}"] if len(self.videos) > 1 else []
        return "\n".join([head, *rows, *total])


def plan_watching(files: Sequence[Any], model: File, frame_rate: float | None = None) -> PlannedWork:
    """Predict the cost of processing videos with a model of `tapetum train longvideo`; the first frames are run twice, to
    measure the time.

    Raises BadInput for other models, and for unreadable files.
    """
    from tapetum.app.see.answer import choose_frame_rate, load_watcher
    from tapetum.systems.longvideo.cost import compute_cost
    from tapetum.systems.longvideo.streaming import FrameSelection
    from tapetum.video import open_video

    if not files:
        raise BadInput("there are no videos; give one or more")
    watcher = load_watcher(model, None)
    config, planned = watcher.config.video, []
    frame_rate = choose_frame_rate(watcher, frame_rate)
    with open_video(files[0]) as video:
        few = min(config.segment_frames, config.frames, len(FrameSelection(frame_rate=frame_rate).numbers(video)))
        seconds_per_flop = (
            _look_seconds(watcher, video, FrameSelection(frame_rate=frame_rate, frames=few)) / compute_cost(config, few).flops
        )
    for file in files:
        with open_video(file) as video:
            frames = len(FrameSelection(frame_rate=frame_rate).numbers(video))
        frames = min(frames, config.frames) if config.memory == "joint" else frames
        cost = compute_cost(config, frames)
        name = Path(str(file)).name if isinstance(file, File) else "video"
        planned.append(_video(name, cost, cost.flops * seconds_per_flop))
    return PlannedWork(videos=tuple(planned))


def _look_seconds(model: Any, video: Any, view: Any) -> float:
    """Time in seconds of the second of two passes over a few frames, decoded afresh."""
    import time

    import torch

    from tapetum.systems.longvideo.streaming import stream_features

    began = 0.0
    for _ in range(2):
        began = time.perf_counter()
        with torch.inference_mode():
            list(stream_features(model, video, view))
    return time.perf_counter() - began


def _video(name: str, cost: "VideoCost", seconds: float | None) -> PlannedVideo:
    parts = "linear", "attention", "patches"
    counts = {n: v for n, v in asdict(cost).items() if n not in parts}
    return PlannedVideo(name=name, flops=cost.flops, seconds=seconds, **counts)


def _time(seconds: float | None) -> str:
    """A time with two digits; ? if unknown.

    >>> _time(0.0123), _time(59), _time(4000), _time(None)
    ('0.012 s', '59 s', '67 min', '?')
    """
    from tapetum.systems.pretraining.run import duration

    if seconds is None:
        return "?"
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _short(value: float, unit: str) -> str:
    """A number with an SI prefix.

    >>> _short(1.5e12, ""), _short(2048, "B"), _short(12, "B")
    ('1.5 T', '2.0 kB', '12 B')
    """
    prefixes = iter("kMGTPE")
    prefix = ""
    while value >= 1000:
        value, prefix = value / 1000, next(prefixes, "Z")
    number = f"{value:.1f}" if prefix else f"{value:.0f}"
    return f"{number} {prefix}{unit}".rstrip()
