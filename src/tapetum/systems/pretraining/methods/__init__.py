"""The methods, one file each, and methods of your own. Imports no torch by itself.

A method is a subclass of `PretrainTask`. A built-in one is a file here and a row in `MethodSettings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference, resolve_subclass
from tapetum.systems.pretraining.methods.byol import Byol, ByolTask
from tapetum.systems.pretraining.methods.clip import Clip, ClipTask
from tapetum.systems.pretraining.methods.dino import Dino, DinoTask
from tapetum.systems.pretraining.methods.dinov2 import DinoV2, DinoV2Task
from tapetum.systems.pretraining.methods.ijepa import IJepa, IJepaTask
from tapetum.systems.pretraining.methods.lejepa import LeJepa, LeJepaTask
from tapetum.systems.pretraining.methods.mae import Mae, MaeTask
from tapetum.systems.pretraining.methods.siglip import SigLip, SigLipTask
from tapetum.systems.pretraining.methods.simclr import SimClr, SimClrTask
from tapetum.systems.pretraining.methods.supervised import Supervised, SupervisedTask
from tapetum.systems.pretraining.task import PretrainTask


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """The table of methods: the name of each, its settings, which are its part of a run's, and its class."""

    supervised: Supervised = field(default_factory=Supervised, metadata={"task": SupervisedTask})
    clip: Clip = field(default_factory=Clip, metadata={"task": ClipTask})
    siglip: SigLip = field(default_factory=SigLip, metadata={"task": SigLipTask})
    simclr: SimClr = field(default_factory=SimClr, metadata={"task": SimClrTask})
    byol: Byol = field(default_factory=Byol, metadata={"task": ByolTask})
    dino: Dino = field(default_factory=Dino, metadata={"task": DinoTask})
    mae: Mae = field(default_factory=Mae, metadata={"task": MaeTask})
    dinov2: DinoV2 = field(default_factory=DinoV2, metadata={"task": DinoV2Task})
    lejepa: LeJepa = field(default_factory=LeJepa, metadata={"task": LeJepaTask})
    ijepa: IJepa = field(default_factory=IJepa, metadata={"task": IJepaTask})


METHODS: Mapping[str, type[PretrainTask]] = {each.name: each.metadata["task"] for each in fields(MethodSettings)}
"""By name."""
TEXT_METHODS = tuple(name for name, task in METHODS.items() if task.captions)
"""Those that learn from captions."""
if TYPE_CHECKING:
    Method = str
else:
    Method = Literal[tuple(METHODS)]
NO_METHOD = f"it is one of {', '.join(METHODS)}, or FILE.py:CLASS of your own"


def task_of(method: str) -> type[PretrainTask]:
    """Look up the task of a method: one of these, or a reference to your own class (`tapetum.core.plugins`).

    Raises BadInput for an unknown method, and for a class that is not a method.
    """
    if method in METHODS:
        return METHODS[method]
    if not is_reference(method, "method"):
        raise BadInput(f"there is no method {method!r}; {NO_METHOD}")
    return resolve_subclass(method, "method", PretrainTask)
