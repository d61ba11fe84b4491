"""One training loop for every system: `fit(task, config, out)`. Importing this package, or its config, imports no torch."""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.train.config import Average, ParameterRule, TrainConfig
    from tapetum.train.loop import FitResult, fit
    from tapetum.train.task import JointTask, StepContext, Task

__all__ = ["Average", "FitResult", "JointTask", "ParameterRule", "StepContext", "Task", "TrainConfig", "fit"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "config": ("Average", "ParameterRule", "TrainConfig"),
        "loop": ("FitResult", "fit"),
        "task": ("JointTask", "StepContext", "Task"),
    },
)
