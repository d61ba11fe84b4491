"""`tapetum bootstrap`: self-training of a tracker on a folder of the user's own videos (BootsTAP)."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.learn.options import options
from tapetum.app.learn.recipes import RecipeOptions, recipe_command
from tapetum.app.verb import File, Listener, Result
from tapetum.core.errors import BadInput
from tapetum.core.files import same_place, whole_file
from tapetum.core.jobs import Engine
from tapetum.core.provenance import DATA, guarding_data
from tapetum.report import check_report
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE, RECIPES, BootstrapRun, Ingredient, without
from tapetum.train.launch_config import Launch

if TYPE_CHECKING:
    from tapetum.systems.tap.bootstrap.config import FootageConfig
    from tapetum.systems.tap.bootstrap.footage import FootageDataset
    from tapetum.systems.tap.bootstrap.run import Outcome


@guarding_data
def bootstrap(
    folder: str | Path,
    recipe: BootstrapRun,
    launch: Launch,
    *,
    engine: Engine = "local",
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> "Outcome | None":
    """Train a tracker on the videos in `folder`, in the folder `launch.out`; the same call resumes a stopped run.

    `engine` prepares the videos: this process, one after the other, or Ray, many at a time. `say` receives remarks, line by
    line; `progress` the numbers of prepared and of all videos. Returns None if `launch.minutes` ran out before the run was
    done. Raises BadInput for errors the user can fix.
    """
    from tapetum.bench.baselines import choose_family
    from tapetum.data.remote_folder import local_data, local_place
    from tapetum.systems.tap.bootstrap import run
    from tapetum.systems.tap.bootstrap.footage import prepare_all, write_report

    def prepare(source: Path, out: Path, config: "FootageConfig") -> "FootageDataset":
        footage = prepare_all(source, out, config, progress, engine)
        for line in write_report(footage, out.parent / "footage.txt"):
            say(line)
        return footage

    folder = local_place(folder)
    with local_data(recipe, DATA) as local:
        return run.bootstrap(folder, local, launch, family=choose_family(recipe), prepare=prepare, say=say)


_MARKERS = {"separate_moments": tyro.conf.arg(name="apart"), "clips": tyro.conf.arg(aliases=["--batch-size"])}
_USUAL = {name: replace(RECIPES["small"], preset=name) for name in RECIPES}
"""Defaults of the options: those of `small` under every name, so that switches stay switches."""


def _preset(name: str, given: Any) -> BootstrapRun:
    """Find the preset, and drop default values from `given`: a switch at its default counts as not given."""
    if name != "small":
        usual, settings = RECIPES["small"], given.pop("settings")
        changed = {key: value for key, value in given.items() if value != getattr(usual, key)}
        given.clear()
        given.update(changed, settings={k: v for k, v in settings.items() if v != getattr(usual.settings, k)})
    return RECIPES[name]


@dataclass(frozen=True, kw_only=True)
class BootstrapOptions(RecipeOptions):
    """Teach a tracker on a folder of your own videos, which need no labels (BootsTAP).

    Videos are cut into clips; the tracker learns to give the same tracks whatever is done to the image. It is scored before,
    during and after on clips with known tracks that are made of left out frames, and the best weights are kept. Then:
    tapetum track clip.mp4 --model DIR. The same command goes on where a run was stopped. --model takes a TAPIR or a TAPNext.
    """

    folder: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FOLDER")]
    """Folder of videos, searched deeply; or one video; or the address of one, which is copied to this machine."""
    without: tyro.conf.UseAppendAction[tuple[Ingredient, ...]] = ()
    """Leave out an ingredient of the recipe, to see what it does; may be repeated. average: the teacher stays as it began;
    stride: the student sees all of the teacher's frames; mixer-lr: the temporal mixer learns as quickly as the rest."""
    engine: Engine = "local"
    """What prepares the videos: this process, one after the other, or Ray, many at a time (needs tapetum[cluster])."""
    calibrate: bool = False
    """Teach nothing: learn to predict where --model, any tracker (also FILE.py:CLASS), is wrong, on clips with exact tracks
    made of frames of the videos. DIR gets a copy of its weights and the error model; that of FILE.py goes beside it."""
    report: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """When the run has ended, write a page that needs no network: its curves, and clips that were left out, tracked before and
    after, those with the largest error first."""
    recipe: Annotated[BootstrapRun, options(_USUAL, by="preset", markers=_MARKERS, pick=_preset)]


@dataclass(frozen=True)
class Bootstrapped(Result):
    """Result of a finished run of the command."""

    outcome: "Outcome"
    out: Path
    report: Path | None = None

    def as_json(self) -> dict[str, Any]:
        outcome = self.outcome
        better = outcome.step > 0 and _compared(outcome.before[DECIDING_SCORE], outcome.after[DECIDING_SCORE]) == "better"
        page = {} if self.report is None else {"report": str(self.report)}
        scores = {name: getattr(outcome, name) for name in ("before", "after", "last", "cycle_before", "cycle_after")}
        return {**page, "tracker": str(self.out), "step": outcome.step, "better": better, **scores}

    def as_text(self) -> str:
        outcome = self.outcome
        before, after, last = (scores[DECIDING_SCORE] for scores in (outcome.before, outcome.after, outcome.last))
        verdict = f"{_compared(before, last)} at the end ({last:.3f}): the weights that it started from are kept"
        if outcome.step:
            verdict = f"{_compared(before, after)}: the weights of step {outcome.step} are kept"
        medians = (cycle["median_px"] for cycle in (outcome.cycle_before, outcome.cycle_after))
        first, then = ("no point to judge" if median is None else f"median {median:.2f} px" for median in medians)
        rows = [
            f"average Jaccard on clips made of left out frames, best threshold: {before:.3f} before, {after:.3f} after; "
            f"{verdict}",
            f"real clips that were left out, to their end and back: {first} before, {then} after; "
            f"back within 4 px {outcome.cycle_before['back_within_4px']:.2f} before, "
            f"{outcome.cycle_after['back_within_4px']:.2f} after",
            f"tracker  {self.out}    tapetum track clip.mp4 --model {self.out}",
            *([] if self.report is None else [f"report   {self.report}"]),
        ]
        return "\n".join(rows)


