"""What work on long videos will cost, said before any is done: tokens, memories, bytes, FLOPs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tapetum.app.verb import File, Result
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.systems.longvideo.config import VideoConfig
    from tapetum.systems.longvideo.cost import VideoCost
    from tapetum.systems.longvideo.recipes import VideoTextRun


_DEAR, _FEW_CLIPS, _FEW_CHECKS = 1e11, 2, 8
"""FLOPs of a step that is measured as it is; clips of one that would take too long, and clips to score with."""


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """The cost of looking at one video, or of one step of training."""

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
    adds: bool = True
    """The rows are of work one after the other; of training each is part of the next."""

    @property
    def flops(self) -> int:
        """Of all together."""
        return sum(each.flops for each in self.videos) if self.adds else self.videos[-1].flops

    def as_json(self) -> dict[str, Any]:
        """Say it as JSON values."""
        return {"videos": [asdict(each) for each in self.videos], "flops": self.flops, "seconds": self.seconds}

    @property
    def seconds(self) -> float | None:
        """Of all together."""
        each = [video.seconds for video in self.videos]
        if None in each:
            return None
        return sum(filter(None, each)) if self.adds else each[-1]

    def as_text(self) -> str:
        """Make a table."""
        wide = max(len(each.name) for each in self.videos)
        head = (
            f"{'':{wide}}  {'frames':>9} {'segments':>9} {'tokens':>11} {'memories':>9} {'memory':>9} {'FLOPs':>9} {'time':>9}"
        )
        rows = [
            f"{each.name:{wide}}  {each.frames:9,} {each.segments:9,} {each.tokens:11,} {each.memories:9,} "
            f"{_short(each.memory_bytes, 'B'):>9} {_short(each.flops, ''):>9} {_time(each.seconds):>9}"
            for each in self.videos
        ]
        total = (
            [f"together {_short(self.flops, '')} FLOPs, {_time(self.seconds)}"] if len(self.videos) > 1 and self.adds else []
        )
        return "\n".join([head, *rows, *total])


def plan_watching(files: Sequence[Any], model: File, frame_rate: float = 1.0) -> PlannedWork:
    """Say what it costs to look at videos with a model of `tapetum train longvideo`; the first frames are looked at, twice, to
    see how long that takes.

    Raises BadInput for a model of another kind, and for files that cannot be read.
    """
    from tapetum.app.answer import load_watcher
    from tapetum.systems.longvideo.cost import compute_cost
    from tapetum.systems.longvideo.streaming import FrameSelection
    from tapetum.video import open_video

    if not files:
        raise BadInput("there are no videos; give one or more")
    watcher = load_watcher(model, None)
    config, planned = watcher.config.video, []
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


def plan_training(run: "VideoTextRun") -> PlannedWork:
    """Say what a clip, a step and the whole of a run cost at most, the text beside the video not counted in FLOPs.

    Two steps of a few clips are done to see how long they take, where the run's data and weights are there.
    """
    from dataclasses import replace

    from tapetum.systems.longvideo.cost import compute_cost, step_flops
    from tapetum.systems.longvideo.run import make_task

    if run.stage == "language":
        raise BadInput("the stage language looks at no video; leave --plan out")
    config: VideoConfig = run.config.video
    if run.encoder:
        config = cast(Any, make_task(run).model()).video.config
    frames = 1 if run.stage == "images" else run.frames
    frozen = run.stage == "video-to-text"
    once = compute_cost(config, frames, training=True)
    flops = once.flops if frozen else step_flops(config, frames)
    start, clip_s = _training_seconds(run, run.batch_size * flops)
    step_s = None if clip_s is None else run.batch_size * clip_s
    clip = _video("a clip", once, clip_s)
    step = replace(clip, name=f"a step of {run.batch_size}", flops=run.batch_size * flops, seconds=step_s)
    whole = replace(step, name=f"{run.steps:,} steps", flops=run.steps * step.flops)
    whole = replace(whole, seconds=None if step_s is None else start + run.steps * step_s)
    return PlannedWork(videos=(clip, step, whole), adds=False)


def _training_seconds(run: "VideoTextRun", flops: int) -> tuple[float, float | None]:
    """Seconds that a run takes beside its steps, its scores among them, and that a clip takes in a step."""
    import time
    from dataclasses import replace

    from tapetum.systems.longvideo.run import longvideo_config, make_task
    from tapetum.train.launch_config import Launch
    from tapetum.train.rehearsal import rehearse

    clips = run.batch_size if flops <= _DEAR else min(run.batch_size, _FEW_CLIPS)
    few = replace(run, batch_size=clips, micro_batch=min(run.micro_batch, clips), checks=min(run.checks, _FEW_CHECKS))
    config = longvideo_config(few, Launch(out=Path(), workers=0))
    try:
        measured, task = rehearse(make_task(few), config, 0.0, steps=1), make_task(few)
        model = task.model().eval()
        began = time.perf_counter()
        task.evaluate(model, 0)
    except BadInput:  # what is missing is said when the run begins
        return 0.0, None
    scored_s = (time.perf_counter() - began) * run.checks / few.checks
    times = run.steps // config.eval_every + 1  # once more at the end
    return measured.start.wall + times * scored_s, measured.step.wall / clips


def _look_seconds(model: Any, video: Any, view: Any) -> float:
    """Seconds of looking at a few frames, decoded anew, the second time."""
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
    """A time of two digits; ? where it is not known.

    >>> _time(0.0123), _time(59), _time(4000), _time(None)
    ('0.012 s', '59 s', '67 min', '?')
    """
    from tapetum.systems.pretraining.run import duration

    if seconds is None:
        return "?"
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _short(value: float, unit: str) -> str:
    """A number with a prefix.

    >>> _short(1.5e12, ""), _short(2048, "B"), _short(12, "B")
    ('1.5 T', '2.0 kB', '12 B')
    """
    prefixes = iter("kMGTPE")
    prefix = ""
    while value >= 1000:
        value, prefix = value / 1000, next(prefixes, "Z")
    number = f"{value:.1f}" if prefix else f"{value:.0f}"
    return f"{number} {prefix}{unit}".rstrip()
