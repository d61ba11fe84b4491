"""The six methods, one file each, by name. Imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.config import METHODS, Method

if TYPE_CHECKING:
    from tapetum.systems.pretraining.task import PretrainTask

_CLASSES: dict[Method, str] = {
    "supervised": "SupervisedTask",
    "clip": "ClipTask",
    "simclr": "SimClrTask",
    "byol": "ByolTask",
    "dino": "DinoTask",
    "mae": "MaeTask",
}


def task_of(method: Method) -> "type[PretrainTask]":
    """Give the task of a method. Raises BadInput for one that there is not."""
    if method not in _CLASSES:
        raise BadInput(f"there is no method {method!r}; it is one of {', '.join(METHODS)}")
    return getattr(import_module(f"tapetum.systems.pretraining.methods.{method}"), _CLASSES[method])
