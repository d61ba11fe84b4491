"""Images and videos as jobs: named, read, passed to the model in batches, drawn and saved; locally or with Ray."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.see.replies import ImageReply, failed_row
from tapetum.app.see.settings import Request, SeeSettings, load_answerer
from tapetum.app.verb import narrowed
from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.files import named_path
from tapetum.core.finished import read_finished, write_finished
from tapetum.core.identity import Outdated, stamp
from tapetum.core.jobs import gpus_for, run_jobs
from tapetum.hub.registry import weights_fingerprint

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.systems.paligemma.answers import Answerer, Reply

_WITHOUT_EFFECT = "out", "report", "engine", "workers", "device"
"""Settings that leave the answers as they are."""
_AT_A_TIME = 8
"""Examples that the network answers together."""
ROWS = 2
"""Number of the format of saved rows: what was saved in another is asked anew."""
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp"))
"""Of a single drawn image."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One source and where its results belong."""

    name: str
    source: Any
    """A path, or what stands for an image in Python."""
    drawn: Path | None = None
    saved: Path | None = None
    identity: Any = None
    """By which saved results are known to be of this source and these settings."""

    @property
    def path(self) -> str:
        return str(self.source) if isinstance(self.source, str | Path) else self.name

    @property
    def files(self) -> list[Path]:
        """List the sources that are paths."""
        sources = self.source if isinstance(self.source, tuple) else (self.source,)
        return [Path(each) for each in sources if isinstance(each, str | Path)]


def find_jobs(settings: SeeSettings, images: Any, request: Request, together: bool) -> list[Job]:
    """List a job for each image or video, with unique names."""
    from tapetum.video.read import list_sources

    arrays = "videos" if settings.frames else "images"
    sources = [part for each in list_sources(images, arrays) for part in _inside(each, settings.frames)]
    if not sources:
        raise BadInput("there is no image; give one, as in: tapetum ask photo.jpg 'what is this?'")
    if together:
        return [_places(settings, request, Job(name="images", source=tuple(sources)), alone=True)]
    jobs: dict[str, Job] = {}
    for number, source in enumerate(sources):
        path = Path(source) if isinstance(source, str | Path) else None
        name = path.stem if path else f"image-{number}"
        if path and name in jobs:
            name = path.name if path.name not in jobs else f"{path.parent.name}-{path.name}"
        if name in jobs:
            raise BadInput(f"two images are called {name}; ask about them with two commands, or rename one")
        jobs[name] = Job(name=name, source=source)
    return [_places(settings, request, job, alone=len(jobs) == 1) for job in jobs.values()]


def first_sources(images: Any, frames: int | None, most: int) -> list[Any]:
    """List the first images and videos of the user's sources; empty if they cannot be listed."""
    from tapetum.video.read import list_sources

    try:
        arrays = "videos" if frames else "images"
        return [part for each in list_sources(images, arrays)[:most] for part in _inside(each, frames)][:most]
    except BadInput:
        return []


def _inside(source: Any, frames: int | None) -> list[Any]:
    """The images in and below a folder, and the videos if frames of videos are used; other sources unchanged."""
    if not isinstance(source, str | Path):
        return [source]
    from tapetum.video.episodes import list_episodes

    if episodes := list_episodes(source):
        return episodes
    if not named_path(source).is_dir():
        return [source]
    from tapetum.video.images import images_below, videos_below

    videos = videos_below(Path(source)) if frames else []
    try:
        return [*images_below(Path(source)), *videos]
    except BadInput:
        if not videos:
            raise
        return videos


def is_answers(out: Path) -> bool:
    """Check whether `out` is a single file for all answers rather than a folder."""
    return out.suffix.lower() == ".json" and not out.is_dir()


def _places(settings: SeeSettings, request: Request, job: Job, alone: bool) -> Job:
    if settings.out is None:
        return job
    out = Path(settings.out)
    if out.suffix.lower() in _SUFFIXES and not out.is_dir():
        if not alone:
            raise BadInput(f"--out {out} is one image, and there are several; give a folder")
        return replace(job, drawn=out)
    if is_answers(out):
        return job
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder, a name that ends in .png or .json, or one that is free")
    kept = {k: v for k, v in asdict(narrowed(SeeSettings, settings)).items() if k not in _WITHOUT_EFFECT}
    sources = job.source if isinstance(job.source, tuple) else (job.source,)
    images = [Path(each) if isinstance(each, str | Path) else each for each in sources]
    weights = [weights_fingerprint(name) for name in (settings.model, settings.masks) if name]
    identity = json.loads(json.dumps(stamp(**kept, **asdict(request), weights=weights, images=images, rows=ROWS)))
    return replace(job, drawn=out / f"{job.name}.png", saved=out / f"{job.name}.json", identity=identity)


def saved_rows(job: Job, outdated: Outdated) -> list[dict[str, Any]] | None:
    """Read the rows of an earlier run if they are complete and have the same source and settings."""
    if job.saved is None or not (job.drawn and job.drawn.exists()):
        return None
    content = read_finished(job.saved, job.identity, outdated, "identity")
    return None if content is None else content["rows"]


@dataclass(frozen=True)
class _Shown:
    """Frames that the model is shown together."""

    frames: "UInt8[np.ndarray, 't h w 3']"
    number: int | None
    """Of a single frame in its video."""


