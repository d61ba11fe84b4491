"""`fit`: the training loop of every system.

What is unusual: a run is a pure function of its config and task. All randomness is derived from (seed, sample number), so
a checkpoint holds no generator state, and a run that is killed at any moment and restarted ends with bit-identical results.
"""

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapetum.core.devices import check_compiler, leave_out_checks, return_freed_memory
from tapetum.core.errors import BadInput, TapetumError
from tapetum.data.samples import EVALUATION, mix_seed
from tapetum.train import checkpoint
from tapetum.train.accumulation import Gradients, Objective, checkpoint_activations, make_accumulation
from tapetum.train.config import TrainConfig
from tapetum.train.launch import StopRequest, lock_folder, record_signal, say
from tapetum.train.machines import Machines, StepReport
from tapetum.train.optim import learning_rate, set_learning_rates, weight_decay
from tapetum.train.process_group import ProcessGroup, alone, average_whole, clip_gradients, gather_tensors, join_process_group
from tapetum.train.state import Saver, check_learned, continued_config, evaluation_mode, identity, new_model, new_state, restore
from tapetum.train.stream import Stream
from tapetum.train.task import Task


@dataclass(frozen=True, kw_only=True)
class FitResult:
    state: Literal["finished", "stopped"]
    """stopped: by max_minutes or a signal; the same call goes on from `checkpoint`."""
    step: int
    """Steps done in the whole run."""
    loss: float | None
    """Loss of the last step; None if this call made none."""
    log: Path
    checkpoint: Path
    weights: Path
    """Folder of model.safetensors and one of each average by its name: the checkpoint itself; of one in parts, where the run is
    finished, the folder weights of the run."""
    read_model: Callable[[], nn.Module]
    read_averages: Callable[[], dict[str, dict[str, Tensor]]]

    @cached_property
    def model(self) -> nn.Module:
        """Get the model with its own weights; of a sharded run, read from `weights` when first asked for.

        Raises TapetumError if that stopped, and has checkpoints in parts.
        """
        return self.read_model()

    @cached_property
    def averages(self) -> dict[str, dict[str, Tensor]]:
        """Get the state dicts of the averaged weights, by name, as `model`."""
        return self.read_averages()

    @property
    def scores(self) -> dict[str, float]:
        """Read the task's scores after the last step from the log, of a run that evaluates (`TrainConfig.eval_every`)."""
        from tapetum.train.run_files import read_tail

        scored = (record["eval"] for record in reversed(read_tail(self.log)) if record.get("eval"))
        return next(scored, {})


def fit(
    task: Task,
    config: TrainConfig,
    out: Path | str,
    *,
    began: Callable[[], None] = lambda: None,
    enough: Callable[[float], bool] = lambda cpu_seconds: False,
) -> FitResult:
    """Train, or continue training, in the folder `out`; return when the run is finished or stopped.

    Writes checkpoints/, log.jsonl, ledger.json and the logs named in `config.log_to`. The process that writes calls `began`
    before its first step, once the folder is known to belong to this run; after each step all processes call `enough` with the
    CPU seconds so far to learn whether to stop. Under torchrun all processes call this alike. BadInput if `out` is of a run
    with other settings or is in use, or the disk is full; TapetumError if gradients stay non-finite, or were in all steps.
    """
    out = Path(out)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with ExitStack() as stack:
        request = stack.enter_context(StopRequest(config.max_minutes))
        processes = stack.enter_context(join_process_group(config.device))
        request.listen()  # to the world's end: torchrun's SIGTERM after a death must not cut off what there is to say of it
        begun = (out / ".lock").exists()
        if processes.main:
            stack.enter_context(lock_folder(out))
        run = _Run(task, config, out, processes)
        stack.callback(run.saver.close)
        if processes.main:
            began()
        run.say_start(begun)
        with run.explaining_what_is_saved():
            if not run.state.is_finished(config):
                run.train(request, enough)
        if run.state.is_finished(config):
            check_learned(run.state)
        result = run.result()
        record_signal(run.signal if result.state == "stopped" else None)
        sharded = run.sharded
        del run  # FSDP2 keeps buffers of its exchanges, which the world waits for at its end
        if sharded:  # before anybody reads the whole model
            gc.collect()
            return_freed_memory()
    return result


