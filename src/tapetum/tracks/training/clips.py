"""Clips with exact tracks to train on, by number: of synthetic scenes, and of episodes of the physical world.

Rendering a clip costs as much as a small network's step, so a folder may keep them (`cache`).

    (seed, number) ─► an episode, simulated or read ─► 24 frames of it ─► film: frames           (`EpisodeClips`)
                                                                     └─► truth: tracks

A part of an episode begins at a random moment, since stories begin at rest; half of all have half the frame rate of the others.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.identity import source_label
from tapetum.core.reading import no_pipe, read_json
from tapetum.scenes import SceneConfig, make_clip
from tapetum.scenes.bodies.episode import Episode
from tapetum.scenes.bodies.files import load_episode
from tapetum.scenes.facets.world import describe_config
from tapetum.scenes.image import first_valid_start
from tapetum.scenes.physics import make_episode
from tapetum.scenes.physics.model import mujoco
from tapetum.scenes.rendering import GroundTruth, random_render_config, render_episode
from tapetum.scenes.repeating import with_repeats
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
                "scene": describe_config(self.config),
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
    """Reserve `folder` as the cache of clips described by `settings`. Raises BadInput if it holds others."""
    file, label = folder / "clips.json", json.loads(json.dumps(settings))
    if file.exists():
        stored = read_json(file)
        if stored != label:
            raise BadInput(f"{folder} keeps clips of other settings ({stored}): choose another cache folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file, own=True) as temporary:
        write_text(temporary, json.dumps(label, indent=1))


RATES = 12.0, 24.0
"""Frames per second of episodes that are simulated for this."""
LATEST_S = 4.0
"""Until when a part begins, at most."""
HELD_OUT = 10
"""One of so many episodes of a folder is held out."""


class EpisodeClips:
    """`count` clips of `frames` frames of size x size pixels, by number; drawn when first asked for, then kept in `cache`.

    `episodes` is a folder that `tapetum scenes episodes` wrote, whose episodes are taken in turn, at their own size and rate;
    by default each clip is of an episode of its own. `part` is all, train or held-out, of textures and of the folder. Of a
    share of the images on surfaces a piece repeats.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        episodes: str | Path | None = None,
        textures: str | Path | None = None,
        part: str = "all",
        size: int = 256,
        frames: int = 24,
        repeat_share: float = 0.0,
        cache: str | Path | None = None,
    ):
        self.count, self.seed, self.size, self.frames = count, seed, size, frames
        self.textures, self.part, self.repeat_share = textures, part, repeat_share
        self.files = None if episodes is None else records(episodes, part)
        self.cache = None if cache is None else Path(cache)
        if self.cache is not None:
            label = {
                "seed": seed,
                "size": size,
                "frames": frames,
                "textures": str(source_label(textures)),
                "part": part,
            }
            later = {"repeat_share": repeat_share} if repeat_share else {}
            claim(self.cache, label | {"episodes": str(source_label(episodes))} | later)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> TrackedClip:
        return kept(self.cache, k, self._film)

    def _film(self, k: int) -> TrackedClip:
        key, (episode, frames) = first_valid_start((self.seed, k), lambda key: self._part(k, key))
        config = random_render_config(np.random.default_rng((key, 6)))
        textures = with_repeats(open_textures(self.textures, self.part), self.repeat_share)
        shots = render_episode(episode, textures, config, frames)
        video = np.stack([shot.rgb for shot in shots])
        truth = GroundTruth(episode)
        points, _, _ = truth.sample(np.random.default_rng((key, 7)), POINTS_PER_CLIP, within=frames)
        followed = truth.follow(points, frames)
        return TrackedClip(video, followed.xy, followed.visible)

    def _part(self, k: int, key: int) -> tuple[Episode, range]:
        """Choose the episode of clip `k`, and which of its frames the clip has."""
        rng = np.random.default_rng((key, 5))
        if self.files is not None:
            episode = load_episode(self.files[k % len(self.files)])
            start = int(rng.integers(max(1, episode.frames - self.frames + 1)))
            return episode, range(start, min(start + self.frames, episode.frames))
        frame_rate = float(rng.choice(RATES))
        start = int(rng.integers(round(LATEST_S * frame_rate) + 1))
        end = start + self.frames
        return make_episode(key, seconds=end / frame_rate, size=(self.size, self.size), frame_rate=frame_rate), range(
            start, end
        )


@lru_cache
def records(folder: str | Path, part: str) -> tuple[Path, ...]:
    """List the records of episodes in a folder, or in its folder `episodes`. Raises BadInput where there are none."""
    below = Path(folder) / "episodes"
    every = sorted((below if below.is_dir() else Path(folder)).glob("*.npz"))
    holdout = every[HELD_OUT - 1 :: HELD_OUT] or every[-1:]
    chosen = every if part == "all" else holdout if part == "held-out" else [file for file in every if file not in holdout]
    if not chosen:
        raise BadInput(
            f"{folder} holds {len(every)} episodes (.npz); two or more are needed, one of them held out: "
            "make some with `tapetum scenes episodes`"
        )
    return tuple(chosen)


def check_episodes(folder: str | None) -> None:
    """Raise BadInput for a folder without episodes, and MissingExtra where they must be simulated without MuJoCo."""
    if folder is None:
        mujoco()
    else:
        records(folder, "train")
