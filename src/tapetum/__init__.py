"""tapetum: perception models in PyTorch, their training, benchmarks and cost. Importing it does not import torch.

>>> import tapetum
>>> tapetum.tap.build("tapir-nano").model.config.causal
False
"""

from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tapetum.tap.tracking.tracker import Tracker
    from tapetum.verbs.convert import convert as convert
    from tapetum.verbs.embed import embed as embed
    from tapetum.verbs.evaluate_tapvid import evaluate_tapvid as evaluate_tapvid
    from tapetum.verbs.evaluate_tapvid3d import evaluate_tapvid3d as evaluate_tapvid3d
    from tapetum.verbs.export import export as export
    from tapetum.verbs.live import track_live as track_live
    from tapetum.verbs.many import track_many as track_many
    from tapetum.verbs.show import show as show
    from tapetum.verbs.track import track as track

__all__ = ["__version__", "load"]
__version__ = "0.1.0"

_ROOMS = (
    *("account", "bench", "blocks", "data", "encoders", "errors", "hip", "hub", "scenes", "tap", "tapvid3d", "tracks", "train"),
    *("types", "verbs", "video"),
)
_FUNCTIONS = {
    "convert": "convert",
    "embed": "embed",
    "evaluate_tapvid": "evaluate_tapvid",
    "evaluate_tapvid3d": "evaluate_tapvid3d",
    "export": "export",
    "show": "show",
    "track": "track",
    "track_live": "live",
    "track_many": "many",
}
"""Verbs that are functions of the package, each with its module in `tapetum.verbs`."""


def load(
    name_or_path: "str | PathLike[str]",
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
) -> "Tracker":
    """A tracker with weights, by name or from a file; see `tapetum.tap.tracking.tracker.load`."""
    return import_module("tapetum.tap.tracking.tracker").load(name_or_path, device, dtype)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"tapetum.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"tapetum.verbs.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'tapetum' has no attribute {name!r}")
