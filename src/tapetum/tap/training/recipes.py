"""Whole training runs of the bundled point trackers.

`tap_nano` trains them on synthetic scenes with the losses of TAPIR (arXiv 2306.08637, section 3.3); `recipes_kubric` trains the
official architectures.

Differs from the paper: the run is made for two CPU cores and a few hours, not for 64 accelerators. It starts at 128x128 pixels
and 12 frames with two refinement iterations, where a step is cheap and the network learns to match, goes on at 256x256 and 24
frames with four, and ends with 12 frames that turn and grow; a batch is a few clips of 64 points, half of whose queries are on
first frames; `matching_loss` is added; gradients are clipped; weights are averaged.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tapetum.errors import BadInput
from tapetum.tap import weights
from tapetum.tap.config import CAUSAL_NANO, NANO, TapirConfig
from tapetum.tap.network.model import Tapir
from tapetum.tap.tracking import tracker
from tapetum.tap.training.data import FEW_CLIPS, Joined, SceneClips, TapSamples, Tracked
from tapetum.tap.training.picture_clips import WarpedClips
from tapetum.tap.training.task import PointTask
from tapetum.train import TrainConfig, fit
from tapetum.train.config import accumulation

MATCHING_WEIGHT = 5.0
"""Weight of `matching_loss` beside the losses of the paper."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a run at one picture size."""

    name: str
    size: int
    """Height and width in pixels of the clips shown."""
    steps: int
    batch_size: int
    micro_batch: int
    """Clips that one process works on at a time; batch_size must divide by it and by the processes."""
    lr: float
    clips: int
    """Different scenes; each is shown several times, altered."""
    points: int
    """Queries per clip."""
    frames: int = 24
    """Frames of the parts of clips that are shown."""
    first: float = 0.5
    """Share of the queries that are on the first frame in which their point is visible."""
    iterations: int = 4
    """Refinement iterations; the same weights serve any number."""
    journey: float = 0.0
    """Share of showings in which the picture turns, grows and drifts (`tap.training.data.journey`)."""
    warped: int = 0
    """Clips of cut-outs over moving pictures (`tap.training.picture_clips`) shown beside those of scenes, each as often."""


@dataclass(frozen=True, kw_only=True)
class TapNano:
    """The settings of the run that made `tapir-nano-synthetic`, from which `tapetum bootstrap` then made `tapir-nano`."""

    name: str = "tapir-nano-synthetic"
    """Of the file with the finished weights."""
    model: TapirConfig = NANO
    start: str | None = None
    """Weights to start from, as `tapetum.load` takes them; None: random ones."""
    phases: tuple[Phase, ...] = (
        Phase(
            name="1-small",
            size=128,
            frames=12,
            steps=2000,
            batch_size=4,
            micro_batch=2,
            lr=1e-3,
            clips=2400,
            points=64,
            first=0.0,
            iterations=2,
        ),
        Phase(name="2-short", size=256, frames=12, steps=3400, batch_size=2, micro_batch=1, lr=8e-4, clips=3000, points=64),
        Phase(name="3-full", size=256, steps=2200, batch_size=2, micro_batch=1, lr=4e-4, clips=3600, points=64),
        Phase(
            name="4-turns",
            size=256,
            frames=12,
            steps=700,
            batch_size=4,
            micro_batch=2,
            lr=6e-4,
            clips=1800,
            points=64,
            iterations=2,
            journey=0.6,
        ),
    )
    checks: int = 16
    """Scenes that are never trained on, with held-out textures, scored along the way."""
    textures: str | None = None
    """Folder or parquet file of pictures; every tenth is held out. None: procedural patterns."""
    cache: str | None = None
    """Folder that keeps drawn clips (4.8 MB each)."""
    seed: int = 1


RECIPES = {
    "tap-nano": TapNano(),
    "causal-tap-nano": TapNano(
        name="causal-tapir-nano",
        model=CAUSAL_NANO,
        start="tapir-nano-synthetic",
        phases=(Phase(name="1-causal", size=256, steps=1600, batch_size=2, micro_batch=1, lr=4e-4, clips=3600, points=64),),
    ),
    "more-tap-nano": TapNano(
        start="tapir-nano-synthetic",
        phases=(
            Phase(
                name="5-layers",
                size=256,
                frames=12,
                steps=1000,
                batch_size=4,
                micro_batch=2,
                lr=6e-4,
                clips=800,
                points=64,
                iterations=2,
                journey=0.4,
                warped=1600,
            ),
        ),
    ),
}
"""Runs by name: the bundled tracker from nothing, from its weights the one for frames one by one, and further from them."""


