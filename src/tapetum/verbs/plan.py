"""What work on long videos will cost, said before any is done: tokens, memories, bytes, FLOPs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.errors import BadInput
from tapetum.verbs.verb import File

if TYPE_CHECKING:
    from tapetum.longvideo.plan import Plan
    from tapetum.longvideo.recipes import VideoTextRun


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


@dataclass(frozen=True, kw_only=True)
class Planned:
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
        return {"videos": [asdict(each) for each in self.videos], "flops": self.flops}

    def lines(self) -> list[str]:
        """Say it as a table."""
        wide = max(len(each.name) for each in self.videos)
        head = f"{'':{wide}}  {'frames':>9} {'segments':>9} {'tokens':>11} {'memories':>9} {'memory':>9} {'FLOPs':>9}"
        rows = [
            f"{each.name:{wide}}  {each.frames:9,} {each.segments:9,} {each.tokens:11,} {each.memories:9,} "
            f"{_short(each.memory_bytes, 'B'):>9} {_short(each.flops, ''):>9}"
            for each in self.videos
        ]
        total = [f"together {_short(self.flops, '')} FLOPs"] if len(self.videos) > 1 and self.adds else []
        return [head, *rows, *total]


def plan_watching(files: Sequence[Any], model: File, rate: float = 1.0) -> Planned:
    """Say what it costs to look at videos with a model of `tapetum train longvideo`; no frame is decoded.

    Raises BadInput for a model of another kind, and for files that cannot be read.
    """
    from tapetum.longvideo.plan import plan
    from tapetum.longvideo.watching import View
    from tapetum.verbs.answer import load_watcher
    from tapetum.video import open_video

    if not files:
        raise BadInput("there are no videos; give one or more")
    config = load_watcher(model, None).config.video
    found = []
    for file in files:
        with open_video(file) as video:
            frames = len(View(rate=rate).numbers(video))
        frames = min(frames, config.frames) if config.memory == "joint" else frames
        found.append(_video(Path(str(file)).name if isinstance(file, File) else "video", plan(config, frames)))
    return Planned(videos=tuple(found))


def plan_training(run: "VideoTextRun") -> Planned:
    """Say what a clip, a step and the whole of a run cost at most, the text beside the video not counted."""
    from dataclasses import replace

    from tapetum.longvideo.plan import plan, step_flops

    if run.stage == "language":
        raise BadInput("the stage language looks at no video; leave --plan out")
    config = run.config.video
    frames = 1 if run.stage == "pictures" else run.frames
    frozen = run.stage == "video-to-text"
    once = plan(config, frames, training=True)
    flops = once.flops if frozen else step_flops(config, frames)
    clip = _video("a clip", once)
    step = replace(clip, name=f"a step of {run.batch_size}", flops=run.batch_size * flops)
    return Planned(videos=(clip, step, replace(step, name=f"{run.steps:,} steps", flops=run.steps * step.flops)), adds=False)


def _video(name: str, cost: "Plan") -> PlannedVideo:
    parts = "linear", "looking", "patches"
    return PlannedVideo(name=name, flops=cost.flops, **{n: v for n, v in asdict(cost).items() if n not in parts})


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
