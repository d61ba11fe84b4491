"""Clips with exact tracks, by number, for training and scoring; and the sources of a run's clips.

A source is found by name (`SceneRun.world`) among the entry points of the group "tapetum.clips", where a user's package can
register one. Rendering a clip costs as much as a step of a small network, so they may be stored in a folder (`cache`).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.files import whole_file, write_json
from tapetum.core.identity import source_label
from tapetum.core.plugins import resolve_class
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.textures import open_textures
from tapetum.tracks.training.recipes import SceneRun


class FrameSequence(Protocol):
    """The frames of a clip, uint8 (t, h, w, 3): an array, or an object that reads them on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class TrackedClip:
    """A clip as it is stored: frames, xy float32 (n, t, 2) raster pixels, visible bool (n, t)."""

    video: FrameSequence
    xy: np.ndarray
    visible: np.ndarray


class ClipDataset(Protocol):
    """A finite collection of clips by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> TrackedClip: ...


class TrackedClipSource(Protocol):
    """A source of clips with exact tracks; constructed without arguments."""

    def check(self, run: SceneRun) -> None:
        """Raise BadInput if it cannot make clips with these settings, before anything is written."""
        ...

    def open(
        self, run: SceneRun, count: int, *, part: str, cache: str | Path | None, size: int, frames: int
    ) -> Sequence[ClipDataset]:
        """Open `count` clips of `frames` frames of size x size pixels; `part` (of textures too) is all, train or held-out."""
        ...


class JoinedClips:
    """The clips of several collections, one after the other."""

    def __init__(self, *parts: ClipDataset):
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, k: int) -> TrackedClip:
        for part in self.parts:
            if k < len(part):
                return part[k]
            k -= len(part)
        raise IndexError(k)


class DrawnClips(ABC):
    """`count` clips by number, drawn on first use, then stored in `cache` if one is given."""

    def __init__(self, count: int, cache: str | Path | None):
        self.count, self.cache = count, None if cache is None else Path(cache)
        if self.cache is not None:
            claim(self.cache, self.label())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> TrackedClip:
        if self.cache is None:
            return self.draw(k)
        file = self.cache / f"clip-{k:06d}.npz"
        if file.exists():
            with np.load(no_pipe(file)) as stored:
                return TrackedClip(stored["video"], stored["xy"], stored["visible"])
        tracked = self.draw(k)
        with whole_file(file, own=True) as temporary:
            np.savez(temporary, video=tracked.video[:], xy=tracked.xy, visible=tracked.visible)
        return tracked

    @abstractmethod
    def label(self) -> dict[str, Any]:
        """Collect what decides the clips, as JSON values."""

    @abstractmethod
    def draw(self, k: int) -> TrackedClip:
        """Draw clip number `k`."""


def claim(folder: Path, settings: dict) -> None:
    """Reserve `folder` as the cache of clips described by `settings`. Raises BadInput if it holds others."""
    file, label = folder / "clips.json", json.loads(json.dumps(settings))
    if file.exists():
        stored = read_json(file)
        if stored != label:
            raise BadInput(f"{folder} keeps clips of other settings ({stored}): choose another cache folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, label, own=True)


def check_run(run: SceneRun) -> None:
    """Raise BadInput for settings with which no clip can be made, before anything is written."""
    check_fields(run, steps="[1, inf)", checks="[1, inf)", hard_share="[0, 1]", bodies_share="(0, 1)", seed="[0, inf)")
    if run.textures is not None:
        for part in ("train", "held-out"):
            open_textures(run.textures, part)
    _source(run).check(run)


def open_clips(
    run: SceneRun, count: int, *, part: str, cache: str | Path | None = None, size: int = 256, frames: int = 24
) -> Sequence[ClipDataset]:
    """Open `count` clips of the run's source, with its seed."""
    return _source(run).open(run, count, part=part, cache=cache, size=size, frames=frames)


def scored_clips(run: SceneRun, *, size: int = 256, frames: int = 24) -> list[TrackedClip]:
    """Draw `run.checks` clips that are never used for training, with held-out textures."""
    content = source_label(run.textures), source_label(run.episodes)
    names = "world", "bodies_share", "textures", "episodes", "hard_share", "checks"
    settings = SceneRun(**{name: getattr(run, name) for name in names}, seed=run.seed + 1000)
    return [*_drawn(settings, size, frames, content)]


@lru_cache(maxsize=1)  # the phases of a run are checked on the same clips
def _drawn(run: SceneRun, size: int, frames: int, content: tuple[str | None, str | None]) -> tuple[TrackedClip, ...]:
    """Draw clips; `content` distinguishes the folders of these names from older ones."""
    clips = JoinedClips(*open_clips(run, run.checks, part="held-out", size=size, frames=frames))
    return tuple(clips[k] for k in range(run.checks))


def _source(run: SceneRun) -> TrackedClipSource:
    return resolve_class(run.world, "clips")()
