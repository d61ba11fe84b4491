"""Training of HiP: masked auto-encoding, then classes, on data in one of the layouts of `tapetum.data.layouts`.

What is trained, and where that is from, stands in `recipes`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tapetum.core.errors import BadInput
from tapetum.systems.hip import weights
from tapetum.systems.hip.config import variant
from tapetum.systems.hip.data import HipSplit, data_set
from tapetum.systems.hip.model import Hip
from tapetum.systems.hip.recipes import HipRun
from tapetum.systems.hip.task import ClassTask, HipClassifier, MaskedTask
from tapetum.train import TrainConfig, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.process_group import join_process_group

MASKED, CLASSES = "1-masked", "2-classes"


@dataclass(frozen=True)
class FinishedHip:
    weights: Path
    """A file for `tapetum.systems.hip.weights.load` and `tapetum embed`."""
    scores: Mapping[str, float]
    """Scores on the examples that are never trained on."""


def train_hip(run: HipRun, launch: Launch, say: Callable[[str], None] = print) -> FinishedHip | None:
    """Train through both phases in the folder `launch.out`; the same call goes on after a stop. None if there is more to do.

    `say` gets lines about the data. Raises BadInput for data that is not there, or a run that is to learn classes
    where the data has none.
    """
    if not run.mae_steps and not run.steps:
        raise BadInput("a run has no steps of either kind; give it some")
    variant(run.variant)  # an unknown one is refused before the data are looked at
    phases = {MASKED: run.mae_steps, CLASSES: run.steps}
    configs = {folder: hip_config(run, launch, steps) for folder, steps in phases.items() if steps}
    train, checks = _data(run, Path(run.data), say)
    with join_process_group(launch.device):  # once for both phases: torchrun's processes cannot meet a second time
        return _train(run, launch, train, checks, configs)


def hip_config(run: HipRun, launch: Launch, steps: int) -> TrainConfig:
    """Make the config of a phase of `steps` steps."""
    return train_config(
        run,
        launch,
        micro_batch=run.micro_batch,
        steps=steps,
        warmup_steps=steps // 20,
        betas=(0.9, 0.95),
        clip_norm=1.0,
        eval_every=max(1, steps // 4),
        checkpoint_every=500,
    )


def _train(
    run: HipRun, launch: Launch, train: HipSplit, checks: HipSplit, configs: Mapping[str, TrainConfig]
) -> FinishedHip | None:
    start: Path | None = None
    scores: dict[str, float] = {}
    task: MaskedTask | ClassTask
    for folder, config in configs.items():
        if folder == MASKED:
            task = MaskedTask(run.config, train.examples, checks.examples, run.masked, checkpointing=run.checkpointing)
        else:
            task = ClassTask(
                run.config,
                train.examples,
                checks.examples,
                len(train.classes),
                start=start,
                elements_of="image" if train.asks == "elements" else None,
                smoothing=run.smoothing,
                checkpointing=run.checkpointing,
            )
        result = fit(task, config.of_phase(folder), launch.out / folder, began=launch.began)
        if result.state == "stopped":
            return None
        start = result.weights / "model.safetensors"
        prefix = "masked_" if isinstance(task, MaskedTask) else ""
        scores |= {prefix + name: value for name, value in result.scores.items()}
    path = launch.out / f"{run.variant}.safetensors"
    if is_main():  # the network without its read-out
        hip = result.model.hip if isinstance(result.model, HipClassifier) else result.model
        weights.save(cast(Hip, hip), path)
    return FinishedHip(path, scores)


def _data(run: HipRun, place: Path, say: Callable[[str], None]) -> tuple[HipSplit, HipSplit]:
    """Examples to learn from and to check on; `say` gets a line about each."""
    train, checks = (data_set(run.layout, place, part, run.sizes, run.seed, run.modalities) for part in ("train", "val"))
    if run.steps and train.classes != checks.classes:
        raise BadInput(f"{place}: train has {len(train.classes)} classes, the check {len(checks.classes)}, or of other names")
    if run.steps and train.asks == "nothing":
        raise BadInput(f"{place} has no labels; give --steps 0 to learn without")
    for name, part in (("train", train), ("check", checks)):
        shapes = ", ".join(f"{k} {'x'.join(map(str, (*m.shape, m.channels)))}" for k, m in part.examples.modalities().items())
        gone = f", {part.missing:,} listed ones have no file" if part.missing else ""
        say(f"{name}: {len(part.examples):,} examples of {shapes}{gone}")
    return train, checks
