"""What `ask`, `caption`, `detect` and `segment` share: pictures and videos in, what a PaliGemma says of each, drawn and saved.

DIR/NAME.png      the picture with boxes, masks or words on it; of a video a sheet of the frames that were shown
DIR/NAME.json     what was said of it; a picture that has one, made with the same settings, is not asked about again
DIR/answers.json  all of them

Words are about all frames of a video together; boxes and masks are sought in each frame by itself.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.errors import BadInput, TapetumError
from tapetum.files import cannot_write, whole_file
from tapetum.verbs.many import stamp_of
from tapetum.verbs.seen import Seeing, Seen, failed_row, from_json
from tapetum.verbs.verb import File, Listener, narrowed

if TYPE_CHECKING:
    import numpy as np

    from tapetum.paligemma.answers import Answerer

MODEL, ANSWERS = "paligemma-nano", "answers.json"
"""The model of those who ask for none; the file that has all answers."""
_AT_A_TIME = 8
"""Examples that the network answers together."""
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp"))
"""Of a single drawn picture."""


@dataclass(frozen=True, kw_only=True)
class SeeSettings:
    """How pictures are shown to the model, and where what it says goes."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|DIR")] = MODEL
    """Name of weights (see: tapetum weights list), a file of them with its tokenizer beside it, or a folder of Hugging Face."""
    frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Show so many frames of a video, evenly spread; without it, videos and animated pictures are refused."""
    tokens: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The most tokens of an answer; by default 64 for words, 256 for boxes and masks."""
    beams: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Follow so many answers at a time and give the likeliest; 1 takes the likeliest token each time."""
    resize: Literal["reference", "reference-plain", "reference-video", "transformers"] = "reference"
    """How pictures become square: bilinear as the published training did, with antialias or plain, or as transformers does."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the one that comes along, for official weights paligemma-masks-official."""
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE.png|DIR")] = None
    """Draw what was said: a file for one picture, a folder for several; a folder also gets NAME.json of each, and what is there
    is not done again."""
    engine: Literal["local", "ray"] = "local"
    """What works on several pictures: this process, some at a time, or Ray, many at a time (needs tapetum[cluster])."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights."""

    def check(self) -> None:
        """Raise `BadInput` for numbers that make no answer."""
        for name in ("frames", "tokens", "beams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"--{name} is {value}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is said to the model, of each picture."""

    prompt: str
    kind: Literal["words", "boxes", "masks"]

    @property
    def tokens(self) -> int:
        """The most of an answer, unless it is asked otherwise."""
        return 64 if self.kind == "words" else 256


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One source and where its results belong."""

    name: str
    source: Any
    """A path, or what stands for a picture in Python."""
    drawn: Path | None = None
    saved: Path | None = None
    identity: Any = None
    """By which saved results are known to be of this source and these settings."""

    @property
    def path(self) -> str:
        return str(self.source) if isinstance(self.source, str | Path) else self.name


def see(settings: SeeSettings, pictures: Any, request: Request, listener: Listener, together: bool = False) -> Seeing:
    """Say `request` to the model about each picture; with `together`, once about all of them.

    The listener hears of pictures that cannot be read and of malformed answers. Raises BadInput: there are no pictures or none
    can be read, the model is not there, or the prompt is empty or too long.
    """
    settings.check()
    jobs = _jobs(settings, pictures, request, together)
    folder = next((job.saved.parent for job in jobs if job.saved), None)
    for place in {job.drawn.parent for job in jobs if job.drawn}:
        _make_folder(place)
    done = {k: saved for k, job in enumerate(jobs) if (saved := _saved(job)) is not None}
    waiting = [k for k in range(len(jobs)) if k not in done]
    listener.progress("pictures", len(done), len(jobs))
    if waiting:
        _introduce(settings.model, listener)
        answered = _over_ray if settings.engine == "ray" else _here
        for k, rows in answered(settings, [jobs[k] for k in waiting], request, together):
            done[waiting[k]] = rows
            listener.progress("pictures", len(done), len(jobs))
            _tell(jobs[waiting[k]], rows, listener, alone=len(jobs) == 1)
    rows = [row for k in range(len(jobs)) for row in done[k]]
    if folder is not None:
        with whole_file(folder / ANSWERS) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))
    seen = tuple(from_json(row) for row in rows if "trouble" not in row)
    if not seen:
        raise BadInput(f"none of {len(jobs)} pictures could be read: {rows[0]['trouble']}")
    return Seeing(seen=seen, failed=tuple(row for row in rows if "trouble" in row), out=folder)


