"""The seven methods, one file each, by name; and those of the user's own. Imports no torch by itself."""

from importlib import import_module
from typing import TYPE_CHECKING

from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference, resolve_subclass
from tapetum.systems.pretraining.config import METHODS

if TYPE_CHECKING:
    from tapetum.systems.pretraining.task import PretrainTask

_CLASSES = {
    "supervised": "SupervisedTask",
    "clip": "ClipTask",
    "siglip": "SigLipTask",
    "simclr": "SimClrTask",
    "byol": "ByolTask",
    "dino": "DinoTask",
    "mae": "MaeTask",
}


def task_of(method: str) -> "type[PretrainTask]":
    """Import the task of a method: one of the seven, or a reference to a class of the user's (`tapetum.core.plugins`).

    Raises BadInput for one that there is not, and for a class that is no method.
    """
    if method in _CLASSES:
        return getattr(import_module(f"tapetum.systems.pretraining.methods.{method}"), _CLASSES[method])
    if not is_reference(method, "method"):
        raise BadInput(f"there is no method {method!r}; it is one of {', '.join(METHODS)}, or FILE.py:CLASS of your own")
    from tapetum.systems.pretraining.task import PretrainTask

    return resolve_subclass(method, "method", PretrainTask)
