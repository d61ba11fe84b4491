"""Runs of several phases, such as short clips before long ones; each starts from the averaged weights of the previous one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tapetum.train.config import TrainConfig
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.loop import fit
from tapetum.train.process_group import join_process_group
from tapetum.train.task import Task


def phase_config(phase: Any, launch: Launch, seed: int, **settings: Any) -> TrainConfig:
    """Make the config of one phase, a recipe with `micro_batch`; `settings` override the usual values for small trackers."""
    usual: dict[str, Any] = {
        "final_lr": phase.lr / 100,
        "warmup_steps": min(100, phase.steps // 10),
        "betas": (0.9, 0.95),
        "weight_decay": 1e-2,
        "clip_norm": 1.0,
        "ema_decay": max(0.0, min(0.998, 1 - 5 / max(1, phase.steps))),
        "prefetch": 4,
        "log_every": 5,
        "eval_every": 250,
        "checkpoint_every": 100,
    }
    return train_config(phase, launch, micro_batch=phase.micro_batch, seed=seed, **{**usual, **settings})


def fit_phases(
    phases: Sequence[Any], task_of: Callable[[Any, Path | None], Task], launch: Launch, seed: int, **settings: Any
) -> Path | None:
    """Train through all phases in the folder `launch.out`; the same call continues after a stop.

    Each phase is a recipe (`train_config`) with `name`, that of its folder, `micro_batch`, `steps` and `lr`. `task_of` makes
    the task of a phase from it and the file of the previous phase's averaged weights (None for the first).
    Returns the file of the last averaged weights, or None if work remains.
    """
    configs = [phase_config(phase, launch, seed, **settings) for phase in phases]  # refused before anything is done
    start: Path | None = None
    with join_process_group(launch.device):  # once for all phases: torchrun's processes cannot meet a second time
        for phase, config in zip(phases, configs, strict=True):
            result = fit(task_of(phase, start), config.of_phase(phase.name), launch.out / phase.name, began=launch.began)
            if result.state == "stopped":
                return None
            start = result.weights / "ema.safetensors"
    return start