def _make_folder(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(place, error) from error


def _tell(job: _Job, rows: list[dict[str, Any]], listener: Listener, alone: bool) -> None:
    for row in rows:
        place = job.name if row.get("frame") is None else f"{job.name}, frame {row['frame']}"
        if "trouble" in row:
            if alone:
                raise BadInput(row["trouble"])
            listener.note(f"{place}: {row['trouble']}")
        elif row["malformed"]:
            listener.note(f"{place}: {row['malformed']} boxes or masks in the answer were malformed and left out")
        elif not row["ended"]:
            listener.note(f"{place}: the answer was longer than --tokens allows, and is cut")


def _introduce(model: str, listener: Listener) -> None:
    from tapetum.hub.registry import known

    entry = known().get(model)
    if entry is not None and entry.bundled:
        listener.note(f"{entry.name}: {entry.summary}")


def _jobs(settings: SeeSettings, pictures: Any, request: Request, together: bool) -> list[_Job]:
    """One for each picture or video, with names that differ."""
    given = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    sources = [part for each in given for part in _inside(each, settings.frames)]
    if not sources:
        raise BadInput("there is no picture; give one, as in: tapetum ask photo.jpg 'what is this?'")
    if together:
        return [_places(settings, request, _Job(name="pictures", source=tuple(sources)), alone=True)]
    jobs: dict[str, _Job] = {}
    for number, source in enumerate(sources):
        path = Path(source) if isinstance(source, str | Path) else None
        name = path.stem if path else f"picture-{number}"
        if path and name in jobs:
            name = path.name
        if name in jobs:
            raise BadInput(f"two pictures are called {name}; ask about them with two commands, or rename one")
        jobs[name] = _Job(name=name, source=source)
    return [_places(settings, request, job, alone=len(jobs) == 1) for job in jobs.values()]


def _inside(source: Any, frames: int | None) -> list[Any]:
    """A folder's pictures, and its videos where frames of those are shown; anything else as it is."""
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        return [source]
    from tapetum.tap.bootstrap.footage import videos_below
    from tapetum.video.pictures import folder_of_pictures

    videos = videos_below(Path(source)) if frames else []
    try:
        return [*folder_of_pictures(Path(source)), *videos]
    except BadInput:
        if not videos:
            raise
        return videos


def _places(settings: SeeSettings, request: Request, job: _Job, alone: bool) -> _Job:
    if settings.out is None:
        return job
    out = Path(settings.out)
    if out.suffix.lower() in _SUFFIXES and not out.is_dir():
        if not alone:
            raise BadInput(f"--out {out} is one picture, and there are several; give a folder")
        return replace(job, drawn=out)
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder, a name that ends in .png, or one that is free")
    kept = {k: v for k, v in asdict(narrowed(SeeSettings, settings)).items() if k not in ("out", "engine", "device")}
    sources = job.source if isinstance(job.source, tuple) else (job.source,)
    files = [Path(each) for each in (*sources, settings.model, settings.masks or "") if isinstance(each, str | Path)]
    stamps = [stamp_of(file) for file in files if str(file) != "." and file.exists()]
    identity = json.loads(json.dumps({**kept, **asdict(request), "files": stamps}))
    return replace(job, drawn=out / f"{job.name}.png", saved=out / f"{job.name}.json", identity=identity)


def _saved(job: _Job) -> list[dict[str, Any]] | None:
    """What was said before, if it was of the same source and settings and all of it is there."""
    if job.saved is None or not job.saved.exists() or not (job.drawn and job.drawn.exists()):
        return None
    try:
        content = json.loads(job.saved.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content["rows"] if isinstance(content, dict) and content.get("identity") == job.identity else None


def _here(
    settings: SeeSettings, jobs: Sequence[_Job], request: Request, together: bool
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Rows of each job by its number, asked about some at a time."""
    answerer = _answerer(settings.model, settings.masks, settings.device, settings.dtype)
    answerer.prefix(request.prompt, room=settings.tokens or request.tokens)  # what is wrong with it is said before any picture
    pending: list[tuple[int, np.ndarray, list[int | None]]] = []
    for k, job in enumerate(jobs):
        try:
            frames, numbers = _read(job, settings.frames, together)
        except BadInput as error:
            yield k, [failed_row(job.path, str(error))]
            continue
        each = len(frames) if request.kind == "words" else 1
        if pending and each != (len(pending[0][1]) if request.kind == "words" else 1):
            yield from _flush(answerer, settings, jobs, request, pending)
        pending.append((k, frames, numbers))
        if sum(len(f) for _, f, _ in pending) // each >= _AT_A_TIME:
            yield from _flush(answerer, settings, jobs, request, pending)
    yield from _flush(answerer, settings, jobs, request, pending)


def _flush(
    answerer: "Answerer", settings: SeeSettings, jobs: Sequence[_Job], request: Request, pending: list[tuple[int, Any, list]]
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Asks about what is pending, and empties it."""
    from tapetum.blocks.generate_config import Choice

    words = request.kind == "words"
    examples = [
        (k, part, numbers[0] if words else n) for k, frames, numbers in pending for part, n in _split(frames, numbers, words)
    ]
    replies: list[Any] = []
    for start in range(0, len(examples), _AT_A_TIME):
        some = [part for _, part, _ in examples[start : start + _AT_A_TIME]]
        most, how = settings.tokens or request.tokens, Choice(beams=settings.beams)
        replies += answerer.ask(some, [request.prompt] * len(some), most, resize=settings.resize, how=how)
    for k, frames, _ in pending:
        seen = []
        for (owner, part, number), reply in zip(examples, replies, strict=True):
            if owner == k:
                height, width = part.shape[1:3]
                found = None if words else answerer.find(reply, width, height, masks=request.kind == "masks")
                several = len(frames) > 1
                frame = number if several and not words else None
                seen.append(Seen.of(jobs[k].path, request.prompt, reply, found, (width, height), len(part), frame))
        yield k, _written(jobs[k], frames, seen)
    pending.clear()


def _split(frames: "np.ndarray", numbers: list[int | None], words: bool) -> Iterator[tuple[Any, int | None]]:
    """Frames that are shown together."""
    if words:
        yield frames, None
        return
    for frame, number in zip(frames, numbers, strict=True):
        yield frame[None], number


def _read(job: _Job, frames: int | None, together: bool) -> tuple["np.ndarray", list[int | None]]:
    """The frames of a source, and their numbers in it."""
    import numpy as np

    from tapetum.paligemma.pictures import read_numbered, read_pictures

    if not together:
        return read_numbered(job.source, frames)
    parts = [read_pictures(source, frames) for source in job.source]
    sizes = {part.shape[1:3] for part in parts}
    if len(sizes) > 1:  # pictures that are shown together become squares of one size anyway
        from PIL import Image

        height, width = max(sizes)
        parts = [np.stack([np.asarray(Image.fromarray(f).resize((width, height))) for f in part]) for part in parts]
    shown = np.concatenate(parts)
    return shown, [None] * len(shown)


def _written(job: _Job, frames: "np.ndarray", seen: list[Seen]) -> list[dict[str, Any]]:
    """Rows of a job, drawn and saved where that is asked for, the file that says it is done last."""
    if job.drawn is not None:
        from tapetum.verbs.seen import draw

        draw(job.drawn, frames, seen)
        seen = [replace(each, drawn=job.drawn) for each in seen]
    rows = [each.as_json() for each in seen]
    if job.saved is not None:
        with whole_file(job.saved) as temporary:
            temporary.write_text(json.dumps({"identity": job.identity, "rows": rows}, indent=1))
    return rows


def _over_ray(
    settings: SeeSettings, jobs: Sequence[_Job], request: Request, together: bool
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    from tapetum.workers import over_ray

    def absolute(path: Any) -> Any:
        return Path(os.path.realpath(path)) if isinstance(path, str | Path) else path

    model = settings.model if not Path(settings.model).exists() else os.path.realpath(settings.model)
    placed = [replace(job, source=absolute(job.source), drawn=absolute(job.drawn), saved=absolute(job.saved)) for job in jobs]
    work: Callable[[_Job], Any] = partial(_one, replace(settings, model=model, engine="local"), request, together)
    yield from over_ray(work, placed, gpus=1 if (settings.device or "cpu").startswith("cuda") else 0)


def _one(settings: SeeSettings, request: Request, together: bool, job: _Job) -> list[dict[str, Any]]:
    """A job's rows, in a worker."""
    try:
        [(_, rows)] = _here(settings, [job], request, together)
        return rows
    except TapetumError:
        raise
    except Exception as error:  # such as no memory for this one
        return [failed_row(job.path, f"{type(error).__name__}: {error}")]


@lru_cache(maxsize=1)
def _answerer(model: str, masks: str | None, device: str | None, dtype: str) -> "Answerer":
    """The model, kept for the next call."""
    from tapetum.hub.registry import known, resolve

    if model in known() or not Path(model).exists():
        resolve(model, "ask")  # what can be said without torch is said at once
    import torch

    from tapetum.paligemma.answers import Answerer

    return Answerer.load(model, masks=masks, device=device, dtype=getattr(torch, dtype))
