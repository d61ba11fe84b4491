"""tapetum: perception models in PyTorch, their training, benchmarks and cost. Importing it does not import torch.

>>> import tapetum
>>> tapetum.tap.build("tapir-nano").model.config.causal
False
"""

from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    import torch

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(
    name_or_path: "str | PathLike[str]", device: "torch.device | str | None" = None, dtype: "torch.dtype | None" = None
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
    *("transfer", "types", "video"),
)
_BENCHMARKS = "davis", "longvideo", "objects", "paligemma", "perception_test", "tapvid", "tapvid3d", "votsp"
_VERBS = {
    "app.track": ("convert", "show", "track", "track_live", "track_many", "track_things"),
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
    "app.score.evaluate.own": ("evaluate_all", "evaluate_own"),
    "app.score.evaluate.zero_shot": ("evaluate_retrieval", "evaluate_zero_shot"),
}
_FUNCTIONS = sorted(name for names in _HOMES.values() for name in names)

__getattr__ = lazy_attributes(
    __name__,
    _HOMES,
    {**{name: name for name in _PACKAGES}, **{name: f"systems.{name}" for name in _SYSTEMS}, "errors": "core.errors"},
)


def __dir__() -> list[str]:
    return [*__all__, *_FUNCTIONS, *_PACKAGES, *_SYSTEMS, "errors"]
