"""Images and videos as jobs: named, read, passed to the model in batches, drawn and saved; locally or with Ray."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.see.replies import ImageReply, draw
from tapetum.app.see.settings import ImageOptions, Request, SeeSettings, load_answerer, prompt_for
from tapetum.app.verb import narrowed
from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.files import named_path, write_json
from tapetum.core.finished import read_finished
from tapetum.core.identity import Outdated, stamp
from tapetum.core.jobs import gpus_for, run_jobs
from tapetum.hub.registry import weights_fingerprint

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from tapetum.app.see.settings import AnyAnswerer
    from tapetum.systems.paligemma.answers import Reply

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
    """Source and settings that saved results must be of."""

    @property
    def path(self) -> str:
        return str(self.source) if isinstance(self.source, str | Path) else self.name


def find_jobs(options: ImageOptions, request: Request, together: bool) -> list[Job]:
    """List a job for each image or video, with unique names."""
    from tapetum.video.read import list_sources

    arrays = "videos" if options.frames else "images"
    sources = [part for each in list_sources(options.images, arrays) for part in _inside(each, options.frames)]
    if not sources:
        raise BadInput("there is no image; give one, as in: tapetum ask photo.jpg 'what is this?'")
    if together:
        return [_places(options, request, Job(name="images", source=tuple(sources)), alone=True)]
    jobs: dict[str, Job] = {}
    for number, source in enumerate(sources):
        path = Path(source) if isinstance(source, str | Path) else None
        name = path.stem if path else f"image-{number}"
        if path and name in jobs:
            name = path.name if path.name not in jobs else f"{path.parent.name}-{path.name}"
        if name in jobs:
            raise BadInput(f"two images are called {name}; ask about them with two commands, or rename one")
        jobs[name] = Job(name=name, source=source)
    return [_places(options, request, job, alone=len(jobs) == 1) for job in jobs.values()]


def _inside(source: Any, frames: int | None) -> list[Any]:
    """List the images in and below a folder, and the videos if frames of videos are used; other sources unchanged."""
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
    status: Callable[[str], None],
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the number and rows of each job as soon as it is answered; `finished` and `progress` as in `run_jobs`.

    `status` receives the words of an answer while they are generated, if one is asked for and the model gives them.
    """
    shown = status if len(jobs) == 1 and settings.workers == 1 and settings.engine == "local" else None
    settings = narrowed(SeeSettings, settings)  # options of a command cannot be pickled
    if settings.engine == "ray":
        model = settings.model if not Path(settings.model).exists() else os.path.realpath(settings.model)
        settings, jobs = replace(settings, model=model), [_absolute(job) for job in jobs]
    work = BatchedWork(
        read=partial(_read, settings, request, together),
        compute=partial(_ask, settings, request, together, shown),
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
    """Make the paths of a job valid in any working directory."""

    def absolute(path: Any) -> Any:
        return Path(os.path.realpath(path)) if isinstance(path, str | Path) else path

    return replace(job, source=absolute(job.source), drawn=absolute(job.drawn), saved=absolute(job.saved))


def _checked_answerer(settings: SeeSettings, request: Request) -> "AnyAnswerer":
    answerer = load_answerer(settings)
    answerer.prefix(prompt_for(answerer, request), max_new_tokens=settings.tokens or request.tokens)
    return answerer


def _read(settings: SeeSettings, request: Request, together: bool, job: Job, _: Any) -> Iterator[_Shown]:
    """Read what the model is shown of a job: all frames together for text, one frame at a time for boxes and masks."""
    from tapetum.systems.paligemma.images import read_images, read_numbered

    try:
        if together:
            frames, numbers = _of_one_size([read_images(source, settings.frames) for source in job.source]), ()
        else:
            frames, numbers = read_numbered(job.source, settings.frames)
    except BadInput as error:
        raise _Unreadable(str(error)) from error
    if request.kind == "words":
        yield _Shown(frames, None)
        return
    for frame, number in zip(frames, numbers, strict=True):
        yield _Shown(frame[None], number)


def _of_one_size(images: "Sequence[UInt8[np.ndarray, '_n _h _w 3']]") -> "UInt8[np.ndarray, 'n h w 3']":
    """Join images, resized to the size of the largest; the model makes all of them squares anyway."""
    import numpy as np
    from PIL import Image

    height, width = max(part.shape[1:3] for part in images)
    frames = [frame for part in images for frame in part]
    return np.stack(
        [f if f.shape[:2] == (height, width) else np.asarray(Image.fromarray(f).resize((width, height))) for f in frames]
    )


def _frame_count(shown: _Shown) -> int:
    return len(shown.frames)


def _ask(
    settings: SeeSettings,
    request: Request,
    together: bool,
    status: Callable[[str], None] | None,
    batch: Sequence[_Shown],
    answerer: "AnyAnswerer",
) -> list[tuple[_Shown, "Reply"]]:
    from tapetum.layers.generate import SamplingConfig

    most, sampling = settings.tokens or request.tokens, SamplingConfig(beams=settings.beams)
    prompts = [prompt_for(answerer, request)] * len(batch)
    frames = [each.frames for each in batch]
    own: dict[str, Any] = {"on_text": status} if hasattr(answerer, "processor") else {}
    replies = answerer.ask(frames, prompts, most, resize=settings.resize, sampling=sampling, video=not together, **own)
    return list(zip(batch, replies, strict=True))


def _write(
    request: Request, job: Job, replies: Sequence[tuple[_Shown, "Reply"]], answerer: "AnyAnswerer"
) -> list[dict[str, Any]]:
    """Build the rows of a job, drawn and saved if requested; the file that marks it as done is written last."""
    import numpy as np

    from tapetum.systems.paligemma.locations import parse, requested_objects
    from tapetum.types import Answer

    things, images = requested_objects(request.prompt), []
    for shown, reply in replies:
        count, height, width = shown.frames.shape[:3]
        if request.kind == "words":
            regions = parse("", width, height)
        else:
            regions = answerer.find(reply, width, height, masks=request.kind == "masks", things=things)
        images.append(
            ImageReply(
                path=job.path,
                prompt=prompt_for(answerer, request),
                width=width,
                height=height,
                frames=count,
                frame=shown.number if len(replies) > 1 else None,
                answer=Answer(text=reply.text, score=reply.score),
                ended=reply.ended,
                boxes=regions.boxes,
                masks=regions.masks,
                malformed=regions.malformed,
                unasked=regions.unasked,
                drawn=job.drawn,
            )
        )
    if job.drawn is not None:
        draw(job.drawn, np.concatenate([shown.frames for shown, _ in replies]), images)
    rows = [each.as_json() for each in images]
    if job.saved is not None:
        write_json(job.saved, {"identity": job.identity, "rows": rows})
    return rows


def _failed(job: Job, error: Exception) -> list[dict[str, Any]]:
    """Build the row of a job that cannot be read, or failed with an error of its own, such as out of memory."""
    if isinstance(error, TapetumError) and not isinstance(error, _Unreadable):
        raise error
    trouble = str(error) if isinstance(error, _Unreadable) else f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "out of memory" in trouble or "can't allocate memory" in trouble:
        trouble = "out of memory; give --dtype bfloat16, fewer --frames, or a smaller model: tapetum weights suggest ask"
    return [{"path": job.path, "trouble": trouble}]
