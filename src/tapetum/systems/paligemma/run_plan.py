"""Plan of a PaliGemma training run: a transfer, or the mask codec (`--dry`)."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.account.run_plan import MeasuredStep, PhasePlan, RunPlan
from tapetum.hub.registry import entry_of
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.config import NAMED, PaliGemmaConfig
from tapetum.systems.paligemma.masks.config import SIDE, MaskCodecRun
from tapetum.systems.paligemma.masks.task import LearningCodec
from tapetum.systems.paligemma.recipes import PaliGemmaStage, PaliGemmaTransfer
from tapetum.systems.paligemma.transfer.run import samples_of, unmade_model
from tapetum.systems.paligemma.transfer.tasks import task_named
from tapetum.train.measure_step import measure_step

TEXT, SUFFIX = 128, 32
"""Tokens of a text where a recipe does not say, and of its end, which is learned."""
_EXAMPLES = 10_000
"""Of a transfer of which nobody says how many there are."""


def plan_run(run: PaliGemmaTransfer | MaskCodecRun) -> RunPlan:
    """Plan a run."""
    if isinstance(run, MaskCodecRun):
        return _plan_codec(run)
    return _plan_transfer(run)


def _plan_transfer(run: PaliGemmaTransfer) -> RunPlan:
    entry = entry_of(run.start)
    known = NAMED.get(entry.architecture if entry else run.start)
    config = known or weights.load(run.start).config
    if run.image_size is not None:
        config = replace(config, vision_encoder=replace(config.vision_encoder, image_size=(run.image_size,) * 2))
    length = run.learning.length or TEXT
    step = measure_text_step(config, length, min(length, SUFFIX), run.bf16, run)
    task = task_named(run.task) if run.task else None
    published = task is not None and task.examples is not None
    examples = (task.examples if task else None) or _EXAMPLES
    source = "of the task (arXiv 2407.07726, table 1)" if published else "assumed"
    if run.data and Path(run.data).exists():
        examples, source = len(samples_of(run, config, masks=False)), f"of {run.data}"
    elif run.data:
        source += f"; {run.data} is not here"
    steps = run.steps or max(1, round(run.epochs * examples / run.batch_size))
    return RunPlan(
        phases=(phase_of(run, steps, step),),
        examples_are=f"images of {config.image_size}x{config.image_size}, texts of {length} tokens",
        data="" if run.steps else f"{examples:,} examples, {source}",
    )


def phase_of(run: PaliGemmaStage | PaliGemmaTransfer, steps: int, step: MeasuredStep) -> PhasePlan:
    """Plan the steps of a run."""
    micro_batch = min(run.micro_batch, run.batch_size)
    return PhasePlan(steps=steps, batch_size=run.batch_size, micro_batch=micro_batch, step=step)


def measure_text_step(
    config: PaliGemmaConfig, length: int, suffix: int, bf16: bool, transfer: PaliGemmaTransfer | None = None
) -> MeasuredStep:
    """Measure the loss of an image and a text with `suffix` learned tokens; the rest is the prefix, at least one."""
    side = config.image_size
    model = unmade_model(transfer or PaliGemmaTransfer(), replace(config, prefix_mask="full"))
    with torch.device("meta"):
        pixels = torch.zeros(1, 1, 3, side, side)
        before, after = (torch.ones(1, n, dtype=torch.int64) for n in (max(1, length - suffix), suffix))

    def loss() -> Tensor:
        logits = model.language.logits(model.read(model.embed_images(pixels), before, after))
        return F.cross_entropy(logits.float().flatten(0, 1), after.flatten())

    return measure_step(loss, {"paligemma": model}, bf16=bf16)


def _plan_codec(run: MaskCodecRun) -> RunPlan:
    with torch.device("meta"):
        model, masks = LearningCodec(run), torch.zeros(2, SIDE, SIDE)
    model.eval()  # codes stay where they are, which costs next to nothing

    def loss() -> Tensor:
        decoded, distance, _ = model(masks)
        return decoded.square().mean() + distance

    step = measure_step(loss, {"codec": model}, 2)
    phase = PhasePlan(steps=run.steps, batch_size=run.batch_size, micro_batch=run.micro_batch, step=step)
    return RunPlan(phases=(phase,), examples_are=f"masks of {SIDE}x{SIDE}")
