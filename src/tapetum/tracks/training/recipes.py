"""Settings shared by the training runs of point trackers on synthetic scenes. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, Literal, TypeVar

from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class ClipPhase:
    """A part of a run at one image size."""

    name: str
    """Name of the folder in that of the run."""
    size: int
    """Height and width in pixels of the clips shown."""
    steps: int
    """Optimiser steps."""
    batch_size: int
    """Clips of an optimiser step, over all processes."""
    micro_batch: int
    """Clips that one process works on at a time; batch_size must divide by it and by the processes."""
    lr: float
    """Peak learning rate."""
    clips: int
    """Different scenes; each is shown several times, altered."""
    points: int
    """Queries per clip."""
    frames: int = 24
    """Frames of the parts of clips that are shown."""
    first: float = 0.5
    """Fraction of the queries that are on the first frame in which their point is visible."""
    motion: float = 0.0
    """Fraction of the showings in which the image rotates, grows and drifts (`warping.random_motion`)."""
    image_clips: int = 0
    """Clips of cut-outs over moving images (`image_clips`) shown beside those of scenes, each as often."""


@dataclass(frozen=True, kw_only=True)
class SceneRun:
    """Where the clips of a run come from, and what may be changed in all of its phases."""

    steps: int | None = None
    """Optimiser steps of each phase; by default those of the recipe."""
    batch_size: int | None = None
    """Clips of an optimiser step, over all processes; by default those of the recipe, of each phase its own."""
    size: int | None = None
    """Height and width in pixels of the clips shown in each phase; by default those of the recipe."""
    textures: str | None = None
    """Folder or parquet file of images to paint surfaces with, of which every tenth is held out; by default patterns that are
    made up."""
    cache: str | None = None
    """Folder that keeps drawn scenes (4.8 MB each at 256x256 pixels), so that no scene is drawn twice."""
    world: Literal["facets", "bodies", "both"] = "facets"
    """What scenes are made of: painted facets, bodies of the physical world (needs tapetum[world]), or some of each."""
    bodies_share: float = 0.5
    """Share of the scenes that are of bodies where some are of each; a clip of bodies takes three times as long to draw."""
    episodes: str | None = None
    """Folder that `tapetum scenes episodes` wrote, to take bodies from, of which every tenth is held out; by default they are
    simulated when they are needed."""
    hard_share: float = 0.0
    """Share of facet worlds in which an object stays in front of another for half of the clip, of their objects that turn far
    in depth, and of the images on all surfaces, bodies' too, in which a piece repeats."""
    checks: int = 16
    """Scenes that are never trained on, with held-out textures, scored along the way."""
    seed: int = 1
    """The same seed gives the same run."""


PhaseT = TypeVar("PhaseT", bound=ClipPhase)


def changed_phases(run: SceneRun, phases: Sequence[PhaseT]) -> list[PhaseT]:
    """Build phases with the run's own steps, batch size and image size, if it sets them.

    Raises BadInput if there is no phase, or for a size that is not a multiple of 8 from 32 to 1024.
    """
    if not phases:
        raise BadInput("the run has no phases: give at least one")
    changes: dict[str, Any] = {name: getattr(run, name) for name in ("steps", "batch_size", "size")}
    changes = {name: value for name, value in changes.items() if value is not None}
    changed = [replace(phase, **changes) for phase in phases]
    for phase in changed:
        if not 32 <= phase.size <= 1024 or phase.size % 8:
            raise BadInput(f"--size is {phase.size}; it must be a multiple of 8 from 32 to 1024")
    return [
        replace(phase, micro_batch=gcd(phase.batch_size, before.micro_batch))
        for phase, before in zip(changed, phases, strict=True)
    ]
