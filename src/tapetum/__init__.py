"""tapetum: perception models in PyTorch, their training, benchmarks and cost. Importing it does not import torch.

>>> import tapetum
>>> tapetum.tap.build("tapir-nano").model.config.causal
False
"""

from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from tapetum.core.lazy import lazy_attributes
from tapetum.core.views import register_view_module

if TYPE_CHECKING:
    import torch

    from tapetum.app.learn.adapt import adapt as adapt
    from tapetum.app.make.export import export as export
    from tapetum.app.make.fetch_perception_test import fetch_perception_test as fetch_perception_test
    from tapetum.app.score.evaluate.davis import evaluate_davis as evaluate_davis
    from tapetum.app.score.evaluate.longvideo import evaluate_longvideo as evaluate_longvideo
    from tapetum.app.score.evaluate.objects import evaluate_objects as evaluate_objects
    from tapetum.app.score.evaluate.own import evaluate_own as evaluate_own
    from tapetum.app.score.evaluate.paligemma import evaluate_paligemma as evaluate_paligemma
    from tapetum.app.score.evaluate.perception_test import evaluate_perception_test as evaluate_perception_test
    from tapetum.app.score.evaluate.retrieval import evaluate_retrieval as evaluate_retrieval
    from tapetum.app.score.evaluate.tapvid import evaluate_tapvid as evaluate_tapvid
    from tapetum.app.score.evaluate.tapvid3d import evaluate_tapvid3d as evaluate_tapvid3d
    from tapetum.app.score.evaluate.votsp import evaluate_votsp as evaluate_votsp
    from tapetum.app.score.evaluate.zero_shot import evaluate_zero_shot as evaluate_zero_shot
    from tapetum.app.score.submit_perception_test import submit_perception_test as submit_perception_test
    from tapetum.app.see.answer import answer as answer
    from tapetum.app.see.ask import ask as ask
    from tapetum.app.see.caption import caption as caption
    from tapetum.app.see.classify import classify as classify
    from tapetum.app.see.detect import detect as detect
    from tapetum.app.see.discover import discover as discover
    from tapetum.app.see.embed import embed as embed
    from tapetum.app.see.segment import segment as segment
    from tapetum.app.track.convert import convert as convert
    from tapetum.app.track.live import track_live as track_live
    from tapetum.app.track.many import track_many as track_many
    from tapetum.app.track.show import show as show
    from tapetum.app.track.show_perception_test import show_perception_test as show_perception_test
    from tapetum.app.track.track import track as track
    from tapetum.app.track.track_things import track_things as track_things
    from tapetum.desk.search.index import index as index
    from tapetum.desk.search.search import search as search

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(
    name_or_path: "str | PathLike[str]",
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
) -> Any:
    """Load whatever the weights are: a tracker, a HiP network, an encoder, by name (`tapetum weights list`) or from a file.

    Of encoders of images and words, such as "siglip2-base-32", it gives a `tapetum.encoders.towers.Towers`, whose
    `embed_images`, `embed_texts` and `logits` take images and texts as they are.

    Args:
        name_or_path: a file may be one of ours, whose header says what it is, or a published checkpoint of TAPIR; for an
            encoder also OWNER/NAME of a repository, a folder as repositories have it, a state dict, timm:NAME and so on:
            `tapetum.encoders.references`.
        device: where to put it; None is the CPU.
        dtype: of the weights; None is float32.

    Raises:
        BadInput: the name is unknown, the file is not there, or it does not hold what its header says.
    """
    return import_module("tapetum.hub.loading").load(name_or_path, device, dtype)


_SYSTEMS = ("adapters", "hip", "longvideo", "odin", "paligemma", "perception_test", "pretraining", "tap", "tapnext", "tapvid3d")
_PACKAGES = (
    *(
        "account",
        "app",
        "bench",
        "core",
        "data",
        "desk",
        "encoders",
        "hub",
        "layers",
        "metrics",
        "report",
        "systems",
        "tracks",
        "train",
    ),
    *("transfer", "types", "video", "world"),
)
_BENCHMARKS = (
    *("davis", "longvideo", "objects", "own", "paligemma", "perception_test", "retrieval", "tapvid", "tapvid3d"),
    *("votsp", "zero_shot"),
)
_VERBS = {
    "app.track": ("convert", "show", "show_perception_test", "track", "track_live", "track_many", "track_things"),
    "app.see": ("answer", "ask", "caption", "classify", "detect", "discover", "embed", "segment"),
    "app.learn": ("adapt",),
    "app.score": ("submit_perception_test",),
    "app.make": ("export", "fetch_perception_test"),
    "desk.search": ("index", "search"),
}
"""Functions by the folder that has them, each in the module of its name, but for these two:"""
_MODULES = {"track_live": "live", "track_many": "many"}
_HOMES = {
    **{f"{folder}.{_MODULES.get(name, name)}": (name,) for folder, names in _VERBS.items() for name in names},
    **{f"app.score.evaluate.{name}": (f"evaluate_{name}",) for name in _BENCHMARKS},
}
_FUNCTIONS = sorted(name for names in _HOMES.values() for name in names)

__getattr__ = lazy_attributes(
    __name__,
    _HOMES,
    {**{name: name for name in _PACKAGES}, **{name: f"systems.{name}" for name in _SYSTEMS}, "errors": "core.errors"},
)
register_view_module("tapetum.report.view")


def __dir__() -> list[str]:
    return [*__all__, *_FUNCTIONS, *_PACKAGES, *_SYSTEMS, "errors"]
