"""Weights of TAPIR: names of the published files both ways, files of ours, and the making of these from those.

`tapetum.systems.tap.weights.from_official(...)` and the other functions of `files` are reached from here. Imports no torch by
itself.
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.systems.tap.weights.files import from_official, infer_config, load, ours, save, to_model, to_official

__all__ = ["from_official", "infer_config", "load", "ours", "save", "to_model", "to_official"]

__getattr__ = lazy_attributes(__name__, {"files": __all__})
