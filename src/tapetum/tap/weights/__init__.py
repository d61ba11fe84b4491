"""Weights of TAPIR: names of the published files both ways, files of ours, and the making of these from those.

`tapetum.tap.weights.from_official(...)` and the other functions of `files` are reached from here. Imports no torch by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapetum.tap.weights.files import from_official, infer_config, load, ours, save, to_model, to_official

__all__ = ["from_official", "infer_config", "load", "ours", "save", "to_model", "to_official"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("tapetum.tap.weights.files"), name)
    raise AttributeError(f"module 'tapetum.tap.weights' has no attribute {name!r}")
