"""`tapetum bootstrap`: a tracker that learns from a folder of the user's own videos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tapetum.app.bootstrap import Engine, bootstrap
from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.output import note, print_json, progress, stopped
from tapetum.app.shell.settings import WithSettings, settings_of, with_settings
from tapetum.core.errors import visible
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE, BootstrapRun, Ingredient, without
from tapetum.train.launch import is_main

if TYPE_CHECKING:
    from tapetum.systems.tap.bootstrap.run import Outcome


_MARKERS = {"separate_moments": tyro.conf.arg(name="apart"), "clips": tyro.conf.arg(aliases=["--batch-size"])}


@dataclass(frozen=True, kw_only=True)
class Bootstrap(WithSettings):
    """Teach a tracker on a folder of your own videos, which need no labels (BootsTAP).

    Videos are cut into clips; the tracker learns to give the same tracks whatever is done to the image. It is scored before,
    during and after on clips with known tracks that are made of left out frames, and the best weights are kept. Then:
    tapetum track clip.mp4 --model DIR. The same command goes on where a run was stopped.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder of videos, searched deeply; or one video."""
    without: tyro.conf.UseAppendAction[tuple[Ingredient, ...]] = ()
    """Leave out an ingredient of the recipe, to see what it does; may be repeated. average: the teacher stays as it began;
    stride: the student sees all of the teacher's frames; mixer-lr: the temporal mixer learns as quickly as the rest."""
    engine: Engine = "local"
    """What prepares the videos: this process, one after the other, or Ray, many at a time (needs tapetum[cluster])."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON instead of text."""
    recipe: Annotated[BootstrapRun, options({"": BootstrapRun()}, markers=_MARKERS)]
    launch: LaunchOptions

    @staticmethod
    def prepared(words: Sequence[str]) -> list[str]:
        """Add what the file of --config says."""
        return with_settings(Bootstrap, "bootstrap", words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        recipe, out = without(self.recipe, self.without), self.launch.out
        launch = replace(self.launch, settings=settings_of(self, "bootstrap"))
        with progress() as bars:
            task = bars.add_task("cutting clips", total=None)

            def show(done: int, count: int, name: str) -> None:
                bars.update(task, completed=done, total=count, description=visible(f"clips of {name}"))
                if done == count:
                    bars.stop()  # what follows is learning, which has lines of its own

            outcome = bootstrap(self.folder, recipe, launch, engine=self.engine, say=note, progress=show)
        if outcome is None:
            if is_main() and self.json:
                print_json({"tracker": None, "out": str(out)})
            stopped(out, note if is_main() else None)
        elif not is_main():
            return
        elif self.json:
            print_json(_content(outcome, out))
        else:
            print(_text(outcome, out))


def _content(outcome: "Outcome", out: Path) -> dict:
    return {
        "tracker": str(out),
        "step": outcome.step,
        "better": outcome.step > 0 and _compared(outcome.before[DECIDING_SCORE], outcome.after[DECIDING_SCORE]) == "better",
        "before": outcome.before,
        "after": outcome.after,
        "last": outcome.last,
        "cycle_before": outcome.cycle_before,
        "cycle_after": outcome.cycle_after,
    }


def _compared(before: float, after: float) -> str:
    """Say which of two scores is better, as far as they are printed."""
    first, then = round(before, 3), round(after, 3)
    return "better" if then > first else "worse" if then < first else "no different"


def _text(outcome: "Outcome", out: Path) -> str:
    before, after, last = (scores[DECIDING_SCORE] for scores in (outcome.before, outcome.after, outcome.last))
    if outcome.step:
        verdict = f"{_compared(before, after)}: the weights of step {outcome.step} are kept"
    else:
        verdict = f"{_compared(before, last)} at the end ({last:.3f}): the weights that it started from are kept"
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
