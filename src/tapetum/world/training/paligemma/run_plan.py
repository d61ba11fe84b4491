"""Plan of stages on images of `scenes/`, alone or as phases of a run (`--dry`)."""

from dataclasses import replace
from pathlib import Path

import torch

from tapetum.account.run_plan import RunPlan, unpublished_values
from tapetum.systems.paligemma.config import named
from tapetum.systems.paligemma.recipes import UNPUBLISHED, PaliGemmaStage
from tapetum.systems.paligemma.run_plan import TEXT, measure_text_step, phase_of
from tapetum.train.measure_step import measure_step
from tapetum.world.training.paligemma.dense_task import DenseModel
from tapetum.world.training.paligemma.recipes import NanoRun
from tapetum.world.training.paligemma.stages import cell_encoder_config


def plan_run(run: PaliGemmaStage | NanoRun) -> RunPlan:
    """Plan a run."""
    return _plan_phases(run) if isinstance(run, NanoRun) else _plan_stage(run)


def _plan_stage(run: PaliGemmaStage) -> RunPlan:
    vision = cell_encoder_config(run)
    side, negatives = f"{run.image_size}x{run.image_size}", 0
    if run.stage == "0":
        negatives = int(run.contrastive_weight > 0 or Path(run.data).is_file())
        with torch.device("meta"):
            model, pixels = DenseModel(vision).train(), torch.zeros(1, 3, run.image_size, run.image_size)
        step = measure_step(lambda: model(pixels).square().mean(), {"vision_encoder": model}, bf16=run.bf16)
        shown = f"images of {side}"
    else:
        length = run.learning.length or TEXT
        config = replace(named(run.model), vision_encoder=vision, prefix_mask="full")
        step = measure_text_step(config, length, length, run.bf16)
        shown = f"images of {side}, texts of {length} tokens"
    return RunPlan(
        phases=(replace(phase_of(run, run.steps, step), negatives=negatives),),
        examples_are=shown,
        unpublished=unpublished_values(run, UNPUBLISHED.get(run.stage, {})) if run.preset == "paper" else (),
    )


def _plan_phases(run: NanoRun) -> RunPlan:
    planned = {name: _plan_stage(stage) for name, stage in run.phases().items()}
    phases = tuple(replace(phase, name=name) for name, plan in planned.items() for phase in plan.phases)
    return RunPlan(phases=phases, examples_are=list(planned.values())[-1].examples_are)
