"""Track any point through a video: TAPIR (arXiv 2306.08637) and BootsTAPIR (arXiv 2402.00847). Imports no torch by itself."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapetum.tap.tracker import Tracker
    from tapetum.tap.tracks import Tracks

__all__ = ["Tracker", "Tracks", "build"]


def build(name: str, seed: int = 0) -> "Tracker":
    """A tracker with random weights; see `tapetum.tap.tracker.build`."""
    from tapetum.tap import tracker

    return tracker.build(name, seed)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "Tracker":
        return import_module("tapetum.tap.tracker").Tracker
    if name == "Tracks":
        return import_module("tapetum.tap.tracks").Tracks
    if name in ("exchange", "losses", "metrics", "model", "tapvid", "tracker", "weights"):
        return import_module(f"tapetum.tap.{name}")
    raise AttributeError(f"module 'tapetum.tap' has no attribute {name!r}")
