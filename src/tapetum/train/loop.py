"""`fit`: the training loop of every system.

What is unusual: a run is a pure function of its config and task. All randomness is derived from (seed, sample number), so
a checkpoint holds no generator state, and a run that is killed at any moment and started again ends bit for bit as if
nothing had happened.
"""

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tapetum.data.samples import EVALUATION, LOSS, mix_seed, seed_globals
from tapetum.errors import BadInput, TapetumError
from tapetum.train import checkpoint
from tapetum.train.batch import to_device
from tapetum.train.config import TrainConfig
from tapetum.train.log import say
from tapetum.train.objective import Objective, in_parallel
from tapetum.train.optim import Gradients, set_learning_rate
from tapetum.train.report import Report
from tapetum.train.schedule import learning_rate
from tapetum.train.shares import clip, whole
from tapetum.train.state import evaluation_mode, identity, new_model, new_state, restore, save, tensors_of
from tapetum.train.stream import Stream, sample_numbers
from tapetum.train.task import Task
from tapetum.train.world import StopWish, World, claimed, join_world


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a call of `fit` ended."""

    state: Literal["finished", "stopped"]
    """stopped: by max_minutes or a signal; the same call goes on from `checkpoint`."""
    step: int
    """Steps done in the whole run."""
    loss: float | None
    """Loss of the last step; None if this call made none."""
    checkpoint: Path
    """The newest checkpoint: model.safetensors, ema.safetensors if asked for, optimizer.safetensors, state.json."""
    model: nn.Module
    """The model with its own weights."""
    ema: dict[str, Tensor] | None
    """State dict of the averaged weights."""


def fit(task: Task, config: TrainConfig, out: Path | str) -> FitResult:
    """Trains, or goes on training, in the folder `out`, and returns when the run is finished or stopped.

    Writes checkpoints/, log.jsonl, tensorboard/ and ledger.json. Under torchrun all processes call it alike. BadInput when
    `out` belongs to a run with other settings or is in use, or the disk is full; TapetumError when gradients stay non-finite.
    """
    out = Path(out)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with ExitStack() as stack:
        wish = stack.enter_context(StopWish(config.max_minutes))
        world = stack.enter_context(join_world(config.device))
        wish.listen()  # to the end of the world: torchrun's SIGTERM after a death must not cut off what there is to say of it
        stack.enter_context(claimed(out, world))
        run = _Run(task, config, out, world)
        if run.state.step < config.steps:
            run.train(wish)
        result = run.result()
        del run  # FSDP2 keeps buffers of its exchanges, which the world waits for at its end
    return result


class _Run:
    """The run in this process, from its newest checkpoint on."""

    def __init__(self, task: Task, config: TrainConfig, out: Path, world: World):
        self.task, self.config, self.out, self.world = task, config, out, world
        self.identity = identity(task, config, world.size)
        self.objective = Objective(task, new_model(task, config, world.device), config, world.device)
        self.parallel = in_parallel(self.objective, config, world)
        self.sharded = world.size > 1 and config.parallel == "fsdp"
        self.state = new_state(task, config, self.objective.model)
        self.teacher = self._new_teacher()
        self.newest: Path | None = world.share(checkpoint.latest(out / "checkpoints") if world.main else None)
        self.log_position = restore(self.state, self.newest, self.identity) if self.newest else 0
        if self.newest and world.main:
            say(f"resuming after step {self.state.step} of {config.steps} from {self.newest.name}")
        self.loss: float | None = None
        if config.compile:
            self.state.model.compile()

    def _new_teacher(self) -> nn.Module | None:
        """The model that has the average's weights, for a task that asks for one; its tensors are the average's own."""
        if not self.task.taught:
            return None
        if self.state.ema is None:
            raise BadInput("this task learns from the average of the weights: give TrainConfig an ema_decay")
        teacher = new_model(self.task, self.config, self.world.device)
        if not self.sharded:
            teacher.load_state_dict(self.state.ema.average, assign=True)
        self.objective.learn_from(teacher)
        return teacher

    def train(self, wish: StopWish) -> None:
        """Steps until the end or a wish to stop; ends with a checkpoint."""
        state, config = self.state, self.config
        with ExitStack() as stack:
            stream = stack.enter_context(Stream(self.task, config, state.step, self.world))
            report = None
            if self.world.main:
                report = stack.enter_context(
                    Report(self.out, config, self.world, start=state.step, log_position=self.log_position)
                )
                self._count_flops(stream, report)
            while True:
                began = time.perf_counter()
                record = self._step(stream)
                shared = self.world.mean({"/stop": wish.now(), "/cpu": stream.cpu_seconds, **record["metrics"]})
                stop, cpu_seconds = shared.pop("/stop") > 0, shared.pop("/cpu") * self.world.size
                state.seconds += time.perf_counter() - began
                self.loss = shared.pop("loss")
                rate = config.batch_size / (time.perf_counter() - began)
                record = {"step": state.step, "loss": self.loss, **record, "metrics": shared}
                record |= {"time": state.seconds, "samples_per_s": rate}
                ends = stop or state.step == config.steps
                if self._evaluation_due:
                    record |= self._evaluate()
                if report:
                    report.step(record, cpu_seconds)
                if ends or state.step % config.checkpoint_every == 0:
                    self._save(report)
                if ends:
                    self.newest = self.world.share(self.newest)
                    return

    def _step(self, stream: Stream) -> dict[str, Any]:
        """One optimiser step; the record has this process's own loss (under metrics)."""
        state, config = self.state, self.config
        lr = learning_rate(state.step, config)
        if self.sharded and self.teacher is not None and state.ema is not None:
            self.teacher.load_state_dict(whole(state.ema.average, self.world, everywhere=True))
        gradients = {name: Gradients(optimizer) for name, optimizer in state.optimizers.items()}
        sums: dict[str, float] = {}
        for number in range(config.accumulation):
            batch = to_device(stream.next(), self.world.device)
            for name, own in gradients.items():
                with own, self._exchange(last=number == config.accumulation - 1):
                    loss, metrics = self.parallel(batch[name] if name else batch, self._seed(number))
                    (loss / config.accumulation).backward()
                told = {**metrics, "loss": loss.detach()}
                if name:
                    told = {f"{name}/{key}": value for key, value in told.items()} | {"loss": loss.detach()}
                for key, value in told.items():
                    sums[key] = sums.get(key, 0.0) + float(value) / config.accumulation
        norms = {}
        for name, own in gradients.items():
            with own:
                norms[name] = clip(own.parameters, config.clip_norm or math.inf, self.world)
        norm = math.hypot(*norms.values()) if len(norms) > 1 else norms.popitem()[1]
        if self.world.size > 1:
            self.world.spread(state.model.buffers())  # before the average takes them, which may teach
        self._update(gradients, lr, math.isfinite(norm))
        state.step += 1
        return {"lr": lr, "grad_norm": norm, "skipped": state.skipped, "metrics": sums}

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Under DDP the gradients are exchanged with the last part of a step; under FSDP2 with each: less memory."""
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()

    def _update(self, gradients: Mapping[str, Gradients], lr: float, finite: bool) -> None:
        """Moves the weights, or leaves them where a gradient is not finite."""
        state = self.state
        if finite:
            for name, optimizer in state.optimizers.items():
                set_learning_rate(optimizer, lr)
                with gradients[name]:
                    optimizer.step()
            state.skipped_in_a_row = 0
            if state.ema is not None:
                state.ema.update(state.model)
            return
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row > self.config.max_skips:
            kept = f"the checkpoint {self.newest.name} is from before" if self.newest else "no checkpoint was written yet"
            raise TapetumError(
                f"gradients were not finite in {state.skipped_in_a_row} steps in a row, up to step {state.step + 1}; {kept}; "
                "lower the learning rate, or look for a log or division by zero in the loss"
            )

    def _seed(self, part: int) -> int:
        """Seed of the loss, from the first sample of the micro-batch."""
        world = self.world
        first = sample_numbers(self.state.step, part, world.rank, world.size, self.config)[0]
        return mix_seed(self.config.seed, LOSS, first)

    def _count_flops(self, stream: Stream, report: Report) -> None:
        if report.wants_flops:
            objective = self.objective
            if self.sharded:  # one process alone can't run what all hold a share of
                model = new_model(self.task, self.config, self.world.device)
                objective = Objective(self.task, model, self.config, self.world.device)
                objective.learn_from(self.teacher)
            batch = to_device(stream.peek(), self.world.device)
            parts = {name: batch[name] if name else batch for name in self.state.optimizers}
            flops = {name: objective.count(part, self._seed(0)) for name, part in parts.items()}
            report.set_flops(flops, self.config.accumulation * self.world.size)

    @property
    def _evaluation_due(self) -> bool:
        step, every = self.state.step, self.config.eval_every
        return bool(every) and (step % every == 0 or step == self.config.steps)

    def _evaluate(self) -> dict[str, Any]:
        """The task's scores, as an entry for the record; the main process finds them, with help from the others."""
        state, model, average = self.state, self.state.model, nullcontext()
        if self.sharded:
            weights = whole(state.ema.average if state.ema else model.state_dict(), self.world)
            model = self._model_of(weights) if self.world.main else model
        elif state.ema:
            average = state.ema.applied(model)
        if not self.world.main:
            return {}
        seed_globals(mix_seed(self.config.seed, EVALUATION, state.step))
        with evaluation_mode(model), average:
            return {"eval": dict(self.task.evaluate(model, state.step))}

    def _model_of(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """A model that no process has a share of."""
        model = new_model(self.task, self.config, self.world.device)
        model.load_state_dict(weights)
        return model

    def _save(self, report: Report | None) -> None:
        tensors = tensors_of(self.state, self.world)
        if report is None:
            return
        folder = self.out / "checkpoints"
        self.newest = save(self.state, tensors, folder, self.identity, report.log.position())
        checkpoint.prune(folder, self.config.keep_last, self.config.keep_every)
        report.write_ledger()

    def result(self) -> FitResult:
        state, world = self.state, self.world
        model, ema = state.model, state.ema.average if state.ema else None
        if self.sharded:
            model = self._model_of(whole(model.state_dict(), world, everywhere=True))
            ema = whole(ema, world, everywhere=True) if ema is not None else None
        return FitResult(
            state="finished" if state.step == self.config.steps else "stopped",
            step=state.step,
            loss=self.loss,
            checkpoint=self.newest or self.out,
            model=model,
            ema=ema,
        )
