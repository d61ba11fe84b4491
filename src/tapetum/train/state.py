"""State of a training run: model, optimisers, averages and step; saved to a checkpoint and restored from it.

`Saver` has the checkpoints of a run as the loop sees them: whole or in parts, written while training waits or in the
background.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.reading import read_json
from tapetum.data.samples import WEIGHTS, mix_seed, seed_globals
from tapetum.train import checkpoint, launch
from tapetum.train.checkpoint import CheckpointStore, folder_name
from tapetum.train.config import LATER_FIELDS, RESUMABLE_FIELDS, Average, TrainConfig, default_of
from tapetum.train.launch import checkpoint_parent
from tapetum.train.optim import (
    build_optimizer,
    freeze_by_rules,
    holds_batch_statistics,
    optimizer_tensors,
    restore_optimizer,
    ruled_groups,
)
from tapetum.train.process_group import ProcessGroup, is_sharded, shard_of
from tapetum.train.task import JointTask, Task


class MovingAverage:
    """Average of every floating-point entry of the state dict, as configured; other entries (counters) are copied."""

    def __init__(self, model: nn.Module, config: Average, steps: int):
        """Start with a copy of the weights; `steps` is the length of the run, which sets the rise of the cosine schedule."""
        self.config, self.steps = config, steps
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @property
    def decay(self) -> float:
        """Compute the weight of the old average in the next update.

        >>> average = MovingAverage(nn.Linear(1, 1), Average(name="slow", decay=0.9, schedule="cosine"), steps=101)
        >>> average.updates = 50
        >>> round(average.decay, 6)
        0.95
        """
        config, n = self.config, self.updates
        if config.schedule == "rising":
            return min(config.decay, (1 + n) / (10 + n))
        if config.schedule == "cosine":
            return 1 - (1 - config.decay) * (math.cos(math.pi * n / max(self.steps - 1, 1)) + 1) / 2
        if config.schedule == "periodic":
            return 0.0 if (n + 1) % config.every == 0 else 1.0
        return config.decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model by one step."""
        decay = self.decay
        self.updates += 1
        if self.config.schedule == "periodic" and decay == 1:
            return
        for name, value in model.state_dict().items():
            if decay > 0 and value.is_floating_point():
                self.average[name].lerp_(value, 1.0 - decay)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Load the averaged weights into the model inside the block; afterwards its own weights are restored bit for bit."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(own)


@dataclass
class State:
    """The run after `step` steps."""

    model: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]
    """One for each of `Task.parts`, or one named ''."""
    averages: dict[str, MovingAverage]
    step: int = 0
    skipped: int = 0
    """Steps skipped for non-finite gradients, in all."""
    skipped_in_a_row: int = 0
    """Steps skipped just now, one after the other."""
    seconds: float = 0.0
    """Wall-clock seconds of the steps that led here."""
    watched: list[float] = field(default_factory=list)
    """The score that decides when the run is over, at each evaluation; greater is better."""

    def is_finished(self, config: TrainConfig) -> bool:
        """Check whether the run is over: all steps are made, or the last `patience` evaluations were no better than before."""
        behind = len(self.watched) - 1 - self.watched.index(max(self.watched)) if self.watched else 0
        return self.step == config.steps or 0 < config.patience <= behind


def new_model(task: Task, config: TrainConfig, device: torch.device) -> nn.Module:
    """Make the model in its state before the run's first step."""
    seed_globals(mix_seed(config.seed, WEIGHTS, 0))
    model = task.model()
    if not any(parameter.is_meta for parameter in model.parameters()):
        model = model.to(device)
    freeze_by_rules(model, config.rules)
    return model.train()


def new_state(task: Task, config: TrainConfig, model: nn.Module) -> State:
    """Build the state of a run with its new model, which may already be sharded."""
    groups = ruled_groups(task.parameter_groups(model), model, config, task.layers(model) if config.layer_decay else ())
    halves = ((group, sharded) for group in groups for sharded in (True, False))  # no kernel updates both kinds together
    parts = ({**group, "params": [p for p in group["params"] if is_sharded(p) == sharded]} for group, sharded in halves)
    groups = [part for part in parts if part["params"]]
    optimizers = {name: build_optimizer(groups, config, decay=number == 0) for number, name in enumerate(task.parts or ("",))}
    return State(model, optimizers, {each.name: MovingAverage(model, each, config.steps) for each in config.every_average})


