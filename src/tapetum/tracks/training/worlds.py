"""The clips of a training run: of the scenes that its settings ask for, to train on and to be scored on."""

from functools import lru_cache
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.identity import source_label
from tapetum.scenes import SceneConfig
from tapetum.tracks.training.clips import (
    ClipDataset,
    EpisodeClips,
    Joined,
    SceneClips,
    TrackedClip,
    check_episodes,
    open_textures,
)
from tapetum.tracks.training.recipes import SceneRun


def check_run(run: SceneRun) -> None:
    """Raise BadInput for settings that no clip can be made with, before anything is written."""
    check_fields(run, steps="[1, inf)", checks="[1, inf)", hard_share="[0, 1]", bodies_share="(0, 1)", seed="[0, inf)")
    if run.textures is not None:
        for part in ("train", "held-out"):
            open_textures(run.textures, part)
    if run.world != "facets":
        check_episodes(run.episodes)
    elif run.episodes is not None:
        raise BadInput(f"--episodes {run.episodes} is not used where scenes are of facets alone; add --world bodies or both")


def world_clips(
    run: SceneRun, count: int, *, seed: int, part: str, cache: str | None = None, size: int = 256, frames: int = 24
) -> list[ClipDataset]:
    """Open `count` clips of facets, of bodies, or of both, as the run has it; of both, facets are first."""
    bodies = {"facets": 0, "bodies": count, "both": int(count * run.bodies_share)}[run.world]
    made: list[ClipDataset] = []
    hard = run.hard_share
    if count > bodies:
        config = SceneConfig(size=(size, size), frames=frames, cover_share=hard, turn_share=hard, repeat_share=hard)
        made.append(SceneClips(count - bodies, seed=seed, config=config, textures=run.textures, part=part, cache=cache))
    if bodies:
        made.append(
            EpisodeClips(
                bodies,
                seed=seed,
                episodes=run.episodes,
                textures=run.textures,
                part=part,
                size=size,
                frames=frames,
                repeat_share=hard,
                cache=None if cache is None else Path(cache) / "bodies",
            )
        )
    return made


def scored_clips(run: SceneRun, *, size: int = 256, frames: int = 24) -> list[TrackedClip]:
    """Draw `run.checks` scenes that are never trained on, with held-out textures."""
    content = source_label(run.textures), source_label(run.episodes)
    names = "world", "bodies_share", "textures", "episodes", "hard_share", "checks"
    settings = SceneRun(**{name: getattr(run, name) for name in names}, seed=run.seed + 1000)
    return [*_drawn(settings, size, frames, content)]


@lru_cache(maxsize=1)  # the phases of a run are checked on the same scenes
def _drawn(run: SceneRun, size: int, frames: int, content: tuple[str | None, str | None]) -> tuple[TrackedClip, ...]:
    """Draw scenes; `content` tells the folders of these names from those that were there before."""
    clips = Joined(*world_clips(run, run.checks, seed=run.seed, part="held-out", size=size, frames=frames))
    return tuple(clips[k] for k in range(run.checks))
