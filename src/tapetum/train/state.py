"""All that a run is at one moment, and its way into a checkpoint and back."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.data.samples import WEIGHTS, mix_seed, seed_globals
from tapetum.errors import BadInput
from tapetum.train import checkpoint
from tapetum.train.config import HARMLESS, TrainConfig
from tapetum.train.ema import Ema
from tapetum.train.optim import build_optimizer, optimizer_tensors, restore_optimizer
from tapetum.train.shares import share_of, whole
from tapetum.train.task import Task
from tapetum.train.world import World


@dataclass
class State:
    """The run after `step` steps."""

    model: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]
    """One for each of `Task.parts`, or one named ''."""
    ema: Ema | None
    step: int = 0
    skipped: int = 0
    """Steps skipped for non-finite gradients, in all."""
    skipped_in_a_row: int = 0
    """Of these, the ones just now."""
    seconds: float = 0.0
    """Wall-clock seconds of the steps that led here."""


def new_model(task: Task, config: TrainConfig, device: torch.device) -> nn.Module:
    """The model before the run's first step."""
    seed_globals(mix_seed(config.seed, WEIGHTS, 0))
    return task.model().to(device).train()


def new_state(task: Task, config: TrainConfig, model: nn.Module) -> State:
    """The run before its first step, whose new model may be shared out already."""
    optimizers: dict[str, torch.optim.Optimizer] = {
        name: build_optimizer(task.parameter_groups(model), config, decay=number == 0)
        for number, name in enumerate(task.parts or ("",))
    }
    ema = None if config.ema_decay is None else Ema(model, config.ema_decay, config.ema_rising)
    return State(model, optimizers, ema)


def identity(task: Task, config: TrainConfig, world_size: int) -> dict[str, Any]:
    """The settings that make this run this run: what must not change between a checkpoint and its resumption."""
    settings = {key: value for key, value in asdict(config).items() if key not in HARMLESS}
    settings["micro_batch"] = config.micro_batch(world_size)
    return json.loads(json.dumps({"config": settings, "task": dict(task.describe())}))


def tensors_of(state: State, world: World) -> dict[str, dict[str, Tensor]]:
    """The tensors of this moment's checkpoint, whole, in the main process; all processes must call it alike."""
    tensors = {"model": state.model.state_dict()}
    for name, optimizer in state.optimizers.items():
        tensors[_file(name)] = optimizer_tensors(optimizer, state.model)
    if state.ema is not None:
        tensors["ema"] = state.ema.average
    return {name: whole(content, world) for name, content in tensors.items()}


def save(
    state: State, tensors: Mapping[str, Mapping[str, Tensor]], folder: Path, run: Mapping[str, Any], log_position: int
) -> Path:
    """Writes the checkpoint of this moment, whose tensors `tensors_of` gave, under `folder`."""
    numbers: dict[str, Any] = {
        "step": state.step,
        "skipped": state.skipped,
        "skipped_in_a_row": state.skipped_in_a_row,
        "seconds": state.seconds,
        "log_position": log_position,
        "run": run,
    }
    if state.ema is not None:
        numbers["ema_updates"] = state.ema.updates
    return checkpoint.save(folder, state.step, tensors, numbers)


def restore(state: State, path: Path, run: Mapping[str, Any]) -> int:
    """Makes a new state that of the checkpoint; returns the log's position. BadInput where it is of another run."""
    tensors, numbers = checkpoint.load(path)
    _check_same_run(path, numbers["run"], run)
    own = state.model.state_dict()
    state.model.load_state_dict({name: share_of(value, own.get(name, value)) for name, value in tensors["model"].items()})
    for name, optimizer in state.optimizers.items():
        restore_optimizer(optimizer, state.model, tensors[_file(name)])
    if state.ema is not None:
        for name, value in state.ema.average.items():
            value.copy_(share_of(tensors["ema"][name], value))
        state.ema.updates = numbers["ema_updates"]
    for name in ("step", "skipped", "skipped_in_a_row", "seconds"):
        setattr(state, name, numbers[name])
    return numbers["log_position"]


def _file(part: str) -> str:
    """Name of the file of an optimiser's state, without its ending."""
    return f"optimizer-{part}" if part else "optimizer"


def _check_same_run(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, now = _flat(old), _flat(new)
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        says = ", ".join(f"{key} {before.get(key)!r} (now {now.get(key)!r})" for key in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise BadInput(f"{path.name} is of a run with {says}{more}; resume with the old settings, or train in another folder")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = key if prefix in ("", "config.") else f"{prefix}{key}"
        flat |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {name: value}
    return flat


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Inside the block: eval mode, no gradients; after it, every module's mode as it was."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
