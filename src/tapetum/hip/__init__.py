"""HiP, the Hierarchical Perceiver (arXiv 2202.10890): any modality, raw inputs, one network. Imports no torch by itself."""

from typing import TYPE_CHECKING, Any

from tapetum.hip.config import HipConfig, Modality, variant

if TYPE_CHECKING:
    from tapetum.hip.model import Hip

__all__ = ["Hip", "HipConfig", "Modality", "variant"]


def __getattr__(name: str) -> Any:
    if name == "Hip":
        from tapetum.hip.model import Hip

        return Hip
    raise AttributeError(f"module 'tapetum.hip' has no attribute {name!r}")
