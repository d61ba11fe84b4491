"""`tapetum train`: whole training runs by name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model; the same command goes on where a run was stopped."""

    recipe: tyro.conf.Positional[Literal["tap-nano", "causal-tap-nano"]]
    """Which run: tap-nano trains the bundled point tracker on synthetic scenes, causal-tap-nano makes it one for live use."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the run: checkpoints, logs, and the finished weights."""
    textures: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of pictures to paint surfaces with; by default patterns that are made up."""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that keeps drawn scenes, so that no scene is drawn twice."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Optimiser steps of each phase; by default those of the recipe."""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None
    """Stop after so many minutes; the same command goes on."""
    workers: int = 1
    """Processes that make the data."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads of torch; by default as torch chooses."""
    seed: int = 1
    """The same seed gives the same run."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tap.recipes import RECIPES, tap_nano

        run = RECIPES[self.recipe]
        run = replace(
            run,
            textures=None if self.textures is None else str(self.textures),
            cache=None if self.cache is None else str(self.cache),
            phases=run.phases if self.steps is None else tuple(replace(p, steps=self.steps) for p in run.phases),
            seed=self.seed,
        )
        weights = tap_nano(self.out, run, minutes=self.minutes, workers=self.workers, threads=self.threads)
        if weights is None:
            print(f"stopped; the same command goes on from {self.out}")
        else:
            print(f"weights  {weights}")
