"""Plans of PaliGemma's trainings: stages, transfers and the codec of masks (`tapetum.bench.plans`)."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.account.plan import StepCost, measure_step
from tapetum.bench.plan_types import Phase, Plan, unpublished_values
from tapetum.encoders.config import squashed
from tapetum.encoders.vit import ViT
from tapetum.hub.registry import entry_of
from tapetum.systems.paligemma import weights as paligemma_weights
from tapetum.systems.paligemma.config import NAMED, PaliGemmaConfig, named
from tapetum.systems.paligemma.masks.config import SIDE, MaskCodecRun
from tapetum.systems.paligemma.masks.task import LearningCodec
from tapetum.systems.paligemma.recipes import UNPUBLISHED as PALIGEMMA_UNPUBLISHED
from tapetum.systems.paligemma.recipes import PaliGemmaStage, PaliGemmaTransfer
from tapetum.systems.paligemma.run import stage_config, vision_encoder_config
from tapetum.systems.paligemma.transfer.run import samples_of, transfer_config, unmade_model
from tapetum.systems.paligemma.transfer.tasks import task_named
from tapetum.train.launch_config import Launch, train_config

TEXT, SUFFIX = 128, 32
"""Tokens of a text where a recipe does not say, and of its end, which is learned."""
_EXAMPLES = 10_000
"""Examples assumed of a transfer whose data are not there."""


def plan_paligemma_transfer(run: PaliGemmaTransfer, launch: Launch) -> Plan:
    entry = entry_of(run.start)
    config = NAMED.get(entry.architecture if entry else run.start) or paligemma_weights.load(run.start).config
    if run.image_size is not None:
        config = replace(config, vision_encoder=replace(config.vision_encoder, image_size=(run.image_size,) * 2))
    length = run.learning.length or TEXT
    task = task_named(run.task) if run.task else None
    published = task is not None and task.examples is not None
    examples = (task.examples if task else None) or _EXAMPLES
    source = "of the task (arXiv 2407.07726, table 1)" if published else "assumed"
    if run.data and Path(run.data).exists():
        examples, source = len(samples_of(run, config, masks=False)), f"of {run.data}"
    elif run.data:
        source += f"; {run.data} is not here"
    step = measure_text_step(config, length, min(length, SUFFIX), run.bf16, run)
    return Plan(
        phases=(Phase(config=transfer_config(run, launch, examples), step=step),),
        examples_are=f"images of {config.image_size}x{config.image_size}, texts of {length} tokens",
        data="" if run.steps else f"{examples:,} examples, {source}",
    )


def measure_text_step(
    config: PaliGemmaConfig, length: int, suffix: int, bf16: bool, transfer: PaliGemmaTransfer | None = None
) -> StepCost:
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


def plan_paligemma_stage(run: PaliGemmaStage, launch: Launch) -> Plan:
    vision = vision_encoder_config(run)
    examples = f"images of {run.image_size}x{run.image_size}"
    if run.stage == "0":
        with torch.device("meta"):
            encoder, pixels = ViT(vision, squashed(run.image_size)).train(), torch.zeros(1, 3, run.image_size, run.image_size)
        step = measure_step(lambda: encoder(pixels).pooled.square().mean(), {"vision_encoder": encoder}, bf16=run.bf16)
    else:
        length = run.learning.length or TEXT
        step = measure_text_step(replace(named(run.model), vision_encoder=vision), length, length, run.bf16)
        examples += f", texts of {length} tokens"
    return Plan(
        phases=(Phase(config=stage_config(run, launch), step=step),),
        examples_are=examples,
        unpublished=unpublished_values(run, PALIGEMMA_UNPUBLISHED) if run.preset == "paper" else (),
    )


def plan_mask_codec(run: MaskCodecRun, launch: Launch) -> Plan:
    with torch.device("meta"):
        model, masks = LearningCodec(run), torch.zeros(2, SIDE, SIDE)
    model.eval()  # codes stay where they are, which costs next to nothing

    def loss() -> Tensor:
        decoded, distance, _ = model(masks)
        return decoded.square().mean() + distance

    config = train_config(run, launch, micro_batch=run.micro_batch, weight_decay=0.0)
    phase = Phase(config=config, step=measure_step(loss, {"codec": model}, 2))
    return Plan(phases=(phase,), examples_are=f"masks of {SIDE}x{SIDE}")