def identity(task: Task, config: TrainConfig, world_size: int, model: nn.Module) -> dict[str, Any]:
    """List the settings that identify a run: those that must not change between a checkpoint and its resumption.

    For a task with a joint batch, these include the number of examples that the loss compares; and the micro-batch, if the
    model has statistics per process.
    """
    settings = {key: value for key, value in asdict(config).items() if key not in RESUMABLE_FIELDS}
    for name in LATER_FIELDS & settings.keys():
        if getattr(config, name) == default_of(name):
            del settings[name]
    micro_batch = config.micro_batch(world_size)
    if task.joint_batch:
        settings["joint_batch"] = config.batch_size if isinstance(task, JointTask) else micro_batch * world_size
    if not task.joint_batch or holds_batch_statistics(model, but_joint=True):
        settings["micro_batch"] = micro_batch
    return json.loads(json.dumps({"config": settings, "task": dict(task.describe())}))


def tensors_of(state: State) -> dict[str, Mapping[str, Tensor]]:
    """Collect the tensors of a checkpoint, by file and name; of sharded ones, this process's rows."""
    optimizers = {_file(name): optimizer_tensors(optimizer, state.model) for name, optimizer in state.optimizers.items()}
    averages = {name: average.average for name, average in state.averages.items()}
    return {"model": state.model.state_dict(), **optimizers, **averages}


def check_learned(state: State) -> None:
    """Report how many steps of a finished run were skipped. Raises TapetumError if all were: it learned nothing."""
    skipped, last = state.skipped, state.skipped_in_a_row
    if skipped == state.step:
        raise TapetumError(
            f"gradients were not finite in any of the {state.step} steps, so nothing was learned; lower the learning rate, or "
            "look for a log or division by zero in the loss, and train in another folder"
        )
    if skipped and launch.is_main():
        which = f", in the last {last} among them" if last else ""
        launch.say(f"warning: gradients were not finite in {skipped} of {state.step} steps{which}; those moved no weights")


def numbers_of(state: State, run: Mapping[str, Any], log_position: int) -> dict[str, Any]:
    """Collect the contents of a checkpoint other than tensors; `run` is the run's `identity`."""
    numbers: dict[str, Any] = {
        "step": state.step,
        "skipped": state.skipped,
        "skipped_in_a_row": state.skipped_in_a_row,
        "seconds": state.seconds,
        "watched": state.watched,
        "log_position": log_position,
        "run": run,
    }
    return numbers | {f"{name}_updates": average.updates for name, average in state.averages.items()}


def restore(state: State, path: Path, run: Mapping[str, Any]) -> int:
    """Load the checkpoint into a new state; returns the log's position. BadInput if it belongs to another run.

    A checkpoint in parts must have been verified (`checkpoint.latest`).
    """
    numbers = read_json(path / checkpoint.STATE)
    _check_same_run(path, numbers["run"], run)
    tensors = _load_sharded(state, path) if checkpoint.is_sharded(path) else checkpoint.load(path)[0]
    own = state.model.state_dict()
    state.model.load_state_dict({name: shard_of(value, own.get(name, value)) for name, value in tensors["model"].items()})
    for name, optimizer in state.optimizers.items():
        restore_optimizer(optimizer, state.model, tensors.get(_file(name), {}))
    for name, average in state.averages.items():
        for key, value in average.average.items():
            value.copy_(shard_of(tensors[name][key], value))
        average.updates = numbers[f"{name}_updates"]
    for name in ("step", "skipped", "skipped_in_a_row", "seconds"):
        setattr(state, name, numbers[name])
    state.watched = numbers.get("watched", [])  # older checkpoints have none
    return numbers["log_position"]


def _load_sharded(state: State, path: Path) -> dict[str, dict[str, Tensor]]:
    """Tensors of a checkpoint in parts; of sharded ones, this process's rows. Weights and averages are read into the state."""
    from tapetum.train.sharded import load

    parameters = dict(state.model.named_parameters())
    layouts = {f"{file}/{name}": value for file, content in tensors_of(state).items() for name, value in content.items()}

    def like(name: str, size: torch.Size) -> Tensor:
        file, _, rest = name.partition("/")
        if name in layouts and layouts[name].shape == size:
            return layouts[name].detach()  # read in place: a second copy of weights and averages might not fit
        parameter = parameters.get(rest.rpartition("/")[0]) if file.startswith("optimizer") else None
        return torch.empty(size) if parameter is None or parameter.shape != size else torch.empty_like(parameter)

    return load(path, like)


