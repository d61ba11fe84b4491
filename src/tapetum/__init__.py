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

    from tapetum.verbs.adapt import adapt as adapt
    from tapetum.verbs.answer import answer as answer
    from tapetum.verbs.ask import ask as ask
    from tapetum.verbs.caption import caption as caption
    from tapetum.verbs.classify import classify as classify
    from tapetum.verbs.convert import convert as convert
    from tapetum.verbs.detect import detect as detect
    from tapetum.verbs.discover import discover as discover
    from tapetum.verbs.embed import embed as embed
    from tapetum.verbs.evaluate_davis import evaluate_davis as evaluate_davis
    from tapetum.verbs.evaluate_longvideo import evaluate_longvideo as evaluate_longvideo
    from tapetum.verbs.evaluate_objects import evaluate_objects as evaluate_objects
    from tapetum.verbs.evaluate_paligemma import evaluate_paligemma as evaluate_paligemma
    from tapetum.verbs.evaluate_perception_test import evaluate_perception_test as evaluate_perception_test
    from tapetum.verbs.evaluate_tapvid import evaluate_tapvid as evaluate_tapvid
    from tapetum.verbs.evaluate_tapvid3d import evaluate_tapvid3d as evaluate_tapvid3d
    from tapetum.verbs.export import export as export
    from tapetum.verbs.fetch_perception_test import fetch_perception_test as fetch_perception_test
    from tapetum.verbs.live import track_live as track_live
    from tapetum.verbs.many import track_many as track_many
    from tapetum.verbs.search import search as search
    from tapetum.verbs.segment import segment as segment
    from tapetum.verbs.show import show as show
    from tapetum.verbs.show_perception_test import show_perception_test as show_perception_test
    from tapetum.verbs.submit_perception_test import submit_perception_test as submit_perception_test
    from tapetum.verbs.things import track_things as track_things
    from tapetum.verbs.track import track as track

__all__ = ["__version__", "load"]
__version__ = "0.1.0"

_ROOMS = (
    *("account", "adapters", "bench", "blocks", "data", "encoders", "errors", "hip", "hub", "longvideo", "metrics", "odin"),
    *("paligemma", "perception_test", "pretraining", "scenes", "tap", "tapvid3d", "tracks", "train", "transfer", "types"),
    *("verbs", "video"),
)
_FUNCTIONS = {
    "answer": "answer",
    "ask": "ask",
    "caption": "caption",
    "adapt": "adapt",
    "classify": "classify",
    "convert": "convert",
    "detect": "detect",
    "discover": "discover",
    "embed": "embed",
    "evaluate_longvideo": "evaluate_longvideo",
    "evaluate_davis": "evaluate_davis",
    "evaluate_objects": "evaluate_objects",
    "evaluate_paligemma": "evaluate_paligemma",
    "evaluate_perception_test": "evaluate_perception_test",
    "evaluate_tapvid": "evaluate_tapvid",
    "evaluate_tapvid3d": "evaluate_tapvid3d",
    "export": "export",
    "fetch_perception_test": "fetch_perception_test",
    "search": "search",
    "segment": "segment",
    "show": "show",
    "show_perception_test": "show_perception_test",
    "submit_perception_test": "submit_perception_test",
    "track": "track",
    "track_live": "live",
    "track_many": "many",
    "track_things": "things",
}
"""Verbs that are functions of the package, each with its module in `tapetum.verbs`."""


def load(
    name_or_path: "str | PathLike[str]",
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
) -> Any:
    """Load whatever the weights are: a tracker, a HiP network, an encoder, by name (`tapetum weights list`) or from a file.

    Args:
        name_or_path: a file may be one of ours, whose header says what it is, or a published checkpoint of TAPIR; for an
            encoder also a folder of transformers or timm, a state dict, timm:NAME and so on: `tapetum.encoders.references`.
        device: where to put it; None is the CPU.
        dtype: of the weights; None is float32.

    Raises:
        BadInput: the name is unknown, the file is not there, or it does not hold what its header says.
    """
    return import_module("tapetum.hub.loading").load(name_or_path, device, dtype)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"tapetum.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"tapetum.verbs.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'tapetum' has no attribute {name!r}")
