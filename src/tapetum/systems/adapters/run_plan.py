"""Plan of an adaptation run (`tapetum adapt DATA --dry`)."""

from typing import Any

import torch
from torch import Tensor

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import architecture, names
from tapetum.encoders.factory import make
from tapetum.encoders.features import Encoder
from tapetum.hub.registry import entry_of
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.recipes import UNPUBLISHED, AdaptRun
from tapetum.systems.adapters.run import trunk_maker
from tapetum.systems.adapters.task import Headed, make_head
from tapetum.train.measure_step import measure_step

_CLASSES = 10
"""Of a head where no data say how many there are."""
_ACTIONS, _OWN = 4, 4
"""Numbers of an action, and of what the robot knows of itself: Meta-World's."""


def plan_run(run: AdaptRun) -> RunPlan:
    """Plan a run of one of the package's tasks, without the cache of features below the lowest adapter.

    Raises BadInput for your own task, whose head is not known before its data are read.
    """
    if run.task not in ("classify", "segment", "clone"):
        raise BadInput(f"a task of your own, {run.task}, cannot be planned; give classify, segment or clone")
    trunk = _trunk(run)
    sizes = {"width": trunk.width} if run.task != "segment" else {"channels": list(trunk.map_channels)}
    about = {"task": run.task, "classes": [str(k) for k in range(_CLASSES)], **sizes}
    if run.task == "clone":
        own = _OWN if run.own == "concat" else 0
        hidden = [256, 256] if run.head == "mlp" else []
        about = {"task": "clone", "width": trunk.width, "actions": _ACTIONS, "own": own, "hidden": hidden}
    rows, columns = trunk.preprocessing.size
    side = run.pixels or rows
    network: Any = trunk
    if run.regime != "full":
        adapted = Adapted(trunk)
        if run.regime == "adapters":
            adapted.add(run.name, run.config, run.seed)
        network = adapted.network(run.name if run.regime == "adapters" else None)
    with torch.device("meta"):
        model = Headed(network.to("meta"), make_head(about), about).train()
        images = torch.zeros(2, 3, side, run.pixels or columns)
        known = torch.zeros(2, _OWN) if run.task == "clone" and run.own == "concat" else None

    def loss() -> Tensor:
        return model(images, known).square().mean()

    step = measure_step(loss, {"headed": model}, 2)
    phase = PhasePlan(steps=run.steps, batch_size=run.batch_size, micro_batch=run.batch_size, step=step)
    return RunPlan(
        phases=(phase,),
        examples_are=f"images of {side}x{run.pixels or columns}",
        unpublished=unpublished_values(run, UNPUBLISHED) if run.suite != "own" else (),
    )


def _trunk(run: AdaptRun) -> Encoder:
    """Make the trunk with random weights if its name is known; read it if it is a file.

    Adapters are fitted by observing a forward pass, which "meta" does not support.
    """
    entry = entry_of(run.trunk)
    name = run.trunk if entry is None else entry.architecture
    if name not in names():
        return trunk_maker(run, None)()
    return make(architecture(name))
