"""HiP, the Hierarchical Perceiver (arXiv 2202.10890): any modality, raw inputs, one network. Imports no torch by itself."""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.systems.hip.config import HipConfig, Modality, variant

if TYPE_CHECKING:
    from tapetum.systems.hip.model import Hip

__all__ = ["Hip", "HipConfig", "Modality", "variant"]

__getattr__ = lazy_attributes(__name__, {"model": ("Hip",)})
