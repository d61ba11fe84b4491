"""Code shared by images, episodes and films: a folder for one setting, items that are each made once, and an annotated image.

    DIR/settings.json    what the folder holds; another setting is refused
    DIR/truth/NAME.json  what is known of an item; written last, so an item that has it is done
    all else             written by the item before, or of all items' truth at the end, whole

An annotated image is a moment of an episode, rendered, with names, captions and questions.
Every item is a function of the seed and its number, and the joint files are built from the items' ground truth in order, so
they are the same for any number of workers, and after any interruption.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from tapetum.core.errors import BadInput, Listener
from tapetum.core.files import cannot_write, write_json, write_text
from tapetum.core.finished import changed_settings, remove_unfinished
from tapetum.core.identity import source_label
from tapetum.core.jobs import Engine, run_jobs
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.entries import dumps
from tapetum.data.textures import Textures, open_textures, procedural
from tapetum.tracks.facets.types import U8
from tapetum.video.images import IMAGES, know_heic
from tapetum_world.bodies.episode import Episode
from tapetum_world.physics import make_episode
from tapetum_world.physics.model import mujoco
from tapetum_world.rendering import GroundTruth, InstanceMasks, random_render_config, render_episode
from tapetum_world.words import (
    BLOCK,
    Candidate,
    Captions,
    SceneGraph,
    SceneQuestion,
    balance,
    image_candidates,
    image_captions,
    scene_graph,
)

TRIES = 8
LONGEST_S = 3.0
SIZES = (16, 2048)
"""Pixels of a side, least and most."""
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedImage:
    """An image with its truth."""

    rgb: U8
    """(h, w, 3)"""
    episode: Episode
    frame: int
    """Which frame of the episode it is."""
    masks: InstanceMasks
    """What is seen of each instance, and all of it."""
    graph: SceneGraph
    captions: Captions
    candidates: tuple[Candidate, ...]
    """Questions that could be asked."""


def make_image(seed: int, number: int, size: int = 256, textures: Textures = procedural) -> AnnotatedImage:
    """Make image `number` of a seed, size x size pixels; on one platform the same arguments give the same image.

    Raises BadInput for a size outside `SIZES`.
    """
    check_size(size)

    def begin(key: int) -> tuple[Episode, int]:
        rng = np.random.default_rng((key, 5))
        seconds = float(rng.uniform(0.1, LONGEST_S))
        episode = make_episode(key, seconds=seconds, size=(size, size))
        return episode, episode.frames - 1

    key, (episode, frame) = first_valid_start((seed, number), begin)
    config = random_render_config(np.random.default_rng((key, 6)))
    [shot] = render_episode(episode, textures, config, range(frame, frame + 1))
    graph = scene_graph(episode, frame)
    return AnnotatedImage(
        rgb=shot.rgb,
        episode=episode,
        frame=frame,
        masks=GroundTruth(episode).masks(frame),
        graph=graph,
        captions=image_captions(graph),
        candidates=tuple(image_candidates(graph, key)),
    )


def check_size(size: int) -> None:
    """Raise BadInput for a size outside `SIZES`."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise BadInput(f"frames of {size}x{size} pixels; give --size from {SIZES[0]} to {SIZES[1]}")


def first_valid_start(number: tuple[int, ...], begin: Callable[[int], Made]) -> tuple[int, Made]:
    """Draw keys for `number` until the world finds a start; returns the key and the result of `begin(key)`.

    Occasionally a story has no room for its objects; another draw has. Raises the last BadInput if all fail.
    """
    trouble: BadInput | None = None
    for attempt in range(TRIES):
        key = int(np.random.SeedSequence([*number, attempt]).generate_state(1, np.uint64)[0] >> np.uint64(2))
        try:
            return key, begin(key)
        except BadInput as error:
            if "found no start" not in str(error):
                raise
            trouble = error
    assert trouble
    raise trouble


SETTINGS, TRUTH = "settings.json", "truth"
VERSION = 1
CHECKED = 5000
"""Textures that are looked at before the work."""
WITHOUT_EFFECT = ("out", "workers", "engine", "textures")
"""Fields that leave the files as they are, or are noted in another way."""


@dataclass(frozen=True, kw_only=True)
class ItemRequest:
    """What all requests have."""

    out: Path
    """Folder to write into; items that are there from the same request are not made again."""
    n: int = 1
    """How many."""
    seed: int
    size: int
    """Width and height in pixels."""
    textures: Path | None = None
    """Folder or parquet file of images to paint surfaces with; None: procedural ones."""
    workers: int = 1
    engine: Engine = "local"