class _Unreadable(BadInput):
    """A source cannot be read."""


def answer_jobs(
    settings: SeeSettings,
    jobs: Sequence[Job],
    request: Request,
    together: bool,
    finished: int,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the number and rows of each job as soon as it is answered; `finished` and `progress` as in `run_jobs`."""
    settings = narrowed(SeeSettings, settings)  # options of a command cannot be pickled
    on_ray = settings.engine == "ray"
    if on_ray:
        model = settings.model if not Path(settings.model).exists() else os.path.realpath(settings.model)
        settings, jobs = replace(settings, model=model), [_absolute(job) for job in jobs]
    work = BatchedWork(
        read=partial(_read, settings, request, together),
        compute=partial(_ask, settings, request),
        finish=partial(_write, request),
        size=_AT_A_TIME,
        key=_frame_count,
    )
    yield from run_jobs(
        work,
        jobs,
        partial(_checked_answerer, settings, request),
        engine=settings.engine,
        workers=settings.workers,
        gpus=gpus_for(settings.device),
        failure=_failed,
        finished=finished,
        progress=progress,
    )


def _absolute(job: Job) -> Job:
    """A job whose paths are valid in any working directory."""

    def absolute(path: Any) -> Any:
        return Path(os.path.realpath(path)) if isinstance(path, str | Path) else path

    return replace(job, source=absolute(job.source), drawn=absolute(job.drawn), saved=absolute(job.saved))


def _checked_answerer(settings: SeeSettings, request: Request) -> "Answerer | PhotoAnswerer":
    """The model, after checking that it can answer the prompt."""
    answerer = load_answerer(settings)
    answerer.prefix(request.prompt, max_new_tokens=settings.tokens or request.tokens)
    return answerer


def _read(settings: SeeSettings, request: Request, together: bool, job: Job, _: Any) -> Iterator[_Shown]:
    """The model's input for a job: all frames together for text, one frame at a time for boxes and masks."""
    try:
        frames, numbers = _read_frames(job, settings.frames, together)
    except BadInput as error:
        raise _Unreadable(str(error)) from error
    if request.kind == "words":
        yield _Shown(frames, None)
        return
    for frame, number in zip(frames, numbers, strict=True):
        yield _Shown(frame[None], number)


def _frame_count(shown: _Shown) -> int:
    """The number of frames, equal for all items of a batch."""
    return len(shown.frames)


def _ask(
    settings: SeeSettings, request: Request, batch: Sequence[_Shown], answerer: "Answerer | PhotoAnswerer"
) -> list[tuple[_Shown, "Reply"]]:
    """The model's inputs, and the replies."""
    from tapetum.layers.generate import SamplingConfig

    most, sampling = settings.tokens or request.tokens, SamplingConfig(beams=settings.beams)
    prompts = [request.prompt] * len(batch)
    replies = answerer.ask([each.frames for each in batch], prompts, most, resize=settings.resize, sampling=sampling)
    return list(zip(batch, replies, strict=True))


def _read_frames(job: Job, frames: int | None, together: bool) -> tuple["np.ndarray", list[int | None]]:
    """The frames of a source, and their frame numbers."""
    import numpy as np

    from tapetum.systems.paligemma.images import read_images, read_numbered

    if not together:
        shown, numbers = read_numbered(job.source, frames)
        return shown, list(numbers)
    parts = [read_images(source, frames) for source in job.source]
    sizes = {part.shape[1:3] for part in parts}
    if len(sizes) > 1:  # images that are shown together become squares of one size anyway
        from PIL import Image

        height, width = max(sizes)
        parts = [np.stack([np.asarray(Image.fromarray(f).resize((width, height))) for f in part]) for part in parts]
    shown = np.concatenate(parts)
    return shown, [None] * len(shown)


def _write(
    request: Request, job: Job, replies: Sequence[tuple[_Shown, "Reply"]], answerer: "Answerer | PhotoAnswerer"
) -> list[dict[str, Any]]:
    """Rows of a job, drawn and saved if requested; the file that marks it as done is written last."""
    import numpy as np

    from tapetum.systems.paligemma.locations import requested_objects

    words, things = request.kind == "words", requested_objects(request.prompt)
    images = []
    for shown, reply in replies:
        count, height, width = shown.frames.shape[:3]
        masks = request.kind == "masks"
        regions = None if words else answerer.find(reply, width, height, masks=masks, things=things)
        frame = shown.number if len(replies) > 1 else None
        images.append(ImageReply.of(job.path, request.prompt, reply, regions, (width, height), count, frame))
    if job.drawn is not None:
        from tapetum.app.see.replies import draw

        draw(job.drawn, np.concatenate([shown.frames for shown, _ in replies]), images)
        images = [replace(each, drawn=job.drawn) for each in images]
    rows = [each.as_json() for each in images]
    if job.saved is not None:
        write_finished(job.saved, {"identity": job.identity, "rows": rows})
    return rows


def _failed(job: Job, error: Exception) -> list[dict[str, Any]]:
    """The rows of a job that cannot be read, or failed with an error of its own, such as out of memory."""
    if isinstance(error, _Unreadable):
        return [failed_row(job.path, str(error))]
    if isinstance(error, TapetumError):
        raise error
    return [failed_row(job.path, f"{type(error).__name__}: {error}")]
