"""Plan of a training run of a video encoder (`tapetum train longvideo --dry`)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.cost import compute_cost
from tapetum.systems.longvideo.language import ByteLanguage
from tapetum.systems.longvideo.recipes import UNPUBLISHED, VideoTextRun
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.video_text_config import BYTE_DECODER, CaptionerConfig
from tapetum.train.measure_step import measure_step

Measured = tuple[Callable[[], Tensor], Mapping[str, nn.Module]]


def plan_run(run: VideoTextRun) -> RunPlan:
    """Plan a run of a stage; the network is that of `run.model`, whatever weights it starts from.

    Similarities among the clips of a step are left out, as their cost is negligible.
    """
    loss, parts = {"language": _language, "video-to-text": _video_to_text}.get(run.stage, _contrastive)(run)
    step = measure_step(loss, parts, bf16=run.bf16)
    video = run.config.video
    frames = 1 if run.stage == "images" else run.frames
    cost = compute_cost(video, frames, training=True)
    if run.checkpointing:  # the network then computes segments again, one after the other, not blocks
        step = replace(step, checkpointed=step.activations / cost.segments)
    sizes: dict[str, Any] = {"batch_size": run.batch_size, "micro_batch": run.micro_batch}
    phase = PhasePlan(steps=run.steps, checkpointing=run.checkpointing, step=step, **sizes)
    shown = f"clips of {frames} frames of {run.size}x{run.size}: {cost.segments:,} segments, {cost.tokens:,} tokens, "
    return RunPlan(
        phases=(phase,),
        examples_are="texts" if run.stage == "language" else f"{shown}{cost.memories:,} memories a layer",
        unpublished=unpublished_values(run, UNPUBLISHED[run.stage]) if run.preset == "paper" else (),
    )


def _contrastive(run: VideoTextRun) -> Measured:
    config = run.config
    with torch.device("meta"):
        model = VideoText(replace(config, video=replace(config.video, checkpoint_segments=False))).train()
        video = torch.zeros(1, run.frames, run.size, run.size, 3)
        ids = torch.ones(1, config.text.length, dtype=torch.int64)

    def loss() -> Tensor:
        total = torch.zeros((), device="meta")
        if run.stage in ("images", "short"):
            total = total + (model.embed_images(video[:, 0]) * model.embed_texts(ids)).sum()
        if run.stage != "images":
            total = total + (model.embed_videos(video) * model.embed_texts(ids)).sum()
        return total * model.scale()

    return loss, {"video": model.video, "text": model}


def _language(run: VideoTextRun) -> Measured:
    length = CaptionerConfig.__dataclass_fields__["length"].default
    with torch.device("meta"):
        model, ids = ByteLanguage(BYTE_DECODER).train(), torch.ones(1, length, dtype=torch.int64)
    return lambda: model(ids[:, :-1]).float().logsumexp(-1).mean(), {"language": model}


def _video_to_text(run: VideoTextRun) -> Measured:
    changes = {"mask_always": run.mask_ratio > 0, "checkpoint_segments": False}
    config = CaptionerConfig(video=replace(run.config.video, **changes))
    with torch.device("meta"):
        model = Captioner(config).train()
        video = torch.zeros(1, run.frames, run.size, run.size, 3)
        ids = torch.ones(1, config.length, dtype=torch.int64)
    return lambda: model(ids[:, :-1], model.encode(video)).float().logsumexp(-1).mean(), {"captioner": model}
