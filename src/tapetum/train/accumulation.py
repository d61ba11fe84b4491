"""Computation of a step in one process: the task's loss as one module, and gradients accumulated over micro-batches.

DDP, FSDP2, autocast and the FLOP counter all wrap the one module, so that a loss may call any method of the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tapetum.core.devices import to_device
from tapetum.core.errors import BadInput
from tapetum.data.samples import LOSS, mix_seed, seed_globals
from tapetum.train.config import TrainConfig
from tapetum.train.process_group import ProcessGroup
from tapetum.train.stream import Stream, sample_numbers
from tapetum.train.task import JointTask, StepContext, Task

if TYPE_CHECKING:
    from tapetum.train.gradient_cache import Replay

Loss = tuple[Tensor, Mapping[str, float | Tensor]]
Sums = dict[str, float | Tensor]
"""Named numbers of a step, those on the device still there."""
Pass = Literal["loss", "embed", "joint_loss", "replay", "scores"]


class Objective(nn.Module):
    """The task's computations on micro-batches, seeded for each call: `objective("loss", batch, step, seed)`."""

    def __init__(self, task: Task, model: nn.Module, config: TrainConfig, device: torch.device):
        super().__init__()
        self.model = model
        self.task, self._config, self._device = task, config, device
        # in a list: no part of this module, which is learned and exchanged
        self._teachers: list[Mapping[str, nn.Module]] = [{}]

    def set_teachers(self, teachers: Mapping[str, nn.Module]) -> None:
        self._teachers = [{name: teacher.requires_grad_(False).eval() for name, teacher in teachers.items()}]

    def shard_teachers(self) -> list[nn.Module]:
        """Make the teachers submodules, so that FSDP shards and gathers them as it does the model; returns them."""
        self.teachers = nn.ModuleDict(self._teachers[0])
        return list(self.teachers.values())

    def parts(self) -> dict[str, nn.Module]:
        """List the parts whose FLOPs are counted separately: those that the task names, and teachers, if it has any."""
        return {**self.task.cost_parts(self.model), **self._teachers[0]}

    def forward(self, name: Pass, content: Any, step: int, seed: int, **others: Any) -> Any:
        """Compute one of the values below; all calls go through here, where FSDP2 gathers the weights."""
        return getattr(self, f"_{name}")(content, step, seed, **others)

    def _loss(self, batch: Any, step: int, seed: int) -> Loss:
        if isinstance(self.task, JointTask):
            return self._joint_loss(self._embed(batch, step, seed), step, seed)
        with self._context(step, seed) as context:
            return self.task.loss(self.model, batch, context)

    def _embed(self, batch: Any, step: int, seed: int) -> Any:
        assert isinstance(self.task, JointTask)
        with self._context(step, seed) as context:
            return self.task.embed(self.model, batch, context)

    def _joint_loss(self, embeddings: Any, step: int, seed: int) -> Loss:
        assert isinstance(self.task, JointTask)
        with self._context(step, seed) as context:
            return self.task.joint_loss(self.model, embeddings, context)

    def _replay(self, batch: Any, step: int, seed: int, replay: "Replay", joint_seed: int) -> tuple[Tensor, Tensor]:
        """A value that has the gradient of the joint loss by way of this micro-batch, and a count (`gradient_cache`)."""
        from tapetum.train.gradient_cache import replayed_loss

        total, others = replayed_loss(self._embed(batch, step, seed), replay)
        return (total if replay.joint is None else total + self._joint_loss(replay.joint, step, joint_seed)[0]), others

    def _scores(self, _: None, step: int, seed: int) -> Mapping[str, float]:
        seed_globals(seed)
        return self.task.evaluate(self.model, step)

    @contextmanager
    def _context(self, step: int, seed: int) -> Iterator[StepContext]:
        """Seed all generators for the computation inside the block."""
        seed_globals(seed)
        generator = torch.Generator(self._device).manual_seed(seed)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._config.bf16):
            yield StepContext(step=step, steps=self._config.steps, generator=generator, teachers=self._teachers[0])

    @contextmanager
    def discarding(self) -> Iterator[None]:
        """Undo what passes inside the block do to gradients and buffers, and run them without a compiled forward."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        try:
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            self.model.zero_grad(set_to_none=True)
            with torch.no_grad():
                for name, buffer in self.model.named_buffers():
                    buffer.copy_(buffers[name])


def checkpoint_activations(parts: Sequence[nn.Module]) -> None:
    """Let parts of a network recompute their activations in the backward pass; BadInput if there are none."""
    # by hooks: names of weights stay, unlike with torch's wrapper
    from torch.distributed._composable.checkpoint_activation import checkpoint

    if not parts:
        raise BadInput(
            "activation_checkpointing works block by block, and this task names no blocks (Task.shards); leave it out"
        )
    for part in parts:
        checkpoint(part)


def parallelise(objective: Objective, config: TrainConfig, processes: ProcessGroup) -> nn.Module:
    """Wrap the objective for several processes: in DDP, or with its weights sharded (FSDP2); for one process, return it as is.

    Both wrap the objective, not the model, so that a loss may call any method of the model.
    """
    if processes.size == 1:
        return objective
    if config.parallel == "fsdp":
        return shard_objective(objective, config, processes)
    # Else it orders gradients anew after the first step of a start, and where three or more are summed, sums change by that.
    find_unused = config.find_unused_parameters or processes.size > 2
    return DistributedDataParallel(objective, find_unused_parameters=find_unused)


def shard_objective(objective: Objective, config: TrainConfig, processes: ProcessGroup) -> nn.Module:
    """Shard the model and its teachers, in place: their blocks, and the weights outside all blocks."""
    from tapetum.train.fsdp import shard

    teachers = objective.shard_teachers()
    parts = [part for each in (objective.model, *teachers) for part in objective.task.shards(each)]
    return shard(objective, parts, processes, config, unset=teachers if processes.size > 1 else ())


class Gradients:
    """The gradients of one of several losses of the same weights: inside the block, they are the weights' `grad`.

    >>> weight = nn.Parameter(torch.ones(1))
    >>> first, second = (Gradients(torch.optim.SGD([weight])) for _ in range(2))
    >>> for own, factor in ((first, 2.0), (second, 3.0), (first, 2.0)):
    ...     with own:
    ...         (factor * weight).sum().backward()
    >>> with first:
    ...     print(weight.grad)
    tensor([4.])
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        self._kept: list[Tensor | None] = [None] * len(self.parameters)

    def __enter__(self) -> None:
        for parameter, gradient in zip(self.parameters, self._kept, strict=True):
            parameter.grad = gradient

    def __exit__(self, *_: object) -> None:
        self._kept = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None


