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
    """The table of methods: the name of each, its settings, which a run of it has, and its class."""

    supervised: Supervised | None = field(default=None, metadata={"task": SupervisedTask})
    clip: Clip | None = field(default=None, metadata={"task": ClipTask})
    siglip: SigLip | None = field(default=None, metadata={"task": SigLipTask})
    simclr: SimClr | None = field(default=None, metadata={"task": SimClrTask})
    byol: Byol | None = field(default=None, metadata={"task": ByolTask})
    dino: Dino | None = field(default=None, metadata={"task": DinoTask})
    mae: Mae | None = field(default=None, metadata={"task": MaeTask})
    dinov2: DinoV2 | None = field(default=None, metadata={"task": DinoV2Task})
    lejepa: LeJepa | None = field(default=None, metadata={"task": LeJepaTask})
    ijepa: IJepa | None = field(default=None, metadata={"task": IJepaTask})


METHODS: Mapping[str, type[PretrainTask]] = {each.name: each.metadata["task"] for each in fields(MethodSettings)}
TEXT_METHODS = tuple(name for name, task in METHODS.items() if task.captions)
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
