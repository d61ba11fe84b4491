"""One training loop for every system: `fit(task, config, out)`. Importing this package, or its config, imports no torch."""

from typing import TYPE_CHECKING, Any

from tapetum.train.config import TrainConfig

if TYPE_CHECKING:
    from tapetum.train.loop import FitResult, fit
    from tapetum.train.task import Task

__all__ = ["FitResult", "Task", "TrainConfig", "fit"]


def __getattr__(name: str) -> Any:
    if name in ("fit", "FitResult"):
        from tapetum.train import loop

        return getattr(loop, name)
    if name == "Task":
        from tapetum.train.task import Task

        return Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
