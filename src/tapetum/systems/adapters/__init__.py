"""Lossless adaptation: adapters that leave the trunk bit-identical. Imports no torch by itself."""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.systems.adapters.config import AdapterConfig, Site

if TYPE_CHECKING:
    from tapetum.systems.adapters.adapted import Adapted, attach
    from tapetum.systems.adapters.files import load
    from tapetum.systems.adapters.run import RobotPolicy, load_headed
    from tapetum.systems.adapters.weaving import Proof, TrunkChanged

__all__ = ["Adapted", "AdapterConfig", "Proof", "RobotPolicy", "Site", "TrunkChanged", "attach", "load", "load_headed"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "adapted": ("Adapted", "attach"),
        "files": ("load",),
        "run": ("RobotPolicy", "load_headed"),
        "weaving": ("Proof", "TrunkChanged"),
    },
)
