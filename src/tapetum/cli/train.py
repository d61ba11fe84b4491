"""`tapetum train`: whole training runs by name."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

Out = Annotated[Path, tyro.conf.arg(metavar="DIR", help="Folder of the run: checkpoints, logs, and the finished weights.")]
Minutes = Annotated[float | None, tyro.conf.arg(metavar="M", help="Stop after so many minutes; the same command goes on.")]
Threads = Annotated[int | None, tyro.conf.arg(metavar="N", help="Threads of torch; by default as torch chooses.")]


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Train the bundled point tracker on synthetic scenes."""

    name: ClassVar[str] = "tap-nano"

    out: Out
    textures: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of pictures to paint surfaces with; by default patterns that are made up."""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that keeps drawn scenes, so that no scene is drawn twice."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Optimiser steps of each phase; by default those of the recipe."""
    minutes: Minutes = None
    workers: int = 1
    """Processes that make the data."""
    threads: Threads = None
    seed: int = 1
    """The same seed gives the same run."""

    def train(self) -> Path | None:
        """The finished weights, if it came to that."""
        from tapetum.tap.training.recipes import RECIPES, tap_nano

        run = RECIPES[self.name]
        run = replace(
            run,
            textures=None if self.textures is None else str(self.textures),
            cache=None if self.cache is None else str(self.cache),
            phases=run.phases if self.steps is None else tuple(replace(p, steps=self.steps) for p in run.phases),
            seed=self.seed,
        )
        return tap_nano(self.out, run, minutes=self.minutes, workers=self.workers, threads=self.threads)


@dataclass(frozen=True, kw_only=True)
class CausalScenes(Scenes):
    """Make the bundled point tracker one for live use, which sees frames one by one."""

    name: ClassVar[str] = "causal-tap-nano"


@dataclass(frozen=True, kw_only=True)
class MoreScenes(Scenes):
    """Train the bundled point tracker further."""

    name: ClassVar[str] = "more-tap-nano"


@dataclass(frozen=True, kw_only=True)
class Kubric:
    """Train TAPIR or a relative on Kubric's point tracks as the paper does; under torchrun on several processes."""

    out: Out
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of unpacked sequences of facebook/CoTracker3_Kubric: 0000/0000.npy, 0000/frames/000.png and so on."""
    model: Literal["tapir", "causal-tapir", "bootstapir", "causal-bootstapir", "tapir-nano", "causal-tapir-nano"] = "tapir"
    """Architecture."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Weights to start from, which bring their own architecture; by default random ones."""
    schedule: Literal["paper", "public"] = "paper"
    """Steps, batch size and weight decay: the paper's, or those of the public configuration."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Optimiser steps; by default those of the schedule."""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Clips of an optimiser step, over all processes; by default those of the schedule."""
    micro_batch: int = 4
    """Clips that a process works on at a time; what is left of a step's is accumulated."""
    size: int = 256
    """Height and width of the clips shown, in pixels."""
    frames: int = 24
    """Frames of the clips shown."""
    points: int = 256
    """Queries of a clip."""
    bf16: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compute in bfloat16; weights stay float32."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: every process holds the whole model, or its share of it (FSDP2)."""
    save_every: int = 500
    """Steps between checkpoints: the most that a crash costs."""
    minutes: Minutes = None
    workers: int | None = None
    """Processes that make the data, for every process that trains; by default four, or as many as there are cores."""
    threads: Threads = None
    seed: int = 1
    """The same seed gives the same run."""

    def train(self) -> Path | None:
        """The finished weights, if it came to that."""
        from tapetum.tap.training.recipes_kubric import PUBLIC, TapKubric, tap_kubric

        schedule = PUBLIC if self.schedule == "public" else {}
        asked = {"steps": self.steps, "batch_size": self.batch_size}
        run = TapKubric(
            data=str(self.data),
            model=self.model,
            start=self.weights,
            micro_batch=self.micro_batch,
            size=self.size,
            frames=self.frames,
            points=self.points,
            bf16=self.bf16,
            seed=self.seed,
        )
        return tap_kubric(
            self.out,
            replace(run, **{**schedule, **{key: value for key, value in asked.items() if value is not None}}),
            parallel=self.parallel,
            minutes=self.minutes,
            workers=self.workers,
            threads=self.threads,
            save_every=self.save_every,
        )


