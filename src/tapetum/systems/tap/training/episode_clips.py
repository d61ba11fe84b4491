"""Clips of the physical world with exact tracks to train on, by number: parts of episodes, filmed when they are asked for.

    (seed, number) ─► an episode, simulated or read ─► 24 frames of it ─► film: frames
                                                                     └─► truth: tracks

A part begins at a random moment, since stories begin at rest; half of all have half the frame rate of the others.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.identity import source_label
from tapetum.scenes.bodies.episode import Episode
from tapetum.scenes.bodies.files import load_episode
from tapetum.scenes.image import first_valid_start
from tapetum.scenes.physics import make_episode
from tapetum.scenes.physics.model import mujoco
from tapetum.scenes.rendering import GroundTruth, random_render_config, render_episode
from tapetum.systems.tap.training.clips import POINTS_PER_CLIP, Tracked, claim, kept, open_textures

RATES = 12.0, 24.0
"""Frames per second of episodes that are simulated for this."""
LATEST_S = 4.0
"""Until when a part begins, at most."""
HELD_OUT = 10
"""One of so many episodes of a folder is held out."""


class EpisodeClips:
    """`count` clips of `frames` frames of size x size pixels, by number; drawn when first asked for, then kept in `cache`.

    `episodes` is a folder that `tapetum scenes episodes` wrote, whose episodes are taken in turn, at their own size and rate;
    by default each clip is of an episode of its own. `part` is all, train or held-out, of textures and of the folder.
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
        cache: str | Path | None = None,
    ):
        self.count, self.seed, self.size, self.frames = count, seed, size, frames
        self.textures, self.part = textures, part
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
            claim(self.cache, label | {"episodes": str(source_label(episodes))})

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Tracked:
        return kept(self.cache, k, self._film)

    def _film(self, k: int) -> Tracked:
        key, (episode, frames) = first_valid_start((self.seed, k), lambda key: self._part(k, key))
        config = random_render_config(np.random.default_rng((key, 6)))
        shots = render_episode(episode, open_textures(self.textures, self.part), config, frames)
        video = np.stack([shot.rgb for shot in shots])
        truth = GroundTruth(episode)
        points, _, _ = truth.sample(np.random.default_rng((key, 7)), POINTS_PER_CLIP, within=frames)
        followed = truth.follow(points, frames)
        return Tracked(video, followed.xy, followed.visible)

    def _part(self, k: int, key: int) -> tuple[Episode, range]:
        """Give the episode of clip `k`, and which of its frames the clip has."""
        rng = np.random.default_rng((key, 5))
        if self.files is not None:
            episode = load_episode(self.files[k % len(self.files)])
            start = int(rng.integers(max(1, episode.frames - self.frames + 1)))
            return episode, range(start, min(start + self.frames, episode.frames))
        rate = float(rng.choice(RATES))
        start = int(rng.integers(round(LATEST_S * rate) + 1))
        end = start + self.frames
        return make_episode(key, seconds=end / rate, size=(self.size, self.size), rate=rate), range(start, end)


@lru_cache
def records(folder: str | Path, part: str) -> tuple[Path, ...]:
    """List the records of episodes in a folder, or in its folder `episodes`. Raises BadInput where there are none."""
    below = Path(folder) / "episodes"
    every = sorted((below if below.is_dir() else Path(folder)).glob("*.npz"))
    held = every[HELD_OUT - 1 :: HELD_OUT] or every[-1:]
    chosen = every if part == "all" else held if part == "held-out" else [file for file in every if file not in held]
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
