"""PaliGemma and PaliGemma 2 (arXiv 2407.07726, 2412.03555): images and text in, text, boxes and masks out.

Imports no torch by itself.
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.systems.paligemma.config import PaliGemmaConfig, named

if TYPE_CHECKING:
    from tapetum.systems.paligemma.model import PaliGemma, build
    from tapetum.systems.paligemma.weights import load, resized, save, to_state

__all__ = ["PaliGemma", "PaliGemmaConfig", "build", "load", "named", "resized", "save", "to_state"]

__getattr__ = lazy_attributes(__name__, {"model": ("PaliGemma", "build"), "weights": ("load", "resized", "save", "to_state")})
