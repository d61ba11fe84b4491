"""Track any point through a video: TAPIR (arXiv 2306.08637) and BootsTAPIR (arXiv 2402.00847). Imports no torch by itself."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapetum.tap.tracking.tracker import Tracker
    from tapetum.types import Tracks

__all__ = ["Tracker", "Tracks", "build"]


def build(name: str, seed: int = 0) -> "Tracker":
    """Build a tracker with random weights; see `tapetum.tap.tracking.tracker.build`."""
    from tapetum.tap.tracking import tracker

    return tracker.build(name, seed)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "Tracker":
        return import_module("tapetum.tap.tracking.tracker").Tracker
    if name == "Tracks":
        return import_module("tapetum.types").Tracks
    if name in ("config", "export", "network", "tracking", "training", "bootstrap", "weights"):
        return import_module(f"tapetum.tap.{name}")
    raise AttributeError(f"module 'tapetum.tap' has no attribute {name!r}")
