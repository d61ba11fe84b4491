"""Clips of the physical world with exact tracks, as a source of training data for trackers (`tapetum.tracks.training.clips`).

    (seed, number) ─► an episode, simulated or read ─► 24 frames of it ─► film: frames           (`EpisodeClips`)
                                                                     └─► truth: tracks

A clip begins at a random moment of its episode, since stories begin at rest; half of all clips have half the frame rate.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.identity import source_label
from tapetum.data.textures import open_textures
from tapetum.tracks.facets.sampling import with_repeats
from tapetum.tracks.training.clips import ClipDataset, DrawnClips, TrackedClip
from tapetum.tracks.training.facet_clips import POINTS_PER_CLIP, FacetClips
from tapetum.tracks.training.recipes import SceneRun
from tapetum_world.bodies.episode import Episode
from tapetum_world.bodies.files import load_episode
from tapetum_world.files.items import first_valid_start
from tapetum_world.physics import make_episode
from tapetum_world.physics.model import mujoco
from tapetum_world.rendering import GroundTruth, random_render_config, render_episode


class BodyClips:
    """The sources of clips named bodies, and both: facets first, then bodies."""

    def check(self, run: SceneRun) -> None:
        """Raise BadInput for episodes that are missing."""
        check_episodes(run.episodes)

    def open(
        self, run: SceneRun, count: int, *, part: str, cache: str | Path | None, size: int, frames: int
    ) -> Sequence[ClipDataset]:
        """Open `count` clips."""
        bodies = int(count * run.bodies_share) if run.world == "both" else count
        clips: list[ClipDataset] = []
        if count > bodies:
            clips += FacetClips().open(run, count - bodies, part=part, cache=cache, size=size, frames=frames)
        if bodies:
            clips.append(
                EpisodeClips(
                    bodies,
                    seed=run.seed,
                    episodes=run.episodes,
                    textures=run.textures,
                    part=part,
                    size=size,
                    frames=frames,
                    repeat_share=run.hard_share,
                    cache=None if cache is None else Path(cache) / "bodies",
                )
            )
        return clips


RATES = 12.0, 24.0
"""Frames per second of episodes that are simulated for this."""
LATEST_S = 4.0
"""Until when a part begins, at most."""
HELD_OUT = 10
"""One of so many episodes of a folder is held out."""


class EpisodeClips(DrawnClips):
    """Clips of `frames` frames of size x size pixels.

    `episodes` is a folder written by `tapetum scenes episodes`, whose episodes are used in turn, at their own size and frame
    rate; by default each clip has an episode of its own. `part` is all, train or held-out, of textures and of the folder. In a
    share of the surface images a piece repeats.
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
        self.seed, self.size, self.frames, self.episodes = seed, size, frames, episodes
        self.textures, self.part, self.repeat_share = textures, part, repeat_share
        self.files = None if episodes is None else records(episodes, part)
        super().__init__(count, cache)

    def label(self) -> dict[str, Any]:
        label = {"seed": self.seed, "size": self.size, "frames": self.frames, "textures": str(source_label(self.textures))}
        later = {"repeat_share": self.repeat_share} if self.repeat_share else {}
        return label | {"part": self.part, "episodes": str(source_label(self.episodes))} | later

    def draw(self, k: int) -> TrackedClip:
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
        """Choose the episode and the frames of clip `k`."""
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
    """List the episode records in a folder, or in its subfolder `episodes`. Raises BadInput if there are none."""
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
    """Raise BadInput for a folder without episodes."""
    if folder is None:
        mujoco()
    else:
        records(folder, "train")
