"""Clips with exact tracks to train on, by number: those of synthetic scenes, and what all such collections have in common.

Drawing a scene costs as much as a small network's step, so a folder may keep them (`cache`).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.identity import source_label
from tapetum.core.reading import no_pipe, read_json
from tapetum.scenes import SceneConfig, make_clip
from tapetum.scenes.textures import Textures, from_images, procedural

POINTS_PER_CLIP = 384
"""Tracks kept with a cached clip; each showing picks some of them."""


class FrameSequence(Protocol):
    """The frames of a clip, uint8 (t, h, w, 3): an array, or what reads them when they are asked for."""

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


class SceneClips:
    """`count` clips of synthetic scenes, by number; drawn when first asked for, then kept in `cache` if one is given."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        config: SceneConfig | None = None,
        textures: str | Path | None = None,
        part: str = "all",
        cache: str | Path | None = None,
    ):
        self.count, self.seed = count, seed
        self.config = config or SceneConfig()
        self.textures, self.part = textures, part
        self.cache = None if cache is None else Path(cache)
        if self.cache is not None:
            label = {
                "seed": seed,
                "scene": asdict(self.config),
                "textures": str(source_label(textures)),
                "part": part,
            }
            claim(self.cache, label)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> TrackedClip:
        return kept(self.cache, k, self._draw)

    def _draw(self, k: int) -> TrackedClip:
        clip = make_clip((self.seed, k), self.config, open_textures(self.textures, self.part), POINTS_PER_CLIP)
        return TrackedClip(clip.video, clip.truth.xy, clip.truth.visible)


class Joined:
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


@lru_cache
def open_textures(textures: str | Path | None, part: str) -> Textures:
    """Open a source of images, procedural ones for None, once in every process."""
    return procedural if textures is None else from_images(textures, part)


def kept(cache: Path | None, k: int, draw: Callable[[int], TrackedClip]) -> TrackedClip:
    """Read clip number `k` from a folder, or draw it and keep it there; without a folder just draw it."""
    if cache is None:
        return draw(k)
    file = cache / f"clip-{k:06d}.npz"
    if file.exists():
        with np.load(no_pipe(file)) as stored:
            return TrackedClip(stored["video"], stored["xy"], stored["visible"])
    tracked = draw(k)
    with whole_file(file, own=True) as temporary:
        np.savez(temporary, video=tracked.video[:], xy=tracked.xy, visible=tracked.visible)
    return tracked


def claim(folder: Path, settings: dict) -> None:
    """Make `folder` the cache of clips described by `settings`. Raises BadInput if it holds others."""
    file, label = folder / "clips.json", json.loads(json.dumps(settings))
    if file.exists():
        found = read_json(file)
        if found != label:
            raise BadInput(f"{folder} keeps clips of other settings ({found}): choose another cache folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file, own=True) as temporary:
        write_text(temporary, json.dumps(label, indent=1))
