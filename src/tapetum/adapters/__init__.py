"""Lossless adaptation: adapters that leave the trunk bit for bit intact. Imports no torch by itself."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tapetum.adapters.config import AdapterConfig, Site

if TYPE_CHECKING:
    from tapetum.adapters.adapted import Adapted, attach
    from tapetum.adapters.files import load
    from tapetum.adapters.peft_files import load_peft, save_peft
    from tapetum.adapters.proof import Proof, TrunkChanged
    from tapetum.adapters.run import load_headed

__all__ = [
    "Adapted",
    "AdapterConfig",
    "Proof",
    "Site",
    "TrunkChanged",
    "attach",
    "load",
    "load_headed",
    "load_peft",
    "save_peft",
]

_HOMES = {
    "adapted": ("Adapted", "attach"),
    "files": ("load",),
    "peft_files": ("load_peft", "save_peft"),
    "proof": ("Proof", "TrunkChanged"),
    "run": ("load_headed",),
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"tapetum.adapters.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'tapetum.adapters' has no attribute {name!r}")