class GradientAccumulation:
    """The forward and backward passes of a process's steps, micro-batch by micro-batch."""

    def __init__(self, objective: Objective, config: TrainConfig, processes: ProcessGroup):
        self.objective, self.config, self.processes = objective, config, processes
        self.parallel = parallelise(objective, config, processes)
        self.names: tuple[str, ...] = objective.task.parts or ("",)
        """Of the task's losses; one that is alone has no name."""

    def run(self, stream: Stream, step: int, gradients: Mapping[str, Gradients]) -> tuple[Sums, Sums]:
        """Add the step's gradients for each part of the task to `gradients`.

        Returns this process's own loss and metrics, and values for `check`, which reads them on the host.
        """
        sums: Sums = {}
        count = self.config.accumulation
        for part in range(count):
            batch = to_device(stream.next(), self.processes.device)
            for name, own in gradients.items():
                with own, self.exchange(last=part == count - 1):
                    loss, metrics = self.parallel("loss", batch[name] if name else batch, step, self.seed(step, part))
                    (loss / count).backward()
                add_metrics(sums, name, loss.detach(), metrics, count)
        return sums, {}

    def check(self, checks: Mapping[str, float]) -> None:
        """Raise TapetumError if the checks that `run` returned, averaged over the processes, show a failure."""

    def exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients in the block if it is the `last` pass of a step; earlier passes accumulate in each process.

        Of weights in shards each pass leaves its sum in the rows, as whole gradients may not fit; earlier ones skip replicas.
        What they leave is where `Gradients` cannot see it, so several losses exchange all with each pass.
        """
        if last or self.processes.size == 1:
            return nullcontext()
        if isinstance(self.parallel, DistributedDataParallel):
            return self.parallel.no_sync()
        if len(self.names) > 1:
            return nullcontext()
        from tapetum.train.fsdp import without_all_reduce

        return without_all_reduce(self.parallel)

    def seed(self, step: int, part: int) -> int:
        """Compute the seed of the loss from the first sample of the micro-batch."""
        first = sample_numbers(step, part, self.processes.rank, self.processes.size, self.config)[0]
        return mix_seed(self.config.seed, LOSS, first)


def make_accumulation(objective: Objective, config: TrainConfig, processes: ProcessGroup) -> GradientAccumulation:
    """Make the passes of a run; micro-batches that share one loss use a gradient cache."""
    if config.accumulation > 1 and isinstance(objective.task, JointTask):
        from tapetum.train.gradient_cache import CachedAccumulation

        return CachedAccumulation(objective, config, processes)
    return GradientAccumulation(objective, config, processes)


def add_metrics(sums: Sums, name: str, loss: Tensor, metrics: Mapping[str, float | Tensor], count: int) -> None:
    """Add a micro-batch's loss and metrics, divided by `count`, under the name of its part; the loss also without that name.

    Values on the device stay there.
    """
    values = {**metrics, "loss": loss}
    if name:
        values = {f"{name}/{key}": value for key, value in values.items()} | {"loss": loss}
    for key, value in values.items():
        exact = value.detach().double() if isinstance(value, Tensor) and value.device.type != "mps" else value
        sums[key] = sums.get(key, 0.0) + exact / count
