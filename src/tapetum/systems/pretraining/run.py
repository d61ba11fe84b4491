"""Pre-training of an encoder by any method, from images to a file of weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import Any

import torch

from tapetum.core.devices import find_device, free_bytes, peak_bytes, spoken
from tapetum.core.errors import BadInput
from tapetum.data.remote_folder import local_data
from tapetum.encoders.factory import save
from tapetum.hub.registry import ENCODER_FILE
from tapetum.layers.transformer import merge_lora
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.recipes import ImageRun, Pretrained, PretrainRun
from tapetum.systems.pretraining.sources import check_sizes, read_sources
from tapetum.systems.pretraining.task import PretrainTask
from tapetum.train import TrainConfig, fit
from tapetum.train import launch as processes
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.rehearsal import FORECAST_S, begins_alone, rehearse

_WARMUP_AT_MOST = 10
"""The warm-up of the preset small is a tenth of the run at most; those of published presets are as given."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted cost of a run: its first steps were done on this machine (`tapetum.train.rehearsal`)."""

    steps: int
    """Of the run."""
    flops_per_step: int
    """Of all processes; 2 a multiply-add."""
    step_s: float
    """Seconds that a step takes, without the views."""
    views_s: float
    """Seconds that the making of a step's views takes."""
    workers: int
    """Processes that make views; 0: the one that trains."""
    start_s: float = 0.0
    """Seconds that the beginning and the end of a run take, beside its steps."""
    cpu_start_s: float = 0.0
    """CPU seconds of these."""
    cpu_step_s: float = 0.0
    """CPU seconds of a step with its views, of all threads and processes."""
    peak_bytes: int | None = None
    """Most bytes in the memory of the device that trains, or on a CPU of this process; None: unknown."""
    free_bytes: int | None = None
    """Bytes of the same memory that were free before; None: unknown."""

    @property
    def flops(self) -> int:
        return self.steps * self.flops_per_step

    @property
    def seconds(self) -> float:
        step = max(self.step_s, self.views_s / self.workers) if self.workers else self.step_s + self.views_s
        return self.start_s + self.steps * step

    @property
    def cpu_seconds(self) -> float:
        """Predict the CPU seconds of the whole run, as its ledger counts them."""
        return self.cpu_start_s + self.steps * self.cpu_step_s

    def lines(self) -> list[str]:
        share = self.views_s / max(self.workers, 1) / self.step_s
        slower = ", which is what the run will wait for: give more --workers" if self.workers and share > 1 else ""
        makers = "the process that trains makes them" if not self.workers else f"{self.workers} more make them"
        return [
            f"{self.steps:,} steps of {self.flops_per_step / 1e9:,.1f} GFLOP (2 a multiply-add): {self.flops:.2e} FLOP, about "
            f"{spoken(self.seconds)} at {self.flops_per_step / self.step_s / 1e9:.0f} GFLOP/s",
            f"views take {share:.0%} of the time of a step ({makers}){slower}",
        ]


def task_for(run: PretrainRun) -> PretrainTask:
    """Make the task of a run. Raises BadInput for data, encoder or settings that don't fit together."""
    task = task_of(run.method)
    return task(run, source_of(run, captions=task.captions))


def source_of(run: ImageRun, *, captions: bool = False) -> ImageSource:
    """Read the images of a run, as `task_for`. Raises BadInput, also if the images are smaller than the views."""
    if not run.data:
        raise BadInput("there is no data; give --data with a folder of images")
    run.architecture  # noqa: B018, an unknown one is refused before the data are looked at
    with local_data(run, ("data",)) as local:
        source = read_sources(local.data, run.data_weights, captions=captions)
    if not run.enlarge:
        check_sizes(source, run.size, ", ".join(run.data))
    return source


