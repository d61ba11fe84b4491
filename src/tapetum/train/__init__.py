"""One training loop for every system: `fit(task, config, out)`. Importing this package, or its config, imports no torch."""

from typing import TYPE_CHECKING, Any

from tapetum.train.config import Average, ParameterRule, TrainConfig

if TYPE_CHECKING:
    from tapetum.train.loop import FitResult, fit
    from tapetum.train.moment import Moment
    from tapetum.train.task import JointTask, Task

__all__ = ["Average", "FitResult", "JointTask", "Moment", "ParameterRule", "Task", "TrainConfig", "fit"]


def __getattr__(name: str) -> Any:
    if name in ("fit", "FitResult"):
        from tapetum.train import loop

        return getattr(loop, name)
    if name in ("Task", "JointTask"):
        from tapetum.train import task

        return getattr(task, name)
    if name == "Moment":
        from tapetum.train.moment import Moment

        return Moment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