@dataclass(frozen=True, kw_only=True)
class HipData:
    """Train HiP on raw pictures, sound, video or points: masked auto-encoding, then classes.

    Under torchrun it runs on several processes. What is not given is as the layout's recipe has it: the paper's sizes for
    imagenet, audioset, voc, modelnet40 and kinetics, small ones for parquet and shards.
    """

    out: Out
    data: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Folder of the data, or one parquet file."""
    layout: Literal["imagenet", "audioset", "voc", "modelnet40", "kinetics", "parquet", "shards"] = "parquet"
    """How the data lies there; imagenet serves any train/CLASS/*.jpg and val/CLASS/*.jpg."""
    variant: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """One of those that `tapetum hip variants` lists."""
    positions: Literal["learned", "fourier", "random"] = "learned"
    """Codes of the inputs' places."""
    mae_steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Optimiser steps of masked auto-encoding; 0: none."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Optimiser steps with classes; 0: none."""
    ratio: float = 0.85
    """Share of the inputs that masked auto-encoding hides."""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Examples of an optimiser step, over all processes."""
    micro_batch: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Examples that a process works on at a time; what is left of a step's is accumulated."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="X")] = None
    """Highest learning rate."""
    picture: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Rows and columns of pictures and frames."""
    samples: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Samples of sound."""
    sound_rate: Annotated[int | None, tyro.conf.arg(metavar="HZ")] = None
    """Samples of sound per second."""
    bf16: bool | None = None
    """Compute in bfloat16; weights stay float32."""
    checkpointing: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compute activations twice instead of keeping them: less memory, the same result."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: every process holds the whole model, or its share of it (FSDP2)."""
    save_every: int = 500
    """Steps between checkpoints: the most that a crash costs."""
    minutes: Minutes = None
    workers: int = 1
    """Processes that make the data, for every process that trains."""
    threads: Threads = None
    seed: int = 1
    """The same seed gives the same run."""

    def train(self) -> Path | None:
        """The finished weights, if it came to that."""
        from tapetum.hip.config import Masked
        from tapetum.hip.recipes import RECIPES, hip_run

        run = RECIPES[self.layout]
        size = None if self.picture is None else (self.picture, self.picture)
        sizes = {"picture": size, "samples": self.samples, "sound_rate": self.sound_rate}
        asked = {
            name: getattr(self, name)
            for name in ("variant", "mae_steps", "steps", "batch_size", "micro_batch", "lr", "bf16")
            if getattr(self, name) is not None
        }
        run = replace(
            run,
            data=str(self.data),
            positions=self.positions,
            masked=Masked(ratio=self.ratio),
            sizes=replace(run.sizes, **{name: value for name, value in sizes.items() if value is not None}),
            checkpointing=self.checkpointing,
            seed=self.seed,
            **asked,
        )
        main = os.environ.get("RANK", "0") == "0"
        finished = hip_run(
            self.out,
            run,
            parallel=self.parallel,
            minutes=self.minutes,
            workers=self.workers,
            threads=self.threads,
            save_every=self.save_every,
            say=print if main else lambda text: None,
        )
        if finished is None:
            return None
        if main:
            for name, value in finished.scores.items():
                print(f"{name}  {value:.4f}")
        return finished.weights


Recipe = (
    Annotated[Scenes, tyro.conf.subcommand("tap-nano", prefix_name=False)]
    | Annotated[CausalScenes, tyro.conf.subcommand("causal-tap-nano", prefix_name=False)]
    | Annotated[MoreScenes, tyro.conf.subcommand("more-tap-nano", prefix_name=False)]
    | Annotated[Kubric, tyro.conf.subcommand("tap-kubric", prefix_name=False)]
    | Annotated[HipData, tyro.conf.subcommand("hip", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model; the same command goes on where a run was stopped."""

    recipe: Recipe

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        weights = self.recipe.train()
        if os.environ.get("RANK", "0") != "0":
            return
        if weights is None:
            print(f"stopped; the same command goes on from {self.recipe.out}")
        else:
            print(f"weights  {weights}")