class SceneTask(PointTask):
    """One phase of `TapNano`: a network, clips of scenes, the losses of the paper and of matching."""

    def __init__(self, run: TapNano, phase: Phase, start: Path | None):
        super().__init__(phase.size, phase.points, matching_weight=MATCHING_WEIGHT)
        self.run, self.phase, self.start = run, phase, start
        self.config = replace(
            run.model,
            initial_resolution=(phase.size, phase.size),
            iterations=phase.iterations,
            refine_at_least=None,
            second_look=False,
        )

    def model(self) -> nn.Module:
        """The network, with the weights of the phase before, or of `TapNano.start`, if there are any."""
        model = Tapir(self.config)
        if self.start is not None:
            model.load_state_dict(load_file(self.start))
        elif self.run.start is not None:
            model.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def dataset(self) -> TapSamples:
        """Altered showings of the training scenes."""
        run, phase = self.run, self.phase
        scenes = SceneClips(phase.clips, seed=run.seed, textures=run.textures, part="train", cache=run.cache)
        warped = WarpedClips(phase.warped, seed=run.seed, source=run.textures, part="train", frames=phase.frames)
        return TapSamples(
            Joined(scenes, warped),
            size=phase.size,
            points=phase.points,
            seed=run.seed,
            frames=phase.frames,
            first=phase.first,
            alterations=replace(FEW_CLIPS, journey=phase.journey),
        )

    def checks(self) -> list[Tracked]:
        """Scenes with held-out textures."""
        run = self.run
        clips = SceneClips(run.checks, seed=run.seed + 1000, textures=run.textures, part="held-out")
        return [clips[k] for k in range(run.checks)]

    def describe(self) -> Mapping[str, Any]:
        """All that decides what is learned."""
        run = {k: v for k, v in asdict(self.run).items() if k not in ("name", "phases", "cache", "checks")}
        for outside in ("start", "textures"):
            run[outside] = run[outside] and Path(run[outside]).name
        phase = {k: v for k, v in asdict(self.phase).items() if k != "micro_batch"}
        return json.loads(json.dumps({"run": run, "phase": phase}))


def tap_nano(
    out: str | Path,
    run: TapNano | None = None,
    *,
    minutes: float | None = None,
    workers: int = 1,
    threads: int | None = None,
) -> Path | None:
    """Train through all phases in the folder `out`; the same call goes on after a stop.

    `minutes` stops this call early. Returns the file of the finished float16 weights, or None if there is more to do.
    """
    out, run = Path(out), run or TapNano()
    start = None
    for phase in run.phases:
        config = TrainConfig(
            steps=phase.steps,
            batch_size=phase.batch_size,
            accumulation=accumulation(phase.batch_size, phase.micro_batch),
            seed=run.seed,
            lr=phase.lr,
            final_lr=phase.lr / 100,
            warmup_steps=min(100, phase.steps // 10),
            betas=(0.9, 0.95),
            weight_decay=1e-2,
            clip_norm=1.0,
            ema_decay=max(0.0, min(0.998, 1 - 5 / phase.steps)),
            bf16=True,
            workers=workers,
            threads=threads,
            prefetch=4,
            log_every=5,
            eval_every=250,
            checkpoint_every=100,
            max_minutes=minutes,
        )
        result = fit(SceneTask(run, phase, start), config, out / phase.name)
        if result.state == "stopped":
            return None
        start = result.checkpoint / "ema.safetensors"
    if start is None:
        raise BadInput("the run has no phases: give at least one")
    return finished(run.model, start, out / f"{run.name}.safetensors", torch.float16)


def finished(config: TapirConfig, state: Path, target: Path, dtype: torch.dtype) -> Path:
    """Makes a checkpoint's tensors a file of weights, which the first process writes."""
    if os.environ.get("RANK", "0") == "0":
        model = Tapir(config)
        model.load_state_dict(load_file(state))
        weights.save(model, target, dtype=dtype)
    return target
