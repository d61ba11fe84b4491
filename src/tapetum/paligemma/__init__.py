"""PaliGemma and PaliGemma 2 (arXiv 2407.07726, 2412.03555): pictures and text in, text, boxes and masks out.

Imports no torch by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tapetum.paligemma.config import PaliGemmaConfig, named

if TYPE_CHECKING:
    from tapetum.paligemma.halves import join
    from tapetum.paligemma.model import PaliGemma, build
    from tapetum.paligemma.weights import load, resized, save, to_state

__all__ = ["PaliGemma", "PaliGemmaConfig", "build", "join", "load", "named", "resized", "save", "to_state"]

_LAZY = {
    "PaliGemma": "model",
    "build": "model",
    "join": "halves",
    "load": "weights",
    "resized": "weights",
    "save": "weights",
    "to_state": "weights",
}
"""What needs torch, each with its module."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"tapetum.paligemma.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'tapetum.paligemma' has no attribute {name!r}")
