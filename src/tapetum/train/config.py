"""The settings of a training run, as a frozen config that imports no torch."""

import os
from dataclasses import dataclass, field
from typing import Literal

from tapetum.account.config import LedgerConfig
from tapetum.errors import BadInput

HARMLESS = frozenset(
    {
        "accumulation",
        "checkpoint_every",
        "device",
        "eval_every",
        "keep_every",
        "keep_last",
        "ledger",
        "log_every",
        "max_minutes",
        "parallel",
        "prefetch",
        "tensorboard",
        "threads",
        "workers",
    }
)
"""Fields that may change when a run resumes: they leave the mathematics of the run as it was.

`accumulation` is among them because the size of a micro-batch is compared in its place: two processes without accumulation
may go on as one process that accumulates two. `parallel`, `device` and `threads` may change the last bits of a sum, nothing
more.
"""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything `fit` needs to know besides the task.

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

    lr: float = 1e-3
    """Learning rate at the end of the warm-up."""
    final_lr: float = 0.0
    """Learning rate at the last step, the floor of the cosine."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly to `lr`."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's first and second moment."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    weight_decay: float = 0.0
    """Decoupled weight decay, for the parameter groups that don't set their own."""
    clip_norm: float | None = 1.0
    """Gradients are scaled down to this global norm; None: never."""
    max_skips: int = 5
    """Steps in a row that may be skipped because of non-finite gradients; one more ends the run."""
    ema_decay: float | None = None
    """Decay of the moving average of the weights; None: no average is kept."""

    ema_rising: bool = True
    """The average's decay rises with its updates n as min(ema_decay, (1 + n) / (10 + n)); False: it is ema_decay at once."""

    bf16: bool = False
    """Compute the loss under bfloat16 autocast; weights and optimiser stay float32."""
    compile: bool = False
    """Compile the model's forward with torch.compile."""
    find_unused_parameters: bool = False
    """With several processes: allow parameters that get no gradient in some step (slower)."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: ddp, each holds the whole model; fsdp, each holds its share of weights, optimiser and average."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, mps."""
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
    eval_every: int = 0
    """Steps between evaluations, which also happen after the last step; 0: never."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is also written at the end and on a stop."""
    keep_last: int = 2
    """Checkpoints kept, the newest ones."""
    keep_every: int = 0
    """Checkpoints at multiples of this step are kept as well; 0: none."""
    max_minutes: float | None = None
    """Wall-clock minutes after which this call saves a checkpoint and stops; run it again to go on."""
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    """How energy and CO2 are estimated."""

    def __post_init__(self) -> None:
        at_least = {
            "steps": 1,
            "batch_size": 1,
            "accumulation": 1,
            "log_every": 1,
            "checkpoint_every": 1,
            "keep_last": 1,
        }
        at_least |= {"seed": 0, "warmup_steps": 0, "max_skips": 0, "workers": 0, "eval_every": 0, "keep_every": 0}
        for name, least in {**at_least, "prefetch": 1}.items():
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be {least} or more")
        if self.parallel not in ("ddp", "fsdp"):
            raise BadInput(f"parallel is {self.parallel!r}; wanted ddp or fsdp")
        if self.threads is not None and self.threads < 1:
            raise BadInput(f"threads is {self.threads}; it must be 1 or more, or None")
        if not self.lr > 0 or not 0 <= self.final_lr <= self.lr:
            raise BadInput(f"lr is {self.lr} and final_lr {self.final_lr}; wanted 0 <= final_lr <= lr and lr above 0")
        if self.warmup_steps >= self.steps and self.warmup_steps:
            raise BadInput(f"warmup_steps is {self.warmup_steps} of {self.steps} steps; the warm-up must end before the run")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise BadInput(f"ema_decay is {self.ema_decay}; it must be in [0, 1), such as 0.999, or None")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise BadInput(f"clip_norm is {self.clip_norm}; it must be above 0, or None to never clip")
        if self.max_minutes is not None and not self.max_minutes >= 0:
            raise BadInput(f"max_minutes is {self.max_minutes}; it must be 0 or more, or None for no limit")

    def micro_batch(self, world_size: int) -> int:
        """Samples in one micro-batch of one process; BadInput where batch_size does not divide."""
        parts = world_size * self.accumulation
        if self.batch_size % parts:
            raise BadInput(
                f"batch_size {self.batch_size} does not divide into {world_size} processes x {self.accumulation} "
                f"accumulated micro-batches; choose a multiple of {parts}"
            )
        return self.batch_size // parts


def accumulation(batch_size: int, micro_batch: int) -> int:
    """Micro-batches that each of torchrun's processes accumulates."""
    return max(1, batch_size // (micro_batch * int(os.environ.get("WORLD_SIZE", "1"))))
