"""Lossless adaptation: adapters that leave the trunk bit-identical. Imports no torch by itself."""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.systems.adapters.config import AdapterConfig, Site

if TYPE_CHECKING:
    from tapetum.systems.adapters.adapted import Adapted, attach
    from tapetum.systems.adapters.files import load
    from tapetum.systems.adapters.peft_files import load_peft, save_peft
    from tapetum.systems.adapters.policy import RobotPolicy
    from tapetum.systems.adapters.proof import Proof, TrunkChanged
    from tapetum.systems.adapters.run import load_headed

__all__ = [
    "Adapted",
    "AdapterConfig",
    "Proof",
    "RobotPolicy",
    "Site",
    "TrunkChanged",
    "attach",
    "load",
    "load_headed",
    "load_peft",
    "save_peft",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "adapted": ("Adapted", "attach"),
        "files": ("load",),
        "peft_files": ("load_peft", "save_peft"),
        "policy": ("RobotPolicy",),
        "proof": ("Proof", "TrunkChanged"),
        "run": ("load_headed",),
    },
)
