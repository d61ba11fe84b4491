"""Plan of a training run of Odin (`tapetum train odin --dry`)."""

from typing import Any

import torch
from torch import Tensor

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.encoders.factory import make
from tapetum.systems.odin.losses import detcon, detcon_s
from tapetum.systems.odin.masks import pool_masks
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import UNPUBLISHED, OdinRun
from tapetum.systems.pretraining.run_plan import images_there, planned_steps
from tapetum.train.measure_step import measure_step

_MEASURED = 2
"""Images of the step that is measured."""
_SEGMENTS = 16
"""Masks of an image where their number depends on it."""


def plan_run(run: OdinRun) -> RunPlan:
    """Plan a run on its images, or if they do not exist yet, on as many as in ImageNet, or CIFAR-10 for the small preset.

    Every mask is assumed to be in both views. Raises what the run would raise for existing images.
    """
    config = run.settings()
    clustered = config.source in ("features", "projections")
    with torch.device("meta"):
        networks = {"online": Odin(config, make(run.architecture)).train()}
        teachers = (["target"] if config.form == "b" else []) + (["discovery"] if clustered else [])
        for name in teachers:
            networks[name] = Odin(config, make(run.architecture)).train().requires_grad_(False)
        view = torch.empty(_MEASURED, 3, run.size, run.size)
        side = -(-run.size // networks["online"].stride)
        regions = config.sampled or (config.clusters if config.source != "segments" else _SEGMENTS)
        ids = torch.zeros(_MEASURED, side, side, dtype=torch.int64)
        names = torch.zeros(_MEASURED, regions, dtype=torch.int64)

    settings: dict[str, Any] = {"temperature": config.temperature, "local_negatives": config.local_negatives}

    def loss() -> Tensor:
        if clustered:
            with torch.no_grad():
                networks["discovery"](view)
        online = networks["online"]
        projections = [online.project(pool_masks(online(view), ids, regions)[0]) for _ in range(2)]
        if config.form == "s":
            return detcon_s(projections[0], projections[1], names, names, **settings)
        target = networks["target"]
        with torch.no_grad():
            targets = [target.project(pool_masks(target(view), ids, regions)[0]) for _ in range(2)]
        predictions = [online.predict(each) for each in projections]
        return detcon(*predictions, *targets, names, names, names, names, **settings)  # pyright: ignore[reportCallIssue]

    step = measure_step(loss, networks, _MEASURED, bf16=run.bf16)
    steps, data = planned_steps(run, images_there(run), "small" if run.preset == "small" else "resnet")
    sizes: dict[str, Any] = {
        "batch_size": run.batch_size,
        "micro_batch": run.micro_batch,
        "negatives": 2 * regions,
    }  # masks of both views
    phase = PhasePlan(steps=steps, step=step, **sizes)
    return RunPlan(
        phases=(phase,),
        examples_are=f"images, in two views of {run.size}x{run.size} and one that spans them",
        data=data,
        unpublished=unpublished_values(run, UNPUBLISHED.get(run.preset, {})),
    )
