"""The settings of a training run, as a frozen config that imports no torch."""

import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from tapetum.account.config import LedgerConfig
from tapetum.core.errors import BadInput
from tapetum.core.workers import check_workers
from tapetum.train import launch

RESUMABLE_FIELDS = frozenset(
    {
        "accumulation",
        "checkpoint_every",
        "checkpoint_minutes",
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
        "weights_to_score",
        "workers",
    }
)
"""Fields that may change when a run resumes: they leave the mathematics of the run as it was.

`accumulation` is among them because the size of a micro-batch is compared in its place (of the joint batch where a task has
one): two processes without accumulation may go on as one process that accumulates two. `parallel`, `device` and `threads` may
change the last bits of a sum, nothing more.
"""
LATER_FIELDS = frozenset(
    {
        "averages",
        "cooldown_steps",
        "drops",
        "final_weight_decay",
        "layer_decay",
        "momentum",
        "nesterov",
        "optimizer",
        "rules",
        "schedule",
        "trust",
    }
)
"""Fields that older checkpoints don't know: one that has its default is the same run as without it."""


@dataclass(frozen=True, kw_only=True)
class Average:
    """A moving average of a model's weights and floating-point buffers, by name; other buffers are copied."""

    name: str
    """In `Moment.teachers`, `FitResult.averages`, and of its file in checkpoints."""
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
            raise BadInput(f"an average is named {self.name!r}; wanted small letters, digits and _, not model or optimizer")
        _check_choice(self, "schedule")
        if not 0 <= self.decay < 1:
            raise BadInput(f"decay of the average {self.name} is {self.decay}; it must be in [0, 1), such as 0.999")
        if self.every < 1:
            raise BadInput(f"every of the average {self.name} is {self.every}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class ParameterRule:
    """What parameters whose names match a pattern do otherwise than the rest."""

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
        if not self.lr_scale >= 0:
            raise BadInput(f"lr_scale of the rule for {self.pattern!r} is {self.lr_scale}; it must be 0 or more")
        if self.warmup_steps < 0:
            raise BadInput(f"warmup_steps of the rule for {self.pattern!r} is {self.warmup_steps}; it must be 0 or more")
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise BadInput(
                f"weight_decay of the rule for {self.pattern!r} is {self.weight_decay}; it must be 0 or more, or None"
            )


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

    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    """adamw (arXiv 1711.05101); sgd with momentum; lars (arXiv 1708.03888), where matrices move by a share of their norm."""
    lr: float = 1e-3
    """Learning rate at the end of the warm-up."""
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt", "drops"] = "cosine"
    """How the rate goes on after the warm-up: cosine or linear to `final_lr`; constant; inverse_sqrt, lr * sqrt(warmup_steps /
    steps made); drops, a tenth at each of `drops`. Constant and inverse_sqrt may end with a cool-down."""
    drops: tuple[float, ...] = (2 / 3, 8 / 9)
    """Shares of the run after which the rate is a tenth of what it was, where the schedule is drops."""
    final_lr: float = 0.0
    """Learning rate at the last step, where the schedule or a cool-down leads there."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly to `lr`."""
    cooldown_steps: int = 0
    """Last steps over which constant and inverse_sqrt fall linearly to `final_lr`; 0: they don't."""
    layer_decay: float | None = None
    """Factor on the rate for every layer (`Task.layers`) that lies between a parameter and the output (ELECTRA, arXiv
    2003.10555); None: the same rate for all."""
    rules: tuple[ParameterRule, ...] = ()
    """Rates, decay and freezing by names of parameters; the first that matches a name counts."""
    momentum: float = 0.9
    """Momentum of sgd and lars."""
    nesterov: bool = False
    """For sgd and lars: step from where the momentum leads."""
    trust: float = 1e-3
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
    checkpoint_minutes: float | None = 2.0
    """Minutes after which there is a checkpoint between those by step; None: only those. It waits where saving would take more
    than a twentieth of the time."""
    keep_last: int = 2
    """Checkpoints kept, the newest ones."""
    keep_every: int = 0
    """Checkpoints at multiples of this step are kept as well; 0: none."""
    max_minutes: float | None = None
    """Wall-clock minutes after which this call saves a checkpoint and stops; run it again to go on."""
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    """How energy and CO2 are estimated."""

    def __post_init__(self) -> None:
        at_least = dict.fromkeys(("steps", "batch_size", "accumulation", "log_every", "checkpoint_every", "keep_last"), 1)
        from_zero = "seed", "warmup_steps", "cooldown_steps", "max_skips", "workers", "eval_every", "keep_every"
        at_least |= dict.fromkeys(from_zero, 0)
        check_least(self, **at_least, prefetch=1)
        check_workers(self.workers)
        if self.seed >= 1 << 63:
            raise BadInput(f"seed is {self.seed}; it must be below 2 ** 63")
        for name in ("parallel", "optimizer", "schedule"):
            _check_choice(self, name)
        if self.threads is not None and self.threads < 1:
            raise BadInput(f"threads is {self.threads}; it must be 1 or more, or None")
        if not self.lr > 0 or not 0 <= self.final_lr <= self.lr:
            raise BadInput(f"lr is {self.lr} and final_lr {self.final_lr}; wanted 0 <= final_lr <= lr and lr above 0")
        if self.warmup_steps >= self.steps and self.warmup_steps:
            raise BadInput(f"warmup_steps is {self.warmup_steps} of {self.steps} steps; the warm-up must end before the run")
        self._check_optimizer()
        self._check_averages()
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise BadInput(f"clip_norm is {self.clip_norm}; it must be above 0, or None to never clip")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise BadInput(f"checkpoint_minutes is {self.checkpoint_minutes}; it must be above 0, or None for none by time")
        if self.max_minutes is not None and not self.max_minutes >= 0:
            raise BadInput(f"max_minutes is {self.max_minutes}; it must be 0 or more, or None for no limit")

    def _check_optimizer(self) -> None:
        if self.cooldown_steps and self.schedule not in ("constant", "inverse_sqrt"):
            raise BadInput(
                f"schedule is {self.schedule}, which falls by itself; cooldown_steps is for constant and inverse_sqrt"
            )
        if self.cooldown_steps + self.warmup_steps > self.steps:
            raise BadInput(
                f"warmup_steps {self.warmup_steps} and cooldown_steps {self.cooldown_steps} are more than {self.steps} steps"
            )
        if self.schedule == "inverse_sqrt" and not self.warmup_steps:
            raise BadInput("schedule is inverse_sqrt, whose fall is measured by the warm-up; give warmup_steps, such as 1000")
        if not all(0 < share < 1 for share in self.drops):
            raise BadInput(f"drops are {self.drops}; give shares of the run, above 0 and below 1")
        if not 0 <= self.momentum < 1 or (self.nesterov and not self.momentum):
            raise BadInput(f"momentum is {self.momentum}; it must be in [0, 1), and above 0 with nesterov")
        if not self.trust > 0:
            raise BadInput(f"trust is {self.trust}; it must be above 0, such as 0.001")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise BadInput(f"layer_decay is {self.layer_decay}; it must be above 0 and at most 1, such as 0.75, or None")
        if self.weight_decay < 0 or (self.final_weight_decay or 0) < 0:
            raise BadInput(
                f"weight_decay is {self.weight_decay} and final_weight_decay {self.final_weight_decay}; wanted 0 or more"
            )

    def _check_averages(self) -> None:
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise BadInput(f"ema_decay is {self.ema_decay}; it must be in [0, 1), such as 0.999, or None")
        names = [average.name for average in self.every_average]
        if len(set(names)) < len(names):
            raise BadInput(
                f"averages are named {', '.join(names)}; give each a name of its own (ema_decay makes one named ema)"
            )
        if self.weights_to_score not in ("average", "model", *names):
            raise BadInput(f"weights_to_score is {self.weights_to_score!r}; wanted average, model or one of {names}")

    @property
    def every_average(self) -> tuple[Average, ...]:
        """List all averages, that of `ema_decay` first."""
        if self.ema_decay is None:
            return self.averages
        short = Average(name="ema", decay=self.ema_decay, schedule="rising" if self.ema_rising else "constant")
        return (short, *self.averages)

    @property
    def scored_average(self) -> str | None:
        """Name the average whose weights are scored; None for the model's own."""
        if self.weights_to_score == "model" or not self.every_average:
            return None
        return self.every_average[0].name if self.weights_to_score == "average" else self.weights_to_score

    def micro_batch(self, world_size: int) -> int:
        """Count the samples in one micro-batch of one process; BadInput where batch_size does not divide."""
        parts = world_size * self.accumulation
        if self.batch_size % parts:
            raise BadInput(
                f"batch_size {self.batch_size} does not divide into {world_size} processes x {self.accumulation} "
                f"accumulated micro-batches; choose a multiple of {parts}"
            )
        return self.batch_size // parts


def check_least(settings: Any, **least: int) -> None:
    """Raise `BadInput` where a number of `settings` is below its least value; None is a default and passes.

    >>> check_least(TrainConfig(steps=1, batch_size=1), seed=1)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: seed is 0; it must be 1 or more
    """
    for name, value in least.items():
        found = getattr(settings, name)
        if found is not None and found < value:
            raise BadInput(f"{name} is {found}; it must be {value} or more")


def accumulation(batch_size: int, micro_batch: int) -> int:
    """Count the micro-batches that each of torchrun's processes must accumulate."""
    return max(1, batch_size // (micro_batch * launch.world_size()))


def default_of(name: str) -> Any:
    """Give a field's default in `TrainConfig`."""
    known = next(entry for entry in fields(TrainConfig) if entry.name == name)
    return known.default if known.default is not MISSING else None


def _check_choice(config: Any, name: str) -> None:
    """Refuse a value that the field's Literal does not have."""
    choices = get_args(type(config).__dataclass_fields__[name].type)
    if getattr(config, name) not in choices:
        raise BadInput(f"{name} is {getattr(config, name)!r}; wanted {', '.join(choices[:-1])} or {choices[-1]}")