def begin(request: ItemRequest, what: str, folders: tuple[str, ...]) -> None:
    """Open the folder, unless it belongs to another setting. Raises BadInput."""
    if request.n < 1:
        raise BadInput(f"asked for {request.n} {what}; give --n 1 or more")
    if request.workers < 1:
        raise BadInput(f"asked for {request.workers} workers; give --workers 1 or more")
    if request.seed < 0:
        raise BadInput(f"the seed is {request.seed}; give --seed 0 or more")
    check_size(request.size)
    mujoco()
    open_textures(request.textures)
    settings = {"what": what, "version": VERSION, **_given(request), "textures": source_label(request.textures)}
    out, file = request.out, request.out / SETTINGS
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give a folder, or a name that is free")
    if (changed := changed_settings(file, settings, "remove it and run the same command again")) is not None:
        if changed:
            had = ", ".join(f"{name} {value}" for name, value in changed.items())
            now = ", ".join(f"{name} {settings[name]}" for name in changed)
            raise BadInput(f"{out} belongs to a run with {had}, not {now}; give that again to go on, or choose another folder")
    elif out.exists() and any(out.iterdir()):
        raise BadInput(f"{out} holds other files; give a folder that is empty or not there yet")
    if request.textures is not None and not file.exists():
        _check_images(request.textures)
    try:
        for folder in (TRUTH, *folders):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    if not file.exists():
        write_json(file, settings)


def make_items(
    request: ItemRequest, what: str, names: list[str], work: Callable[[int, Textures], None], listener: Listener
) -> None:
    """Run `work(number, textures)` for every item without ground truth; `work` writes that last."""
    out = request.out
    missing = [number for number, name in enumerate(names) if not truth_file(out, name).exists()]
    done = len(names) - len(missing)
    if done and missing:
        listener.note(f"{out} holds {done} {what} already, which are not made again")
    make = partial(open_textures, None if request.textures is None else request.textures.absolute())
    progress = partial(listener.progress, what)
    for _ in run_jobs(work, missing, make, engine=request.engine, workers=request.workers, finished=done, progress=progress):
        pass  # the truth of an item is a file
    remove_unfinished(out.glob("*/.*.tmp*"))


def truth_file(out: Path, name: str) -> Path:
    """Get the path of the ground truth of an item."""
    return out / TRUTH / f"{name}.json"


def write_truth(out: Path, name: str, truth: dict[str, Any]) -> None:
    """Write the ground truth of an item atomically, which marks it as done."""
    write_text(truth_file(out, name), dumps(truth) + "\n")


def read_truth(out: Path, name: str) -> dict[str, Any]:
    """Read the ground truth of an item; raise BadInput if it is damaged."""
    return _read(truth_file(out, name))


def candidate_rows(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """Write candidate questions as JSON values; the order of `near` has no meaning, so it is made deterministic."""
    return [{**asdict(candidate), "near": sorted(candidate.near)} for candidate in candidates]


def questions_of(out: Path, names: list[str], seed: int, options: int) -> Iterator[list[SceneQuestion]]:
    """Choose the questions of each item, in order, balanced over blocks of items; one block is in memory at a time."""
    for start in range(0, len(names), BLOCK):
        block = [[_candidate(row) for row in read_truth(out, name)["candidates"]] for name in names[start : start + BLOCK]]
        yield from balance(block, seed + start, options=options)


def question_row(name: str, q: SceneQuestion) -> dict[str, Any]:
    """Write a question about a video as a line of questions.jsonl."""
    return {
        "video": name,
        "question": q.text,
        "options": list(q.options),
        "answer": q.answer,
        "answer_id": q.correct,
        "template": q.template,
        "area": q.area,
        "reasoning": q.kind,
        "span_s": q.span,
    }


def _candidate(row: dict[str, Any]) -> Candidate:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Candidate(**values)


def _check_images(folder: Path) -> None:
    """Decode the first `CHECKED` images of a folder to detect damaged ones before the work. Raises BadInput."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES and p.is_file()) if folder.is_dir() else []
    for path in paths[:CHECKED]:
        know_heic(path)
        try:
            with Image.open(no_pipe(path)) as image:
                image.draft("RGB", (64, 64))
                image.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split())
            raise BadInput(f"{path} among the textures cannot be decoded ({reason}); remove it") from error


def _given(request: ItemRequest) -> dict[str, Any]:
    return {name: value for name, value in asdict(request).items() if name not in WITHOUT_EFFECT}


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); remove it and run the same command again") from error