def _compared(before: float, after: float) -> str:
    """Say which of two scores is better, at the precision printed."""
    first, then = round(before, 3), round(after, 3)
    return "better" if then > first else "worse" if then < first else "no different"


CALIBRATION_CLIPS, CALIBRATION_FRAMES = 48, 24
"""Clips from which --calibrate learns, and the frames of those of cut-outs."""


@dataclass(frozen=True)
class Calibrated(Result):
    """Result of --calibrate."""

    tracker: str
    """The folder, or the class, that --model takes."""
    errors: Path
    scores: dict[str, float]
    """Of clips that were not learned from: see `learn_errors`."""

    def as_json(self) -> dict[str, Any]:
        return {"tracker": self.tracker, "errors": str(self.errors), **self.scores}

    def as_text(self) -> str:
        scores = self.scores
        share = {name: f"{value:.1%}" for name, value in scores.items()}
        return (
            f"of {scores['places']} visible places of other made clips {share['wrong']} are wrong; of these the tenth that is "
            f"doubted most has {share['caught']} (by the tracker's confidence {share['by_confidence']})\n"
            f"errors   {self.errors}\ntracker  {self.tracker}    tapetum track clip.mp4 --doubt --model {self.tracker}"
        )


@guarding_data
def calibrate(folder: str | Path, recipe: BootstrapRun, launch: Launch, listener: Listener) -> Calibrated:
    """Make an error model of the tracker `recipe.model` from clips made of frames of the videos in `folder`, or of
    `recipe.textures`. Raises BadInput as `bootstrap` and `learn_errors`."""
    import numpy as np

    from tapetum.bench.baselines import load_tracker
    from tapetum.core.identity import fingerprint
    from tapetum.data.remote_folder import local_data, local_place
    from tapetum.hub.registry import TRACKER_FILE, resolve
    from tapetum.systems.tap.bootstrap.footage import prepare_all
    from tapetum.systems.tap.bootstrap.task import made_clips, write_stills
    from tapetum.systems.tap.tracking.error_model import errors_file, learn_errors

    tracker, code = load_tracker(recipe.model, launch.device), Path(recipe.model.rpartition(":")[0])
    weights = code if code.is_file() else resolve(recipe.model, "track")[0]
    target = weights if code.is_file() else launch.out / TRACKER_FILE
    if target.is_file() and fingerprint(target) != fingerprint(weights):
        raise BadInput(f"{target} is another tracker than {recipe.model}; give --out another folder")
    launch.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=launch.out, prefix=".") as made, local_data(recipe, DATA) as run:
        images, part = run.textures, run.part
        if images is None:
            place = local_place(folder)
            counting = partial(listener.progress, "cutting clips")
            write_stills(prepare_all(place, Path(made) / "footage", run.footage, counting, "local"), Path(made))
            images, part = str(Path(made) / "stills"), "all"
        clips = made_clips(replace(run, frames=CALIBRATION_FRAMES), images, part)
        numbers = np.random.default_rng(run.seed).permutation(len(clips))[:CALIBRATION_CLIPS]
        counting = partial(listener.progress, "tracking made clips", total=len(numbers))
        model, scores = learn_errors(tracker, (clips[number] for number in numbers.tolist()), weights, counting)
    if not same_place(weights, target):
        with whole_file(target) as temporary:
            shutil.copyfile(weights, temporary)
    model.save(errors_file(target))
    return Calibrated(recipe.model if code.is_file() else str(launch.out), errors_file(target), scores)


def _work(given: BootstrapOptions, launch: Launch, listener: Listener) -> "Bootstrapped | Calibrated | None":
    recipe = without(given.recipe, given.without)
    if given.calibrate and given.report is not None:
        raise BadInput("--report shows what a tracker has learned, and --calibrate teaches it nothing; leave one out")
    if given.calibrate:
        return calibrate(given.folder, recipe, launch, listener)
    report = check_report(given.report)
    progress = partial(listener.progress, "cutting clips")
    outcome = bootstrap(given.folder, recipe, launch, engine=given.engine, say=listener.note, progress=progress)
    if outcome is None:
        return None
    done = Bootstrapped(outcome, launch.out, report)
    if report is not None:
        from tapetum.app.learn.bootstrap_report import write_bootstrap_report
        from tapetum.train.process_group import pick_device

        lines, models = done.as_text().split("\n")[:2], (recipe.model, outcome.file)
        progress = listener.counting("report: clips")
        write_bootstrap_report(report, given.folder, lines, launch.out, models, pick_device(launch.device, 0), progress)
    return done


COMMAND = recipe_command("bootstrap", BootstrapOptions, _work, product="tracker")
