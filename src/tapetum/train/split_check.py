"""Whether several processes give the same loss as one: computed both ways on a few examples before the first step.

    one process, all examples      loss([x0 x1 x2 x3])                         gathering is the identity
    two, each its own              mean of loss([x0 x1]) and loss([x2 x3])     gathering gathers

A task with `joint_batch` promises that both are equal. A task that compares examples (negatives, variances, batch norms)
without `tapetum.train.gather` breaks the promise without an error.
"""

import math
from contextlib import nullcontext
from typing import Any

import torch

from tapetum.core.devices import leave_out_checks, to_device
from tapetum.data.samples import LOSS, mix_seed
from tapetum.train.accumulation import GradientAccumulation
from tapetum.train.launch import say
from tapetum.train.process_group import alone
from tapetum.train.stream import make_batch

_EACH = 8, 4
"""Examples of a process that are tried: few, for then what a loss lacks weighs most."""
_MOST = 4
"""Micro-batches that all these examples are at most; without gradients they take less memory than one with."""
_TOLERANCE, _TOLERANCE_BF16 = 5e-3, 3e-2
"""Differences that rounding makes at most, as a share of the loss, which counts as 0.1 or more."""


def warn_if_split_matters(passes: GradientAccumulation, step: int) -> None:
    """Warn if the loss depends on how examples are divided among the processes; all of them must call this alike.

    Changes nothing: no gradient is computed, buffers are restored, and samples and losses are reseeded each time. There is
    no warning for a loss that depends on random numbers, or that fails on so few examples.
    """
    config, processes, task = passes.config, passes.processes, passes.objective.task
    each = _examples_each(config.micro_batch(processes.size), processes.size)
    if processes.size == 1 or not task.joint_batch or not each:
        return
    numbers = range(step * config.batch_size, step * config.batch_size + each * processes.size)
    own = numbers[processes.rank * each :][:each]
    seed = mix_seed(config.seed, LOSS, numbers[0])
    batches: list[Any] = []

    def mean_loss(name: str, kind: int, seed: int) -> float:
        """Average the processes' losses: of all examples (0), each process as if it were alone, or of its own examples (1)."""
        try:
            batch = to_device(batches[kind][name] if name else batches[kind], processes.device)
            with passes.objective.discarding(), nullcontext() if kind else alone():
                value = float(passes.objective("loss", batch, step, seed)[0])
        except Exception:  # what is wrong, the first step says
            value = math.nan
        return processes.mean({"loss": value})["loss"]

    def differ(one: float, other: float) -> bool:
        return abs(one - other) > (_TOLERANCE_BF16 if config.bf16 else _TOLERANCE) * max(abs(one), abs(other), 0.1)

    with torch.no_grad(), leave_out_checks():
        try:
            batches += [make_batch(task, config, each) for each in (numbers, own)]
        except Exception:
            batches.clear()
        if processes.mean({"made": float(len(batches))})["made"] < 2:
            return
        for name in passes.names:
            joint = mean_loss(name, 0, seed)
            if not math.isfinite(joint) or not differ(joint, divided := mean_loss(name, 1, seed)):
                continue
            if differ(joint, mean_loss(name, 0, seed + 1)):  # by what is drawn
                continue
            if processes.main:
                what = f"the loss {name} of {type(task).__name__}" if name else f"the loss of {type(task).__name__}"
                say(
                    f"warning: {what} depends on how a batch is divided: of {len(numbers)} examples it is {joint:.4g} in one "
                    f"process and {divided:.4g} in {processes.size}, so this run is not that of one process; gather what it "
                    "compares across examples by tapetum.train.gather.all_gather"
                )


def _examples_each(micro_batch: int, size: int) -> int:
    """Choose the examples per process: a divisor of its micro-batch, in case an example's place matters; 0: none.

    >>> [_examples_each(*case) for case in ((256, 2), (12, 2), (6, 2), (64, 64), (32, 64), (1, 2))]
    [8, 4, 6, 4, 0, 0]
    """
    fitting = (each for each in (*_EACH, micro_batch) if micro_batch % each == 0)
    return next((each for each in fitting if each > 1 and each * size <= _MOST * micro_batch), 0)
