"""The training of the official point trackers on Kubric: TAPIR (arXiv 2306.08637, section 3.3 and its appendix on training).

BootsTAPIR's architecture is trained likewise: that is where BootsTAP (arXiv 2402.00847) starts from.

Differs from the paper: the data are those of CoTracker3, 120 frames of which 24 are shown, instead of panning MOVi-E; gains and
offsets of the instance norms don't decay (in the public code they do, for their names are not among those it spares); features
are not computed a second time in the backward pass to save memory.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from tapetum.errors import BadInput
from tapetum.tap.network.model import Tapir
from tapetum.tap.tracking import tracker
from tapetum.tap.training.data import PAPER, TapSamples, Tracked
from tapetum.tap.training.kubric import KubricClips, kubric_sequences
from tapetum.tap.training.recipes import finished
from tapetum.tap.training.task import PointTask
from tapetum.train import TrainConfig, fit
from tapetum.train.config import accumulation


@dataclass(frozen=True, kw_only=True)
class TapKubric:
    """TAPIR's training on Kubric; the defaults are the paper's numbers, `PUBLIC` has those of the public configuration."""

    data: str
    """Folder of sequences in the layout of `tapetum.tap.training.kubric`."""
    model: str = "tapir"
    """Architecture by name: tapir, causal-tapir, bootstapir, causal-bootstapir or tapir-nano."""
    start: str | None = None
    """Weights to start from, as `tapetum.load` takes them, with their own architecture; None: random ones of `model`."""
    steps: int = 50_000
    batch_size: int = 256
    """Clips per step: 4 on each of 64 accelerators."""
    micro_batch: int = 4
    """Clips that one process works on at a time; batch_size must divide by it and by the processes."""
    lr: float = 1e-3
    warmup_steps: int = 1000
    """A run of fewer than 10,000 steps warms up for a tenth of them."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of the public configuration; the paper does not say."""
    weight_decay: float = 1e-2
    """Decoupled, not on biases, gains and offsets. Uncertain: 1e-2 in the paper, 0.1 in the public configuration."""
    size: int = 256
    """Height and width in pixels of the clips shown."""
    frames: int = 24
    """Frames shown of a clip: neighbours, or as often every second one."""
    points: int = 256
    """Queries per clip."""
    refine_with_gradient: int | None = 32
    """Queries of each clip that the refinement learns from, as the public code saves memory; matching learns from all."""
    checks: int = 30
    """Sequences, the last ones, that are kept for scores along the way; no more than a tenth of all."""
    bf16: bool = False
    seed: int = 1


PUBLIC = {"steps": 100_000, "batch_size": 512, "weight_decay": 0.1}
"""Where the public configuration has other numbers: 8 clips a device; how many devices it does not say, so 64 as the paper."""


class KubricTask(PointTask):
    """A network, clips of Kubric, the losses of the paper."""

    def __init__(self, run: TapKubric):
        super().__init__(run.size, run.points, refine_with_gradient=run.refine_with_gradient)
        self.run = run
        names = kubric_sequences(run.data)
        held = min(run.checks, len(names) // 10)
        self.names, self.held_out = tuple(names[: len(names) - held]), tuple(names[len(names) - held :])
        if run.start is None and run.model not in tracker.ARCHITECTURES:
            raise BadInput(f"there is no architecture named {run.model!r}; known names are {', '.join(tracker.ARCHITECTURES)}")
        self.architecture = tracker.load(run.start).model.config if run.start else tracker.ARCHITECTURES[run.model]
        size = (run.size, run.size)
        self.config = replace(self.architecture, initial_resolution=size, refine_at_least=None, second_look=False)

    def model(self) -> nn.Module:
        """The network, with the weights of `TapKubric.start` if it names any."""
        model = Tapir(self.config)
        if self.run.start is not None:
            model.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return model

    def dataset(self) -> TapSamples:
        """Showings of the sequences, altered as in the paper."""
        run = self.run
        clips = KubricClips(Path(run.data), self.names)
        return TapSamples(clips, size=run.size, points=run.points, seed=run.seed, frames=run.frames, alterations=PAPER)

    def checks(self) -> list[Tracked]:
        """The beginnings of the sequences that are kept for it."""
        clips, part = KubricClips(Path(self.run.data), self.held_out), slice(self.run.frames)
        return [Tracked(c.video[part], c.xy[:, part], c.visible[:, part]) for c in (clips[k] for k in range(len(clips)))]

    def describe(self) -> Mapping[str, Any]:
        """All that decides what is learned; the folder may move."""
        run = {k: v for k, v in asdict(self.run).items() if k not in ("data", "micro_batch")}
        return json.loads(json.dumps({**run, "start": run["start"] and Path(run["start"]).name, "sequences": len(self.names)}))


def tap_kubric(
    out: str | Path,
    run: TapKubric,
    *,
    parallel: Literal["ddp", "fsdp"] = "ddp",
    minutes: float | None = None,
    workers: int | None = None,
    threads: int | None = None,
    save_every: int = 500,
) -> Path | None:
    """Train in the folder `out`; the same call goes on after a stop. `workers` None: four, or as many as there are cores.

    Returns the file of the finished weights, or None if `minutes` or a signal stopped this call. BadInput when the data folder
    lacks something or a sequence is damaged.
    """
    out = Path(out)
    task = KubricTask(run)
    config = TrainConfig(
        steps=run.steps,
        batch_size=run.batch_size,
        accumulation=accumulation(run.batch_size, run.micro_batch),
        seed=run.seed,
        lr=run.lr,
        warmup_steps=min(run.warmup_steps, run.steps // 10),
        betas=run.betas,
        weight_decay=run.weight_decay,
        clip_norm=None,
        max_skips=5,
        bf16=run.bf16,
        parallel=parallel,
        workers=min(4, os.cpu_count() or 1) if workers is None else workers,
        threads=threads,
        eval_every=10 * save_every if task.held_out else 0,
        checkpoint_every=save_every,
        max_minutes=minutes,
    )
    result = fit(task, config, out)
    if result.state == "stopped":
        return None
    name = run.model if run.start is None else Path(run.start).stem
    return finished(task.architecture, result.checkpoint / "model.safetensors", out / f"{name}.safetensors", torch.float32)
