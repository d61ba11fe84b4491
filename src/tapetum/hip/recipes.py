"""Whole runs of HiP: masked auto-encoding, then classes, on data in one of the layouts of `tapetum.data.layouts`.

Source: HiP (arXiv 2202.10890), whose text could not be read in full: sizes of inputs, variants and the mask's ratio are the
paper's; optimiser, schedule, batches and lengths are not known. They are settings here, and what stands in `RECIPES` leans on
Perceiver IO's ImageNet run (arXiv 2107.14795: 110 epochs, batch 1,024, weight decay 0.1, label smoothing 0.1).

Differs from that run: AdamW with warm-up and a cosine instead of LAMB; pictures are cut and mirrored, without RandAugment,
CutMix or MixUp.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import torch

from tapetum.errors import BadInput
from tapetum.hip import weights
from tapetum.hip.classes import Classifier, ClassTask
from tapetum.hip.config import HipConfig, Masked, Sizes, variant
from tapetum.hip.datasets import DataSet, data_set
from tapetum.hip.masked import MaskedTask
from tapetum.hip.model import Hip
from tapetum.train import FitResult, TrainConfig, fit
from tapetum.train.config import accumulation


@dataclass(frozen=True, kw_only=True)
class HipRun:
    """The settings of a run."""

    layout: str
    data: str = ""
    """Folder or file of the data."""
    sizes: Sizes = field(default_factory=Sizes)
    variant: str = "hip-16"
    positions: Literal["learned", "fourier", "random"] = "learned"
    masked: Masked = field(default_factory=Masked)
    mae_steps: int = 0
    """Optimiser steps of masked auto-encoding; 0: none."""
    steps: int = 0
    """Optimiser steps with classes; 0: none."""
    batch_size: int = 1024
    micro_batch: int = 16
    """Examples that one process works on at a time."""
    lr: float = 1e-3
    weight_decay: float = 0.1
    smoothing: float = 0.0
    bf16: bool = True
    checkpointing: bool = False
    """Activations are computed twice instead of kept: less memory, the same numbers."""
    seed: int = 1

    @property
    def config(self) -> HipConfig:
        """Sizes of the network."""
        return replace(variant(self.variant), positions=self.positions)


_SMALL = HipRun(
    layout="parquet",
    variant="hip-nano",
    sizes=Sizes(picture=(32, 32), samples=4096, sound_rate=8000),
    mae_steps=1000,
    steps=1000,
    batch_size=32,
    micro_batch=32,
    weight_decay=0.05,
)

RECIPES: Mapping[str, HipRun] = {
    "imagenet": HipRun(layout="imagenet", mae_steps=300_000, steps=137_000, smoothing=0.1),
    "audioset": HipRun(layout="audioset", variant="hip-256", mae_steps=100_000, steps=100_000, batch_size=512, micro_batch=4),
    "voc": HipRun(layout="voc", mae_steps=20_000, steps=10_000, batch_size=64, micro_batch=4),
    "modelnet40": HipRun(layout="modelnet40", mae_steps=20_000, steps=10_000, batch_size=256, weight_decay=0.05),
    "kinetics": HipRun(layout="kinetics", variant="hip-256", mae_steps=100_000, steps=60_000, batch_size=512, micro_batch=4),
    "parquet": _SMALL,
    "shards": replace(_SMALL, layout="shards"),
}
"""By layout: data of the paper at its size, for accelerators; `parquet` and `shards` small, for a laptop."""


@dataclass(frozen=True)
class Finished:
    """What a run ends with."""

    weights: Path
    """A file for `tapetum.hip.weights.load` and `tapetum embed`."""
    scores: Mapping[str, float]
    """On the examples that are never trained on."""


def hip_run(
    out: str | Path,
    run: HipRun,
    *,
    parallel: Literal["ddp", "fsdp"] = "ddp",
    minutes: float | None = None,
    workers: int = 1,
    threads: int | None = None,
    save_every: int = 500,
    say: Callable[[str], None] = print,
) -> Finished | None:
    """Train through both phases in the folder `out`; the same call goes on after a stop. None if there is more to do.

    Raises BadInput for data that is not there, or a run that is to learn classes where the data has none.
    """
    out, place = Path(out), Path(run.data)
    if not run.mae_steps and not run.steps:
        raise BadInput("a run has no steps of either kind; give it some")
    network = run.config
    config = TrainConfig(
        steps=1,
        batch_size=run.batch_size,
        accumulation=accumulation(run.batch_size, run.micro_batch),
        seed=run.seed,
        lr=run.lr,
        weight_decay=run.weight_decay,
        betas=(0.9, 0.95),
        clip_norm=1.0,
        bf16=run.bf16,
        parallel=parallel,
        workers=workers,
        threads=threads,
        checkpoint_every=save_every,
        max_minutes=minutes,
    )
    train, checks = (data_set(run.layout, place, part, run.sizes, run.seed) for part in ("train", "val"))
    if run.steps and train.classes != checks.classes:
        raise BadInput(
            f"{place}: train has {len(train.classes)} classes and the check {len(checks.classes)}, or of other names"
        )
    if run.steps and train.asks == "nothing":
        raise BadInput(f"{place} has no labels; give --steps 0 to learn without")
    for name, part in (("train", train), ("check", checks)):
        shapes = ", ".join(f"{k} {'x'.join(map(str, (*m.shape, m.channels)))}" for k, m in part.examples.modalities().items())
        gone = f", {part.missing:,} listed ones have no file" if part.missing else ""
        say(f"{name}: {len(part.examples):,} examples of {shapes}{gone}")
    start: Path | None = None
    scores: dict[str, float] = {}
    task: MaskedTask | ClassTask
    for steps, folder in ((run.mae_steps, "1-masked"), (run.steps, "2-classes")):
        if not steps:
            continue
        if folder == "1-masked":
            pictures = out / "pictures"
            task = MaskedTask(network, train.examples, checks.examples, run.masked, pictures, checkpointing=run.checkpointing)
        else:
            task = _class_task(run, train, checks, start)
        result = fit(
            task,
            replace(config, steps=steps, warmup_steps=steps // 20, eval_every=max(1, steps // 4)),
            out / folder,
        )
        if result.state == "stopped":
            return None
        start = result.checkpoint / "model.safetensors"
        scores |= _scored(task, result)
    return Finished(_save(result, out / f"{run.variant}.safetensors"), scores)


def _class_task(run: HipRun, train: DataSet, checks: DataSet, start: Path | None) -> ClassTask:
    return ClassTask(
        run.config,
        train.examples,
        checks.examples,
        len(train.classes),
        start=start,
        elements_of="image" if train.asks == "elements" else None,
        smoothing=run.smoothing,
        checkpointing=run.checkpointing,
    )


def _scored(task: MaskedTask | ClassTask, result: FitResult) -> dict[str, float]:
    """Scores of the finished weights, which every process has whole."""
    model = result.model.eval()
    with torch.no_grad():
        found = dict(task.evaluate(model, result.step))
    return {f"masked_{name}": value for name, value in found.items()} if isinstance(task, MaskedTask) else found


def _save(result: FitResult, path: Path) -> Path:
    """The network without its read-out, written by the first process."""
    hip = result.model.hip if isinstance(result.model, Classifier) else result.model
    if os.environ.get("RANK", "0") == "0":
        weights.save(cast(Hip, hip), path)
    return path
