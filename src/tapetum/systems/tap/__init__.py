"""Track any point through a video: TAPIR (arXiv 2306.08637) and BootsTAPIR (arXiv 2402.00847). Imports no torch by itself."""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.tracker import TapirTracker, build
    from tapetum.types import Tracks

__all__ = ["TapirTracker", "Tracks", "build"]


__getattr__ = lazy_attributes(
    __name__,
    {"tracking.tracker": ("TapirTracker", "Tracks", "build")},
    ("config", "export", "model", "tracking", "bootstrap", "weights"),
)
