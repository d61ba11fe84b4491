"""The settings of a training run, as a frozen config that imports no torch."""

import re
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal

from tapetum.account.config import LedgerConfig
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.reading import is_address

_RESUMABLE = (
    "accumulation activation_checkpointing async_checkpoint checkpoint checkpoint_every checkpoint_folder checkpoint_minutes "
    "device eval_every keep_every keep_last ledger log_every log_to max_minutes parallel prefetch replicas sharing "
    "tensorboard threads weights_to_score workers"
)
RESUMABLE_FIELDS = frozenset(_RESUMABLE.split())
"""Fields that may change when a run resumes: they leave the mathematics of the run as it was.

`accumulation` is among them because the size of a micro-batch is compared in its place (of the joint batch where a task has
one): two processes without accumulation may go on as one process that accumulates two. `parallel`, `device` and `threads` may
change the last bits of a sum, nothing more.
"""
_LATER = "averages clip_each milestones final_weight_decay layer_decay momentum nesterov optimizer patience rules"
LATER_FIELDS = frozenset([*_LATER.split(), "schedule", "trust_coefficient"])
"""Fields that older checkpoints don't know: one that has its default is the same run as without it."""


_COUNTS = "steps batch_size accumulation log_every checkpoint_every keep_last prefetch threads replicas"
_FROM_ZERO = "warmup_steps max_skips workers eval_every patience final_lr max_minutes weight_decay final_weight_decay"