def loop_config(task: PretrainTask, launch: Launch, **settings: Any) -> TrainConfig:
    run, images = task.run, len(task.source)
    steps = run.steps_of(images)
    warmup = round(run.warmup_epochs * images / run.batch_size)
    if run.preset == "small":
        warmup = min(warmup, steps // _WARMUP_AT_MOST)
    elif warmup >= steps:
        raise BadInput(
            f"--warmup-epochs {run.warmup_epochs:g} are {warmup:,} steps, and the run has {steps:,}; give fewer, or more epochs"
        )
    return train_config(
        run,
        launch,
        micro_batch=run.micro_batch,
        steps=steps,
        warmup_steps=warmup,
        optimizer=run.optimizer,
        trust_coefficient=run.trust_coefficient,
        final_weight_decay=run.final_weight_decay,
        clip_norm=run.clip_norm,
        averages=task.averages,
        weights_to_score=task.kept,
        eval_every=run.probe_every,
        find_unused_parameters=task.idle_parameters,
        **{"lr": run.base_lr * run.batch_size / 256, "checkpoint_every": 1000, **settings},
    )


def pretrain(run: PretrainRun, launch: Launch, say: Callable[[str], None] = print) -> Pretrained | None:
    """Pre-train in the folder `launch.out`; the same call resumes a stopped run. None if there is more to do.

    `say` gets lines about the data and, before the first step, about the cost of the run. Under torchrun every process calls
    this. Raises BadInput for anything the user can fix.
    """
    return run_task(task_for(run), launch, say)


def run_task(
    task: PretrainTask,
    launch: Launch,
    say: Callable[[str], None] | None,
    keep: Callable[[Any], None] = lambda model: None,
    **settings: Any,
) -> Pretrained | None:
    """Train a task that learns an encoder from images, like `pretrain`; the main process calls `keep` with the whole model.

    Without `say` nothing is predicted. `settings` are further fields of `TrainConfig`.
    """
    config = loop_config(task, launch, **settings)
    if task.run.probe_every:  # what is wrong with the images is said before the first step
        from tapetum.systems.pretraining.scores import labelled_parts

        if labelled_parts(task) is None and task.run.patience:
            raise BadInput("--patience judges by labelled images, and these have no labels; give --probe-data, or leave it out")
    if say is not None and processes.is_main():
        source = task.source
        classes = f" of {len(source.classes)} classes" if source.labels is not None else ""
        shares = [f" (weight {weight:g})" for weight in source.weights] or [""] * len(source.sizes)
        names = source.about["data"] if source.sizes else ()  # of several
        parts = [f"{name} {size:,}{share}" for name, size, share in zip(names, source.sizes, shares, strict=True)]
        say(f"{len(source):,} images{classes}{': ' if parts else ''}{', '.join(parts)}")
        if begins_alone(config, launch.out):
            for line in predict(task, config).lines():
                say(line)
    result = fit(task, config, launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    path = launch.out / ENCODER_FILE
    if processes.is_main():
        model: Any = result.model
        if task.kept != "model":
            model.load_state_dict(result.averages[task.kept])
        keep(model.eval())
        merge_lora(model.encoder)
        save(model.encoder.eval(), path)
    names = tuple(task.source.images.name(k) for k in sorted(task.damaged))
    return Pretrained(encoder=path, images=len(task.source), damaged=names, collapsed_at=task.collapsed_at)


def predict(task: PretrainTask, config: TrainConfig, seconds: float = 1.0) -> Prediction:
    """Run the first steps for about this many seconds, and time how long a micro-batch's views take.

    Later steps that cost other FLOPs count in proportion to these.
    """
    from tapetum.systems.pretraining.cost import count_step

    device = find_device(config.device)
    cuda = torch.cuda if device.type == "cuda" else None
    free = cuda.mem_get_info(device)[0] if cuda else free_bytes()
    measured = rehearse(task, config, seconds, most=FORECAST_S)
    later = 1.0
    if task.cost_changes:
        starts = (0, *task.cost_changes)
        each = [count_step(task.run, 2, step=start).total for start in starts]
        lengths = [end - start for start, end in pairwise((*starts, config.steps))]
        later = sum(map(mul, each, lengths)) / (each[0] * config.steps)
    world = processes.world_size()
    samples, size = task.dataset(), config.micro_batch(world)
    began = time.perf_counter()
    task.collate([samples[number] for number in range(size)])
    views_s = (time.perf_counter() - began) * config.accumulation
    task.damaged.clear()
    task.collapsed_at = None
    wall = measured.step.wall / world * later
    return Prediction(
        steps=config.steps,
        flops_per_step=round(measured.flops_per_step * later),
        step_s=wall if config.workers else max(wall - views_s, wall / 10),
        views_s=views_s,
        workers=config.workers,
        start_s=measured.start.wall,
        cpu_start_s=measured.start.cpu,
        cpu_step_s=measured.step.cpu * later,
        peak_bytes=cuda.max_memory_allocated(device) if cuda else peak_bytes(),
        free_bytes=free,
    )
