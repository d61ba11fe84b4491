"""What to expect of two runs on 8, 64 and 512 H100: memory of a rank, traffic of a step, time; computed, not measured.

    python docs/tools/cluster_plan.py            the tables of docs/guides/plan-a-cluster-run.md
    python docs/tools/cluster_plan.py --json     all numbers

Models have shapes and no memory (device "meta"); the formulas are those of `tapetum.account.cluster`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from tapetum.account.closed_form import closed_form
from tapetum.account.cluster import (
    GIB,
    H100,
    Layout,
    Memory,
    Traffic,
    Unit,
    checkpointed_bytes,
    count_memory,
    count_traffic,
    decoder_block_bytes,
    encoder_block_bytes,
    least_shards,
    step_seconds,
)
from tapetum.account.config import Interval
from tapetum.systems.longvideo.recipes import PAPER
from tapetum.systems.longvideo.run_plan import plan_run as plan_video
from tapetum.systems.paligemma.config import named
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.pretraining.recipes import RECIPES
from tapetum.systems.pretraining.run_plan import account_step, step_on_meta
from tapetum.train.measure_step import record_units
from tapetum.train.task import repeated_blocks

GPUS = 8, 64, 512
_SHARDED = (8, 8), (64, 8), (64, 64), (512, 64)
"""GPUs and shards of the table of memory by moment."""
_FAMILY = {
    "paligemma-3b-224": "PaliGemma",
    "paligemma2-10b-224": "PaliGemma 2",
    "paligemma2-28b-224": "PaliGemma 2",
}
A_MACHINE = 8
"""GPUs of one, over which weights are sharded; machines are replicas of each other (HSDP)."""
Kept = Sequence[tuple[int, int, int]]
"""Of each call of a block, for one example: tokens, width, and bytes that it keeps for a token."""


@dataclass(frozen=True)
class Job:
    """A run that is planned."""

    name: str
    batch: int
    """Examples of a step."""
    steps: int
    micro_batch: int
    """Examples that a GPU works on at a time, at most."""
    checkpointing: bool
    parameters: int
    """That learn."""
    units: Sequence[Unit]
    forward: int
    """FLOPs of an example, forward."""
    backward: int
    kept: Kept
    logits: int
    """Numbers that the last layer of an example computes."""


@dataclass(frozen=True)
class Row:
    """A job on so many GPUs."""

    gpus: int
    layout: Layout
    micro_batch: int
    traffic: Traffic
    memory: Memory
    computing: Interval
    exchanging: Interval
    step: Interval


def dino_vit_large() -> Job:
    """DINO as published, with a ViT-L/16: two crops of 224 pixels and eight of 96; 100 epochs of 1,281,167 images."""
    run = replace(RECIPES["dino"]["vit"], encoder="vit-large-16", batch_size=1024)
    loss, parts = step_on_meta(run, 2)
    networks = list(parts.values())
    units = record_units(networks, [block for network in networks for block in repeated_blocks(network)], loss)
    flops = account_step(run, 2)
    config: Any = run.architecture.config
    bytes_per_token = encoder_block_bytes(config.width, config.mlp_width, config.heads)
    tokens = [(side // config.patch) ** 2 + 1 for side in run.views]
    student = sum(p.numel() for name, part in parts.items() if name != "teacher" for p in part.parameters())
    return Job(
        name="ViT-L/16 by DINO",
        batch=run.batch_size,
        steps=100 * 1_281_167 // run.batch_size,
        micro_batch=32,
        checkpointing=False,
        parameters=student,
        units=units,
        forward=flops.forward // 2,
        backward=flops.backward // 2,
        kept=[(n, config.width, bytes_per_token) for n in tokens for _ in range(config.depth)],
        logits=len(tokens) * run.dino.prototypes,
    )


def paligemma_stage_1(name: str = "paligemma-3b-224", title: str = "PaliGemma 3B, stage 1") -> Job:
    """PaliGemma, stage 1 (arXiv 2407.07726, section 3.2): 10^9 examples of 224 pixels and 128 tokens, nothing frozen."""
    config, text, batch = named(name), 128, 8192
    vision, language = config.vision_encoder, config.language
    with torch.device("meta"):
        model = PaliGemma(config)
        pixels = torch.empty(1, 3, config.image_size, config.image_size)
        tokens = torch.empty(1, config.image_tokens + text, language.width)
    blocks = repeated_blocks(model)
    units = [_unit(list(block.parameters())) for block in blocks]
    inside = {id(p) for block in blocks for p in block.parameters()}
    units.append(replace(_unit([p for p in model.parameters() if id(p) not in inside]), outermost=True))
    seen = closed_form(lambda: model.vision_encoder(pixels).pooled)
    read = closed_form(lambda: model.language(tokens))
    rows = 2 * text * language.width * language.vocabulary  # logits of the text
    joined = 2 * config.image_tokens * vision.width * language.width  # the projection
    vision_bytes = encoder_block_bytes(vision.width, vision.mlp_width, vision.heads)
    language_bytes = decoder_block_bytes(
        language.width, language.mlp_width, language.heads, language.key_value_heads, language.head_width
    )
    return Job(
        name=title,
        batch=batch,
        steps=1_000_000_000 // batch,
        micro_batch=16,
        checkpointing=True,
        parameters=sum(p.numel() for p in model.parameters()),
        units=units,
        forward=seen.forward + read.forward + rows + joined,
        backward=seen.backward + read.backward + 2 * (rows + joined),
        kept=[(config.image_tokens, vision.width, vision_bytes)] * vision.depth
        + [(config.image_tokens + text, language.width, language_bytes)] * language.depth,
        logits=text * language.vocabulary,
    )


def _unit(parameters: Sequence[nn.Parameter]) -> Unit:
    shapes = tuple(tuple(p.shape) for p in {id(p): p for p in parameters}.values())
    return Unit(shapes=shapes, learning=shapes)


def plan(job: Job, gpus: int, checkpointing: bool | None = None) -> Row:
    """Compute a row of the table of a job."""
    again = job.checkpointing if checkpointing is None else checkpointing
    micro_batch = min(job.micro_batch, job.batch // gpus)
    layout = Layout(
        shards=A_MACHINE, replicas=gpus // A_MACHINE, micro_batches=job.batch // gpus // micro_batch, weight_bytes=2
    )
    traffic = count_traffic(job.units, layout)
    kept = [(tokens * micro_batch, width, each) for tokens, width, each in job.kept]
    activations = checkpointed_bytes(kept) if again else sum(tokens * each for tokens, _, each in kept)
    activations += 10 * micro_batch * job.logits  # bfloat16, as float32, and their logarithms
    flops = job.batch * (job.forward * (2 if again else 1) + job.backward)
    return Row(
        gpus, layout, micro_batch, traffic, count_memory(job.units, layout, activations), *step_seconds(flops, traffic, layout)
    )


def markdown(job: Job) -> Iterator[str]:
    """Write the arithmetic and the table of a job."""
    each = job.forward + job.backward
    blocks = sum(not unit.outermost for unit in job.units)
    yield (
        f"{job.parameters / 1e6:,.0f} million weights learn; {len(job.units)} units, {blocks} of them blocks. An example is "
        f"{job.forward / 1e9:,.0f} + {job.backward / 1e9:,.0f} GFLOP (forward, backward), {(each + job.forward) / 1e9:,.0f} "
        f"with activations computed again. A step has {job.batch:,} examples, the run {job.steps:,} steps."
    )
    yield ""
    yield "| | " + " | ".join(f"{gpus} GPUs" for gpus in GPUS) + " |"
    yield "|---|" + "---|" * len(GPUS)
    rows = [plan(job, gpus) for gpus in GPUS]
    others = [plan(job, gpus, checkpointing=not job.checkpointing) for gpus in GPUS]
    other = "nothing" if job.checkpointing else "activations"

    def line(name: str, values: Sequence[str]) -> str:
        return f"| {name} | " + " | ".join(values) + " |"

    yield line("shards x replicas", [f"{row.layout.shards} x {row.layout.replicas}" for row in rows])
    yield line("micro-batch, accumulated", [f"{row.micro_batch}, {row.layout.micro_batches}" for row in rows])
    for name in ("weights", "gradients", "moments", "gathered", "activations"):
        yield line(f"{name}, GiB a GPU", [_gib(getattr(row.memory, name)) for row in rows])
    yield line("in all, GiB of 74.5", [_gib(row.memory.total) for row in rows])
    yield line(f"the same, with {other} computed again", [_gib(row.memory.total) for row in others])
    yield line("all-gather, GB a step", [f"{row.traffic.gathered / 1e9:.3g}" for row in rows])
    yield line("reduce-scatter, GB a step", [f"{row.traffic.scattered / 1e9:.3g}" for row in rows])
    yield line("all-reduce, GB a step", [f"{row.traffic.replicated / 1e9:.3g}" for row in rows])
    yield line("sent inside a machine, GB a GPU", [f"{row.traffic.sent_within(row.layout) / 1e9:.3g}" for row in rows])
    yield line("sent between machines, GB a GPU", [f"{row.traffic.sent_across(row.layout) / 1e9:.3g}" for row in rows])
    yield line("computing, s a step", [_seconds(row.computing) for row in rows])
    yield line("exchanging, s a step", [_seconds(row.exchanging) for row in rows])
    yield line("together, s a step", [_seconds(row.step) for row in rows])
    yield line("the run, hours", [_seconds(_hours(row.step, job.steps)) for row in rows])


def moments() -> Iterator[str]:
    """Write the table of memory by moment: of shards over a machine and over all GPUs, activations computed again."""
    layouts = [(gpus, Layout(shards=shards, replicas=gpus // shards, weight_bytes=2)) for gpus, shards in _SHARDED]
    yield f"| | {' | '.join(f'{gpus} GPUs, {each.shards} x {each.replicas}' for gpus, each in layouts)} | least shards |"
    yield "|---|" + "---|" * (len(layouts) + 1)
    video = plan_video(replace(PAPER["long"], model="longvivit-1b")).phases[0].step
    parameters = video.learning + video.frozen
    rows = [(f"LongViViT, {parameters / 1e9:.2f} B, 1 clip", video.units, video.checkpointed)]
    for name, title in _FAMILY.items():
        job = paligemma_stage_1(name, title)
        activations = job.micro_batch * (checkpointed_bytes(job.kept) + 10 * job.logits)
        rows.append((f"{title}, {job.parameters / 1e9:.1f} B, {job.micro_batch} images", job.units, activations))
    for title, units, activations in rows:
        memories = [count_memory(units, layout, round(activations)).by_moment.values() for _, layout in layouts]
        least = least_shards(units, Layout(shards=1, weight_bytes=2), round(activations), H100["memory"].value)
        yield f"| {title} | {' | '.join(', '.join(map(_gib, each)) for each in memories)} | {least} |"


def _hours(step: Interval, steps: int) -> Interval:
    return Interval(step.value * steps / 3600, step.low * steps / 3600, step.high * steps / 3600)


def _gib(size: float) -> str:
    return f"{size / GIB:.1f}"


def _seconds(time: Interval) -> str:
    return f"{time.value:.2g} ({time.low:.2g} to {time.high:.2g})"


def main() -> None:
    """Print the tables, or all numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    jobs = [dino_vit_large(), paligemma_stage_1()]
    if parser.parse_args().json:
        rows: list[dict[str, Any]] = [{"job": job.name, **asdict(plan(job, gpus))} for job in jobs for gpus in GPUS]
        print(json.dumps({"constants": [asdict(constant) for constant in H100.values()], "rows": rows}, indent=1))
        return
    for job in jobs:
        print(f"## {job.name}\n")
        print("\n".join(markdown(job)) + "\n")
    print("## Memory by moment, GiB a GPU: start, step, save, end\n")
    print("\n".join(moments()))


if __name__ == "__main__":
    main()