@dataclass(frozen=True, kw_only=True)
class Average:
    """A moving average of a model's weights and floating-point buffers, by name; other buffers are copied."""

    name: str
    """In `StepContext.teachers`, `FitResult.averages`, and of its file in checkpoints."""
    decay: float = 0.999
    """Share of the average that is kept in an update; not used by periodic."""
    schedule: Literal["constant", "rising", "cosine", "periodic"] = "rising"
    """How the decay changes with the number n of updates made: constant; rising, min(decay, (1 + n) / (10 + n)), so that a
    short run is not an average over its initial weights; cosine, from decay to 1 at the end of the run (BYOL, arXiv
    2006.07733, section 3.2); periodic, the average is a copy of the weights, taken anew after every `every` updates."""
    every: int = 1
    """Updates between the copies of periodic."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or self.name in ("model", "optimizer", "state", "manifest"):
            raise BadInput(f"an average is named {self.name!r}; give small letters, digits and _, not model or optimizer")
        check_fields(self, decay="[0, 1)", every="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class ParameterRule:
    """Exceptions for parameters whose names match a pattern."""

    pattern: str
    """Pattern of full names, with * and ?, such as "trunk.*" or "*.bias"."""
    lr_scale: float = 1.0
    """Factor on the learning rate, beside what the task and `layer_decay` say."""
    weight_decay: float | None = None
    """Instead of what the parameter would have; None changes nothing."""
    warmup_steps: int = 0
    """Steps over which their rate rises linearly from the start of the run, on top of what the schedule does: for a part that
    should hardly move before the rest has learned to use it. 0: none."""
    frozen: bool = False
    """They learn nothing. Modules all of whose parameters are frozen stay in eval mode, whatever calls `train()`."""

    def __post_init__(self) -> None:
        check_fields(self, lr_scale="[0, inf)", warmup_steps="[0, inf)", weight_decay="[0, inf)")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of `fit` besides the task.

    >>> TrainConfig(steps=10, batch_size=8, accumulation=2).micro_batch(world_size=2)
    2
    """

    steps: int
    """Optimiser steps of the whole run."""
    batch_size: int
    """Samples per optimiser step, over all processes and all accumulated micro-batches."""
    accumulation: int = 1
    """Micro-batches per process and step; batch_size must divide by accumulation times the number of processes."""
    seed: int = 0
    """Root of all randomness of the run: initial weights, order of data, augmentation, dropout."""

    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    """adamw (arXiv 1711.05101); sgd with momentum; lars (arXiv 1708.03888), where matrices move by a share of their norm."""
    lr: float = 1e-3
    """Learning rate at the end of the warm-up."""
    schedule: Literal["cosine", "linear", "constant", "milestones"] = "cosine"
    """How the rate goes on after the warm-up: cosine or linear to `final_lr`; constant; a tenth at each of `milestones`."""
    milestones: tuple[float, ...] = (2 / 3, 8 / 9)
    """Shares of the run after which the rate is a tenth of what it was, where the schedule is milestones."""
    final_lr: float = 0.0
    """Learning rate at the last step, for cosine and linear."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly to `lr`."""
    layer_decay: float | None = None
    """Factor on the rate for every layer (`Task.layers`) that lies between a parameter and the output (ELECTRA, arXiv
    2003.10555); None: the same rate for all."""
    rules: tuple[ParameterRule, ...] = ()
    """Rates, decay and freezing by names of parameters; the first that matches a name counts."""
    momentum: float = 0.9
    """Momentum of sgd and lars."""
    nesterov: bool = False
    """For sgd and lars: step from where the momentum leads."""
    trust_coefficient: float = 1e-3
    """For lars: the fraction of a matrix's norm by which it moves at lr 1."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's first and second moment."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    weight_decay: float = 0.0
    """Decay of the groups that don't set their own: decoupled in adamw, added to the gradient in sgd and lars."""
    final_weight_decay: float | None = None
    """Weight decay at the last step, to which it goes by a cosine from the first on (DINO, arXiv 2104.14294, from 0.04 to 0.4);
    None: it stays."""
    clip_norm: float | None = 1.0
    """Gradients are scaled down to this global norm; None: never."""
    clip_each: bool = False
    """The norm is that of each parameter's own gradient, which is scaled alone, as in DINO's public code (arXiv 2104.14294)."""
    max_skips: int = 5
    """Steps in a row that may be skipped because of non-finite gradients; one more ends the run."""
    ema_decay: float | None = None
    """Short for one average named ema, of this decay; None: there is none of that name."""
    ema_rising: bool = True
    """The schedule of ema is rising: min(ema_decay, (1 + n) / (10 + n)) after n updates; False: constant."""
    averages: tuple[Average, ...] = ()
    """More averages of the weights, each of its own name."""
    weights_to_score: str = "average"
    """Which weights `Task.evaluate` gets: average, the first of the averages if there is one; model; or an average by name."""

    bf16: bool = False
    """Compute the loss under bfloat16 autocast; weights and optimiser stay float32."""
    compile: bool = False
    """Compile the model's forward with torch.compile."""
    find_unused_parameters: bool = False
    """With several processes: allow parameters that get no gradient in some step (slower)."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: ddp, each holds the whole model; fsdp, each holds its share of weights, optimiser and average."""
    replicas: int = 1
    """With fsdp: groups of processes that hold a whole model in shards each, as the machines of a cluster may (HSDP).

    Weights are gathered within a group, and gradients averaged over the groups. 1: one group of all processes."""
    activation_checkpointing: bool = False
    """Compute the activations of each block (`Task.shards`) anew in the backward pass instead of keeping them: less memory, for
    a third more FLOPs."""
    device: str = "auto"
    """auto (an accelerator if there is one, else cpu), cpu, cuda, cuda:1, xpu, mps."""
    threads: int | None = None
    """Threads of torch on the CPU; None: as torch was found. Bit-for-bit repetition needs the same number."""

    workers: int = 0
    """Processes that make samples; 0: the training process makes them itself. Never changes a result."""
    prefetch: int = 2
    """Micro-batches that each worker makes ahead. Never changes a result."""

    log_every: int = 1
    """Steps between lines of log.jsonl."""
    tensorboard: bool = True
    """Also write TensorBoard event files, when tensorboardX is installed."""
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Loggers that get every line of log.jsonl too, and whose packages must be there (`tapetum.train.loggers`)."""
    eval_every: int = 0
    """Steps between evaluations, which also happen after the last step; 0: never."""
    patience: int = 0
    """Evaluations after which the run ends if none of them was better than an earlier one (`Task.watched`); 0: it makes all
    steps."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is also written at the end and on a stop."""
    checkpoint_minutes: float | None = 2.0
    """Minutes after which there is a checkpoint between those by step; None: only those. It waits where saving would take more
    than a twentieth of the time."""
    checkpoint: Literal["whole", "sharded"] = "whole"
    """whole: the main process gathers and writes all; sharded: each process writes its part, and may go on meanwhile."""
    async_checkpoint: bool = False
    """With sharded: write beside the training, from a copy of the weights on the host."""
    checkpoint_folder: str | None = None
    """Folder for checkpoints, which all machines see. None: the folder checkpoints of the run."""
    keep_last: int = 2
    """Checkpoints kept, the newest ones."""
    max_minutes: float | None = None
    """Wall-clock minutes after which this call saves a checkpoint and stops; run it again to go on."""
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    """How energy and CO2 are estimated."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            **dict.fromkeys(_COUNTS.split(), "[1, inf)"),
            **dict.fromkeys(_FROM_ZERO.split(), "[0, inf)"),
            **dict.fromkeys(("lr", "trust_coefficient", "clip_norm", "checkpoint_minutes"), "(0, inf)"),
            **dict.fromkeys(("momentum", "ema_decay"), "[0, 1)"),
            seed="[0, 9223372036854775807]",
            milestones="(0, 1)",
            betas="[0, 1)",
            eps="(0, inf)",
            layer_decay="(0, 1]",
        )
        if self.parallel != "fsdp" and self.replicas != 1:
            raise BadInput(f"replicas is {self.replicas}, which is for weights in shards; give parallel fsdp with it")
        if self.async_checkpoint and self.checkpoint != "sharded":
            raise BadInput("async_checkpoint is for checkpoints in parts; give checkpoint sharded with it")
        if is_address(self.checkpoint_folder):
            raise BadInput(f"checkpoint_folder is {self.checkpoint_folder}; give a folder of this machine")
        if self.workers > 64:
            from tapetum.core.threads import check_workers

            check_workers(self.workers)
        if self.final_lr > self.lr:
            raise BadInput(
                f"lr is {self.lr} and final_lr {self.final_lr}; the learning rate must not end above where it begins"
            )
        if self.warmup_steps >= self.steps and self.warmup_steps:
            raise BadInput(f"warmup_steps is {self.warmup_steps} of {self.steps} steps; the warm-up must end before the run")
        if self.nesterov and not self.momentum:
            raise BadInput(f"momentum is {self.momentum}; nesterov needs one above 0")
        names = [average.name for average in self.every_average]
        if len(set(names)) < len(names):
            raise BadInput(
                f"averages are named {', '.join(names)}; give each a name of its own (ema_decay makes one named ema)"
            )
        if self.weights_to_score not in ("average", "model", *names):
            raise BadInput(f"weights_to_score is {self.weights_to_score!r}; it must be average, model or one of {names}")

    @property
    def every_average(self) -> tuple[Average, ...]:
        """List all averages, starting with that of `ema_decay`."""
        if self.ema_decay is None:
            return self.averages
        short = Average(name="ema", decay=self.ema_decay, schedule="rising" if self.ema_rising else "constant")
        return (short, *self.averages)

    def of_phase(self, name: str) -> "TrainConfig":
        """Make the config of one of several phases: if `checkpoint_folder` is set, its checkpoints go into a subfolder.

        >>> TrainConfig(steps=1, batch_size=1, checkpoint="sharded", checkpoint_folder="/a/b/").of_phase("c").checkpoint_folder
        '/a/b/c'
        """
        folder = self.checkpoint_folder
        return self if folder is None else replace(self, checkpoint_folder=f"{folder.rstrip('/')}/{name}")

    @property
    def scored_average(self) -> str | None:
        """Name the average whose weights are scored; None for the model's own."""
        if self.weights_to_score == "model" or not self.every_average:
            return None
        return self.every_average[0].name if self.weights_to_score == "average" else self.weights_to_score

    def micro_batch(self, world_size: int) -> int:
        """Count the samples in one micro-batch of one process; BadInput if batch_size is not divisible."""
        parts = world_size * self.accumulation
        if self.batch_size % parts:
            raise BadInput(
                f"batch_size {self.batch_size} does not divide into {world_size} processes x {self.accumulation} "
                f"accumulated micro-batches; choose a multiple of {parts}"
            )
        return self.batch_size // parts


def default_of(name: str) -> Any:
    known = next(entry for entry in fields(TrainConfig) if entry.name == name)
    return known.default if known.default is not MISSING else None
