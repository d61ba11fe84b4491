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

__all__ = ["__version__", "load"]
__version__ = "0.1.0"

_ROOMS = ("account", "bench", "blocks", "encoders", "errors", "hip", "hub", "scenes", "tap", "train", "verbs", "video")
_FUNCTIONS = {"classify": "classify"}
"""Verbs that are functions of the package, each with its module in `tapetum.verbs`."""


def load(
    name_or_path: "str | PathLike[str]",
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
) -> Any:
    """Load whatever the weights are, by name (`tapetum weights list`) or from a file: a tracker, a HiP network, an encoder.

    Args:
        name_or_path: a file may be one of ours, whose header says what it is, or a published checkpoint of TAPIR.
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