class _Run:
    """The run in this process, starting from its newest checkpoint."""

    def __init__(self, task: Task, config: TrainConfig, out: Path, processes: ProcessGroup):
        if config.patience and not (config.eval_every and task.watched):
            raise BadInput(f"patience is {config.patience}, and no score is computed by which to judge; give 0, or evaluations")
        self.saver = Saver(config, out, processes)
        self.sharded = processes.size > 1 and config.parallel == "fsdp"
        objective = Objective(task, self._new_model(task, config, processes), config, processes.device)
        newest = self.saver.newest
        if newest:
            config, self.identity = continued_config(newest, task, config, processes, objective.model)
        else:
            self.identity = identity(task, config, processes.size, objective.model)
        self.task, self.config, self.out, self.processes = task, config, out, processes
        if config.activation_checkpointing:
            checkpoint_activations(task.shards(objective.model))
        teachers = self._new_teachers()
        objective.set_teachers(teachers)
        self.passes = make_accumulation(objective, config, processes)  # shards the model, and its teachers, for FSDP
        if self.sharded:
            return_freed_memory()
        self.state = new_state(task, config, objective.model)
        self._share_tensors(teachers)
        self.log_position = restore(self.state, newest, self.identity) if newest else 0
        self.loss: float | None = None
        self.signal: int | None = None
        """Number of the signal that asked this process or another to stop."""
        if config.compile:
            check_compiler(processes.device)
            self.state.model.compile()

    def _new_model(self, task: Task, config: TrainConfig, processes: ProcessGroup, teacher: bool = False) -> nn.Module:
        """Make a model; of one that will be sharded, only the main process's has values, and of its teachers none."""
        if not self.sharded:
            return new_model(task, config, processes.device)
        from tapetum.train.fsdp import make_on_meta  # seconds of imports

        make = partial(new_model, task, config, torch.device("cpu"))
        return make() if processes.main and not teacher else make_on_meta(make)

    def _new_teachers(self) -> dict[str, nn.Module]:
        averages = [average.name for average in self.config.every_average]
        for name in self.task.teachers:
            if name not in averages:
                setting = "an ema_decay" if name == "ema" else f"averages with one named {name}"
                raise BadInput(f"this task learns from the average {name} of the weights: give TrainConfig {setting}")
        return {name: self._new_model(self.task, self.config, self.processes, True) for name in self.task.teachers}

    def _share_tensors(self, teachers: Mapping[str, nn.Module]) -> None:
        """Share the averages' tensors with the teachers, so that updating an average updates its teacher."""
        for name, teacher in teachers.items():
            average = self.state.averages[name]
            if self.sharded:  # a sharded module keeps its own tensors
                own = teacher.state_dict()
                for key, value in average.average.items():
                    own[key].copy_(value)
                average.average = own
            else:
                teacher.load_state_dict(average.average, assign=True)

    def train(self, request: StopRequest, enough: Callable[[float], bool]) -> None:
        """Step until the end or a request to stop; finishes with a checkpoint."""
        from tapetum.train.count_step import report_flops

        state, config = self.state, self.config
        with ExitStack() as stack:
            stream = stack.enter_context(Stream(self.task, config, state.step, self.processes))
            report, session = None, time.perf_counter()
            machines = Machines(config.ledger, self.processes)
            if self.processes.main:
                from tapetum.train.log import RunReport  # what other processes need not load

                settings, position = self.identity, self.log_position
                report = stack.enter_context(
                    RunReport(
                        self.out, config, self.processes, machines, settings=settings, start=state.step, log_position=position
                    )
                )
            if self.processes.broadcast(report.needs_flops if report else None):
                report_flops(report, self.passes, stream, state.step)
            if self.sharded:
                return_freed_memory()
            while True:
                if state.step in self.task.cost_changes:
                    report_flops(report, self.passes, stream, state.step)
                began = time.perf_counter()
                record = self._step(stream)
                if self.sharded:
                    return_freed_memory()  # holes that gathered weights left would add to the next step's
                own = StepReport(
                    stop=enough(cpu_seconds := stream.cpu_seconds) or request.now(),
                    save=self.saver.due,
                    save_failed=self.saver.failed,
                    signal=request.number,
                    cpu_seconds=cpu_seconds,
                    kwh=machines.read_energy(cpu_seconds, time.perf_counter() - session),
                )
                shared = own.shared(self.processes)
                if shared.save_failed:
                    self.saver.wait()
                self.signal = shared.signal
                state.seconds += time.perf_counter() - began
                self.loss = record["loss"]
                throughput = config.batch_size / (time.perf_counter() - began)
                record = {"step": state.step, **record, "time": state.seconds, "samples_per_s": throughput}
                if config.eval_every and (state.step % config.eval_every == 0 or state.step == config.steps):
                    scores = self._evaluate()
                    record |= {"eval": scores} if report else {}
                    self._watch(scores)
                ends = shared.stop or state.is_finished(config)
                if report:
                    report.finished = state.is_finished(config)
                    report.step(record, shared.cpu_seconds, cpu_seconds, shared.kwh)
                if ends or shared.save or state.step % config.checkpoint_every == 0:
                    self.saver.save(state, self.identity, report.log.position() if report else 0)
                    if report:
                        report.write_ledger()
                if ends:
                    self.saver.wait()
                    return

    def _step(self, stream: Stream) -> dict[str, Any]:
        """Make one optimiser step; the record has loss and metrics, averaged over the processes.

        Loss, metrics and the gradient norm come from the device in one transfer, the only one of the step.
        """
        state, config = self.state, self.config
        lr = learning_rate(state.step, config)
        gradients = {name: Gradients(optimizer) for name, optimizer in state.optimizers.items()}
        with leave_out_checks():
            values, checks = self.passes.run(stream, state.step, gradients)
        norms: dict[str, Tensor | float] = {}
        for name, own in gradients.items():
            with own:
                if self.sharded:
                    average_whole(own.parameters, self.processes)
                norms[name] = clip_gradients(
                    own.parameters, config.clip_norm or math.inf, self.processes, each=config.clip_each
                )
        metrics, checked, means = self.processes.mean_on_device(values, checks, norms)
        self.passes.check(checked)
        lengths = [means[name] for name in gradients]
        norm = math.hypot(*lengths) if len(lengths) > 1 else lengths[0]
        if self.processes.size > 1:
            self.processes.broadcast_tensors(state.model.buffers())  # before the average takes them, which may teach
        self._update(gradients, lr, math.isfinite(norm))
        state.step += 1
        loss = metrics.pop("loss")
        self.task.after_step(state.step - 1, metrics)
        return {"loss": loss, "lr": lr, "grad_norm": norm, "skipped": state.skipped, "metrics": metrics}

    def _update(self, gradients: Mapping[str, Gradients], lr: float, finite: bool) -> None:
        state = self.state
        if finite:
            for name, optimizer in state.optimizers.items():
                set_learning_rates(optimizer, lr, weight_decay(state.step, self.config), state.step)
                with gradients[name]:
                    optimizer.step()
            state.skipped_in_a_row = 0
            for average in state.averages.values():
                average.update(state.model)
            return
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row > self.config.max_skips:
            newest = self.saver.newest
            kept = f"the checkpoint {newest.name} is from before" if newest else "no checkpoint was written yet"
            raise TapetumError(
                f"gradients were not finite in {state.skipped_in_a_row} steps in a row, up to step {state.step + 1}; {kept}; "
                "lower the learning rate, or look for a log or division by zero in the loss"
            )

    def say_start(self, begun: bool) -> None:
        """Report what was found in the folder of a run that had `begun` before."""
        if self.saver.newest and self.processes.main:
            say(f"goes on after step {self.state.step} of {self.config.steps}, from {self.saver.newest.name}")
        elif begun and self.processes.main:
            say("nothing was saved, begins anew")

    @contextmanager
    def explaining_what_is_saved(self) -> Iterator[None]:
        """Let whoever reports an error say where the same command would resume."""
        try:
            yield
        except TapetumError:
            raise  # says so itself
        except BaseException as error:
            newest = self.saver.newest
            error.add_note(f"{newest.name} is kept and the same command goes on from it" if newest else "nothing was saved yet")
            raise

    def _evaluate(self) -> dict[str, float]:
        """The task's scores. The main process computes them; of weights in shards, all do, each with its share of the work."""
        state, processes, run = self.state, self.processes, self.passes.objective
        average, averaged, gathered = state.averages.get(self.config.scored_average or ""), nullcontext(), nullcontext()
        together = self.sharded and not self.task.evaluates_whole
        if together:
            from tapetum.train.fsdp import evaluation

            run, gathered = self.passes.parallel, evaluation(self.passes.parallel)
        elif self.sharded:
            weights = gather_tensors(average.average if average else state.model.state_dict(), processes)
            if processes.main:
                model, average = new_model(self.task, self.config, processes.device), None
                model.load_state_dict(weights)
                run = Objective(self.task, model, self.config, processes.device)
        if not (processes.main or together):
            return {}
        if average:
            averaged = average.applied(state.model)
        seed = mix_seed(self.config.seed, EVALUATION, state.step)
        with alone(processes if together else None), evaluation_mode(run), averaged, gathered:
            return dict(run("scores", None, state.step, seed))

    def _watch(self, scores: Mapping[str, float]) -> None:
        """Note the score that decides when the run is over, which the main process knows, and say that it ends early."""
        state, config, name = self.state, self.config, self.task.watched
        if not config.patience:
            return
        score = scores.get(name.removeprefix("-"), math.nan) * (-1 if name.startswith("-") else 1)
        state.watched.append(self.processes.broadcast(score if math.isfinite(score) else -sys.float_info.max))
        if state.is_finished(config) and state.step < config.steps and self.processes.main:
            better = f"{name.removeprefix('-')} was not better in the last {config.patience} evaluations"
            say(f"ends after step {state.step} of {config.steps}: {better}")

    def result(self) -> FitResult:
        state, processes, model = self.state, self.processes, self.state.model
        averages = {name: average.average for name, average in state.averages.items()}
        finished = state.is_finished(self.config)
        newest = self.saver.newest or self.out
        weights = self.out / "weights" if checkpoint.is_sharded(newest) else newest
        if finished and weights != newest:
            checkpoint.write_weights(weights, {"model": model.state_dict(), **averages}, processes)
            processes.barrier()
        read_model, read_averages = lambda: model, lambda: averages
        if self.sharded:
            from tapetum.train import fsdp

            read_model = partial(fsdp.read_model, self.task, self.config, processes.device, weights)
            read_averages = partial(fsdp.read_averages, self.config, processes.device, weights)
        return FitResult(
            state="finished" if finished else "stopped",
            step=state.step,
            loss=self.loss,
            log=self.out / "log.jsonl",
            checkpoint=newest,
            weights=weights,
            read_model=read_model,
            read_averages=read_averages,
        )
