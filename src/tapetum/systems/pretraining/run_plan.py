"""Plan of a pre-training run (`tapetum pretrain METHOD --dry`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.core.addresses import is_address
from tapetum.systems.pretraining.account import CLASSES, step_on_meta
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.presets import Preset
from tapetum.systems.pretraining.recipes import UNPUBLISHED, ImageRun, PretrainRun
from tapetum.systems.pretraining.run import source_of
from tapetum.train.measure_step import measure_step

_MEASURED = 2
"""Images of the step that is measured: similarities among those of a whole batch cost next to nothing."""

DATA_SETS: Mapping[tuple[Preset, bool], tuple[str, int]] = {
    **{(preset, False): ("ImageNet's", 1_281_167) for preset in ("resnet", "vit")},
    **{(preset, True): ("WebImageText's (CLIP, section 2.2)", 400_000_000) for preset in ("resnet", "vit")},
    **{("small", captions): ("as many as CIFAR-10's", 50_000) for captions in (False, True)},
}
"""By preset, and whether its method learns from captions: a data set and its images, from which epochs become steps where no
data are looked at."""


def plan_run(run: PretrainRun) -> RunPlan:
    """Plan a run on its images, or if they do not exist yet, on as many as its preset's data set has.

    Raises what the run would raise for existing images.
    """
    method = task_of(run.method)
    source = images_there(run, captions=method.captions)
    if source is not None:
        method(run, source)
    classes = len(source.classes) if source is not None and source.classes else CLASSES
    loss, parts = step_on_meta(run, _MEASURED, classes)
    step = measure_step(loss, parts, _MEASURED, bf16=run.bf16)
    steps, data = planned_steps(run, source, run.preset, method.captions)
    sizes: dict[str, Any] = {
        "batch_size": run.batch_size,
        "micro_batch": run.micro_batch,
        "negatives": method.negatives,
    }
    views = ", ".join(f"{run.views.count(side)} of {side}x{side}" for side in dict.fromkeys(run.views))
    return RunPlan(
        phases=(PhasePlan(steps=steps, step=step, **sizes),),
        examples_are=f"images, in views: {views}",
        data=data,
        unpublished=unpublished_values(run, UNPUBLISHED.get((run.method, run.preset), {})),
    )


def images_there(run: ImageRun, *, captions: bool = False) -> ImageSource | None:
    """Read the images of a run; None if none of their places exists yet, or if they are remote and no count is needed."""
    if run.steps and all(map(is_address, run.data)):
        return None
    there = any(is_address(place) or Path(place).exists() for place in run.data)
    return source_of(run, captions=captions) if there else None


def planned_steps(run: ImageRun, source: ImageSource | None, preset: Preset, captions: bool = False) -> tuple[int, str]:
    """Compute the number of steps on a source, or on the preset's data set, and say what it is based on."""
    name, images = DATA_SETS[preset, captions]
    if source is not None:
        name, images = f"of {', '.join(run.data)}", len(source)
    elif run.data:
        name += f"; {', '.join(run.data)} is not here"
    return run.steps_of(images), "" if run.steps else f"{images:,} images, {name}"
