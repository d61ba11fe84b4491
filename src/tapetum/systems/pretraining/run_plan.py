"""Plan of a run of pre-training (`tapetum pretrain METHOD --dry`)."""

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.systems.pretraining.account import step_on_meta
from tapetum.systems.pretraining.config import TEXT_METHODS
from tapetum.systems.pretraining.presets import DATA_SETS, UNPUBLISHED
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.train.measure_step import measure_step

_MEASURED = 2
"""Images of the step that is measured: similarities among those of a whole batch cost next to nothing."""


def plan_run(run: PretrainRun) -> RunPlan:
    """Plan a run on as many images as the data set of its preset has."""
    name, images = DATA_SETS[run.preset, run.method in TEXT_METHODS]
    loss, parts = step_on_meta(run, _MEASURED)
    step = measure_step(loss, parts, _MEASURED, bf16=run.bf16)
    phase = PhasePlan(steps=run.steps_of(images), batch_size=run.batch_size, micro_batch=run.micro_batch, step=step)
    views = ", ".join(f"{run.views.count(side)} of {side}x{side}" for side in dict.fromkeys(run.views))
    return RunPlan(
        phases=(phase,),
        examples_are=f"images, in views: {views}",
        data="" if run.steps else f"{images:,} images, {name}",
        unpublished=unpublished_values(run, UNPUBLISHED.get((run.method, run.preset), {})),
    )