def _file(part: str) -> str:
    return f"optimizer-{part}" if part else "optimizer"


def _check_same_run(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, now = _flat(old), _flat(new)
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        says = ", ".join(f"{key} {before.get(key)!r} (now {now.get(key)!r})" for key in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise BadInput(f"{path.name} is of a run with {says}{more}; resume with the old settings, or train in another folder")


def continued_config(
    path: Path, task: Task, config: TrainConfig, processes: ProcessGroup, model: nn.Module
) -> tuple[TrainConfig, dict[str, Any]]:
    """Find config and identity to continue a checkpoint's run, whose micro-batches stay as they were.

    Another number of processes accumulates more or fewer of them.
    """
    before = _flat(read_json(path / checkpoint.STATE)["run"])
    joint = None if isinstance(task, JointTask) else before.get("joint_batch")
    at_once = joint or before.get("micro_batch", 0) * processes.size  # 0: all micro-batches share one loss
    parts, rest = divmod(config.batch_size, at_once) if at_once else (config.accumulation, 0)
    if before.get("batch_size") == config.batch_size and parts and not rest and parts != config.accumulation:
        config = replace(config, accumulation=parts)
        if processes.main:
            launch.say(f"accumulates {parts} micro-batches in each of {processes.size} processes, as batch_size stays")
    return config, identity(task, config, processes.size, model)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = key if prefix in ("", "config.") else f"{prefix}{key}"
        flat |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {name: value}
    return flat


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set the model to eval mode without gradients inside the block; afterwards every module's mode is restored."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]


_SAVING_SHARE = 20
"""Checkpoints by time lie at least so many times as far apart as training waits for one."""


class Saver:
    """Finds the newest checkpoint of a run and saves new ones; all processes must call it alike."""

    def __init__(self, config: TrainConfig, out: Path, processes: ProcessGroup):
        self.config, self.processes = config, processes
        self.store = CheckpointStore(checkpoint_parent(out, config.checkpoint_folder))
        self.newest: Path | None = self.store.latest(processes)
        """The newest checkpoint that counts; one that is being saved does not yet."""
        self._sharded = None
        if config.checkpoint == "sharded":
            from tapetum.train.sharded import ShardedSaver  # seconds of imports, which only its runs should pay

            self._sharded = ShardedSaver(self.store, processes, config.async_checkpoint)
        self._saved, self._waited = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Check whether the configured minutes have passed since the last checkpoint, in the main process."""
        minutes = self.config.checkpoint_minutes
        if minutes is None or not self.processes.main:
            return False
        return time.monotonic() - self._saved >= max(60 * minutes, _SAVING_SHARE * self._waited)

    @property
    def failed(self) -> bool:
        """Check whether this process knows that the save in progress has failed; `wait` says why."""
        return self._sharded is not None and self._sharded.failed

    def save(self, state: State, run: dict[str, Any], log_position: int) -> None:
        """Save a checkpoint of the current state, after the previous one is written; BadInput if either cannot be."""
        began = time.monotonic()
        self.wait()
        numbers = numbers_of(state, run, log_position)
        if self._sharded is not None:
            tensors = tensors_of(state).items()
            flat = {f"{file}/{name}": value.detach() for file, content in tensors for name, value in content.items()}
            self._sharded.begin(state.step, flat, numbers, self._prune)
            if not self.config.async_checkpoint:
                self.wait()
        else:
            self.store.save(state.step, tensors_of(state), numbers, self.processes)
            if self.processes.main:
                self._prune()
            self.newest = self.store.parent / folder_name(state.step)
        self._saved = time.monotonic()
        self._waited = self._saved - began

    def wait(self) -> None:
        """Wait until the save in progress is written; BadInput if it cannot be."""
        step = self._sharded.wait() if self._sharded is not None else None
        if step is not None:
            self.newest = self.store.parent / folder_name(step)

    def close(self) -> None:
        """End the background writing; an error already being raised is not hidden by one from the writing."""
        if self._sharded is not None:
            self._sharded.close()

    def _prune(self) -> None:
        self.store.prune(self.config.keep_last)
