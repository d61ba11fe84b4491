"""`bootstrap`: self-training of a tracker on any folder of videos; the result is kept if it scores better.

Source: BootsTAP (arXiv 2402.00847).

    videos --footage--> clips --+--> learned from (`task`), beside synthetic scenes painted with frames of the footage
                                +--> left out: made into clips with known tracks, scored before, during and after

For settings and how they differ from the paper see `config`; for the files of a run see `task`.
"""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import torch

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_json
from tapetum.core.reading import parse_json, read_json, read_text
from tapetum.data.textures import open_textures
from tapetum.hub.registry import TRACKER_FILE
from tapetum.systems.tap.bootstrap.config import BootstrapRun, FootageConfig
from tapetum.systems.tap.bootstrap.footage import FootageDataset, prepare_all
from tapetum.systems.tap.bootstrap.samples import cycle_summary, split
from tapetum.systems.tap.bootstrap.task import (
    FootageTask,
    claim_run,
    footage_identity,
    read_best,
    remove_scenes,
    run_identity,
    write_stills,
)
from tapetum.tracks.training.self_training import TrackerFamily
from tapetum.train import TrainConfig, fit
from tapetum.train.launch import checkpoint_parent, is_main, lock_folder, world_size
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.process_group import join_process_group
from tapetum.train.rehearsal import say_time
from tapetum.video.images import find_videos

Prepare = Callable[[Path, Path, FootageConfig], FootageDataset]
PREPARING = timedelta(days=7)
"""Seconds that other processes wait while the main one makes clips of the videos."""


@dataclass(frozen=True)
class Outcome:
    file: Path
    """The weights that were best."""
    before: dict[str, float]
    """Scores of the start on the check clips."""
    after: dict[str, float]
    """Scores of the kept weights."""
    last: dict[str, float]
    """Scores of the weights at the end."""
    step: int
    """Step of the kept weights; 0 are those that it started from."""
    cycle_before: dict[str, float | None]
    """Cycle error of the start on real clips that were left out; None for pixels where no point was seen at the end."""
    cycle_after: dict[str, float | None]


def bootstrap(
    source: str | Path,
    run: BootstrapRun,
    launch: Launch,
    *,
    family: TrackerFamily | None = None,
    footage: FootageConfig | None = None,
    prepare: Prepare = prepare_all,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome | None:
    """Train on the videos in the folder `source`, writing to `launch.out`; the same call resumes a stopped run, under torchrun
    in every process. Returns None if `launch.minutes` ended first.

    `family` has networks and losses of the tracker's family, by default TAPIR's; `footage` says how videos become clips, and
    `prepare` makes them; `say` is called with lines of progress. Raises BadInput if there is no video, or no usable clip; if
    `launch.out` belongs to another run; if the disk is full.
    """
    source, out = Path(source), launch.out
    footage, config = footage or run.footage, bootstrap_config(run, launch)
    task = FootageTask(run, out / "footage", out, family)
    if is_main():  # everything that can be refused before anything is written
        find_videos(source)
        task.family.start()
        if run.textures:
            open_textures(run.textures, run.part)
        if run.clips % (processes := world_size()):
            several = f"{run.clips} clips a step do not divide into {processes} processes"
            raise BadInput(f"{several}; give --clips a multiple of that")
    if launch.threads:
        torch.set_num_threads(launch.threads)
    with join_process_group(launch.device) as processes, lock_folder(out) if processes.main else nullcontext():
        if processes.main:
            saved = checkpoint_parent(out / "run", config.checkpoint_folder)
            claim_run(out, "run", run_identity(run), saved)
            dataset = prepare(source, task.footage, footage)
            claim_run(out, "footage", footage_identity(dataset), saved)
            write_stills(dataset, out)
            if not (out / "before.json").exists():
                say(f"scoring {run.model} on {run.checks} clips made of frames that are left out")
                with torch.no_grad():
                    write_json(out / "before.json", task.evaluate(task.model().eval().to(processes.device), 0))
        processes.barrier(PREPARING)
        say_time(task, config, out / "run", say)
        result = fit(task, config, out / "run", began=launch.began)
        if result.state == "stopped":
            return None
        return _finish(task, out, processes.device) if processes.main else None


def bootstrap_config(run: BootstrapRun, launch: Launch) -> TrainConfig:
    return train_config(
        run,
        launch,
        micro_batch=1,
        batch_size=run.clips,
        final_lr=run.lr / 100,
        warmup_steps=min(50, run.steps // 10),
        betas=(0.9, 0.95),
        weight_decay=1e-2,
        clip_norm=1.0,
        ema_decay=run.settings.ema_decay,
        ema_rising=False,
        prefetch=4,
        log_every=5,
        eval_every=max(1, run.steps // run.scored),
        checkpoint_every=max(1, min(50, run.steps // run.scored)),
    )


def _finish(task: FootageTask, out: Path, device: torch.device) -> Outcome:
    best = read_best(out)
    assert best is not None
    with whole_file(out / TRACKER_FILE) as temporary:
        shutil.copyfile(out / "best.safetensors", temporary)
    log = [parse_json(line) for line in read_text(out / "run" / "log.jsonl").splitlines()]
    before = read_json(out / "before.json")
    last = next(line["eval"] for line in reversed(log) if "eval" in line)
    footage = FootageDataset(task.footage)
    holdout = split(footage)[1]
    trackers = (task.family.load(model, device) for model in (task.run.model, out / TRACKER_FILE))
    cycles = [cycle_summary(tracker, footage, holdout) for tracker in trackers]
    remove_scenes(out)
    outcome = Outcome(out / TRACKER_FILE, before, best["scores"], last, best["step"], *cycles)
    write_json(out / "outcome.json", {k: v for k, v in asdict(outcome).items() if k != "file"})
    return outcome
