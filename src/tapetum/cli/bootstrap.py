"""`tapetum bootstrap`: a tracker that learns from a folder of the user's own videos."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from tapetum.cli.output import note, print_json, progress

if TYPE_CHECKING:
    from tapetum.tap.bootstrap.footage import Footage, FootageConfig
    from tapetum.tap.bootstrap.recipes import BootstrapRun, Outcome

Ingredient = Literal[
    "shrink",
    "spoil",
    "requery",
    "confident",
    "polish",
    "second-look",
    "stride",
    "between",
    "moving",
    "matching",
    "proximity",
    "rebalance",
    "synthetic",
    "average",
    "mixer-lr",
]


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Teach a tracker on a folder of your own videos, which need no labels (BootsTAP).

    Videos are cut into clips; the tracker learns to give the same tracks whatever is done to the picture. It is scored before,
    during and after on clips with known tracks that are made of left out frames, and the best weights are kept. Then:
    tapetum track clip.mp4 --model DIR. The same command goes on where a run was stopped.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder of videos, searched deeply; or one video."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the new tracker and of all that the run keeps."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "tapir-nano"
    """Tracker to start from: a name of weights (see: tapetum weights list), a file, or a folder that this verb made."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Optimiser steps; by default 400."""
    clips: int = 2
    """Clips of footage in a step, and as many synthetic ones."""
    frames: int = 12
    """Frames of the clips that are shown; no shorter shot is used."""
    size: int = 256
    """Height and width in pixels of the clips; frames are squashed to squares."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Peak learning rate; by default 3e-4."""
    textures: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of pictures to paint the synthetic scenes with; by default frames of the footage."""
    extra_convs: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Give the tracker this many convolution blocks, as BootsTAPIR's 5; new ones need thousands of steps."""
    without: tyro.conf.UseAppendAction[tuple[Ingredient, ...]] = ()
    """Leave out an ingredient of the recipe, to see what it does; may be repeated. average: the teacher stays as it began;
    stride: the student sees all of the teacher's frames; mixer-lr: the temporal mixer learns as quickly as the rest."""
    apart: tyro.conf.FlagCreatePairsOff[bool] = False
    """Learn footage and synthetic clips with optimiser moments of their own, as published."""
    cycle: tyro.conf.FlagCreatePairsOff[bool] = False
    """Count a track only where the tracker finds its own way back to where the teacher began, as published."""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None
    """Stop after so many minutes; the same command goes on."""
    workers: int = 1
    """Processes that make the data."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads of torch; by default as torch chooses."""
    device: str = "auto"
    """Where to learn: auto takes a GPU if there is one."""
    engine: Literal["local", "ray"] = "local"
    """What prepares the videos: this process, one after the other, or Ray, many at a time (needs tapetum[cluster])."""
    seed: int = 1
    """The same seed gives the same run."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tap.bootstrap.recipes import bootstrap

        outcome = bootstrap(
            self.folder,
            self.out,
            self._recipe(),
            minutes=self.minutes,
            workers=self.workers,
            threads=self.threads,
            device=self.device,
            prepare=self._prepare(),
            say=note,
        )
        if os.environ.get("RANK", "0") != "0":
            return
        if outcome is None:
            note(f"stopped; the same command goes on from {self.out}")
            if self.json:
                print_json({"tracker": None, "out": str(self.out)})
        elif self.json:
            print_json(_content(outcome, self.out))
        else:
            print(_text(outcome, self.out))

    def _recipe(self) -> "BootstrapRun":
        from tapetum.tap.bootstrap.recipes import BootstrapRun
        from tapetum.tap.bootstrap.task import Bootstrap as Settings

        off = set(self.without)
        settings = Settings(
            shrink="shrink" not in off,
            spoil="spoil" not in off,
            requery="requery" not in off,
            cycle=self.cycle,
            confident=0.0 if "confident" in off else Settings.confident,
            polish="polish" not in off,
            second_look="second-look" not in off,
            stride=1 if "stride" in off else Settings.stride,
            between="between" not in off,
            moving=0.0 if "moving" in off else Settings.moving,
            matching="matching" not in off,
            proximity="proximity" not in off,
            synthetic="synthetic" not in off,
            apart=self.apart,
            teacher="start" if "average" in off else "average",
            rebalance=0.0 if "rebalance" in off else Settings.rebalance,
        )
        run = BootstrapRun(
            model=self.model,
            settings=settings,
            clips=self.clips,
            frames=self.frames,
            size=self.size,
            textures=None if self.textures is None else str(self.textures),
            extra_convs=self.extra_convs,
            mixer_lr=1.0 if "mixer-lr" in off else BootstrapRun.mixer_lr,
            seed=self.seed,
        )
        asked = {"steps": self.steps, "lr": self.lr}
        return replace(run, **{name: value for name, value in asked.items() if value is not None})

    def _prepare(self) -> "Callable[[Path, Path, FootageConfig], Footage]":
        """Makes clips, shows how far it is, and leaves a report."""

        def prepare(source: Path, out: Path, config: "FootageConfig") -> "Footage":
            from tapetum.tap.bootstrap.footage import prepare_all, prepare_on_ray, write_report

            with progress() as bars:
                task = bars.add_task("cutting clips", total=None)
                show = lambda done, count, name: bars.update(task, completed=done, total=count, description=f"clips of {name}")  # noqa: E731
                footage = (prepare_on_ray if self.engine == "ray" else prepare_all)(source, out, config, show)
            report = write_report(footage, out.parent / "footage.txt")
            for line in report:
                note(line)
            return footage

        return prepare


def _content(outcome: "Outcome", out: Path) -> dict:
    return {
        "tracker": str(out),
        "step": outcome.step,
        "better": outcome.step > 0,
        "before": outcome.before,
        "after": outcome.after,
        "last": outcome.last,
        "cycle_before": outcome.cycle_before,
        "cycle_after": outcome.cycle_after,
    }


def _text(outcome: "Outcome", out: Path) -> str:
    from tapetum.tap.bootstrap.recipes import JUDGED

    before, after, last = (scores[JUDGED] for scores in (outcome.before, outcome.after, outcome.last))
    if outcome.step:
        verdict = f"better: the weights of step {outcome.step} are kept"
    else:
        verdict = f"no better (at the end {last:.3f}): the weights that it started from are kept"
    medians = (cycle["median_px"] for cycle in (outcome.cycle_before, outcome.cycle_after))
    first, then = ("no point to judge" if median is None else f"median {median:.2f} px" for median in medians)
    rows = [
        f"average Jaccard on clips made of left out frames, best threshold: {before:.3f} before, {after:.3f} after; {verdict}",
        f"real clips that were left out, to their end and back: {first} before, {then} after; "
        f"back within 4 px {outcome.cycle_before['back_within_4px']:.2f} before, "
        f"{outcome.cycle_after['back_within_4px']:.2f} after",
        f"tracker  {out}    tapetum track clip.mp4 --model {out}",
    ]
    return "\n".join(rows)
