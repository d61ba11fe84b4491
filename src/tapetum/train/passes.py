"""The forward and backward passes of one step: plain ones, micro-batch by micro-batch, or through a cache of gradients."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tapetum.account.flops import Flops, count_flops
from tapetum.account.parts import by_part
from tapetum.data.samples import LOSS, mix_seed
from tapetum.train.batch import to_device
from tapetum.train.config import TrainConfig
from tapetum.train.gradient_cache import Cached, cache_gradients, refuse_batch_statistics
from tapetum.train.objective import Objective, in_parallel
from tapetum.train.stream import Stream, sample_numbers
from tapetum.train.task import JointTask
from tapetum.train.world import World


class Gradients:
    """The gradients of one of several losses of the same weights: inside the block they are the weights' `grad`.

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


class Passes:
    """What a process computes in every step, with its objective alone or in parallel with the others."""

    def __init__(self, objective: Objective, config: TrainConfig, world: World):
        self.objective, self.config, self.world = objective, config, world
        self.cached = config.accumulation > 1 and isinstance(objective.task, JointTask)
        if self.cached:
            refuse_batch_statistics(objective.model)
        self.parallel = in_parallel(objective, config, world)
        self._names = objective.task.parts or ("",)

    def run(self, stream: Stream, step: int, gradients: Mapping[str, Gradients]) -> dict[str, float]:
        """Add the step's gradients of each of the task's parts to `gradients`; returns this process's own loss and metrics."""
        sums: dict[str, float] = {}
        if self.cached:
            batches = [stream.next() for _ in range(self.config.accumulation)]
            for name, own in gradients.items():
                with own:
                    found = self._cache(self.objective, [batch[name] if name else batch for batch in batches], step)
                    for part, batch in enumerate(batches):
                        self._replay(self.parallel, found, part, batch[name] if name else batch, step)
                _add(sums, name, found.loss, found.metrics, 1)
            return sums
        count = self.config.accumulation
        for part in range(count):
            batch = to_device(stream.next(), self.world.device)
            for name, own in gradients.items():
                with own, self._exchange(last=part == count - 1):
                    loss, metrics = self.parallel("loss", batch[name] if name else batch, step, self._seed(step, part))
                    (loss / count).backward()
                _add(sums, name, loss.detach(), metrics, count)
        return sums

    def count_flops(self, batch: Any, step: int) -> tuple[dict[str, Flops], int]:
        """Count the FLOPs of each of the task's parts, of something that all processes together do so many times a step.

        All processes must call it alike, for a loss may look across them. Nothing that they compute is kept.
        """
        count, size = self.config.accumulation, self.world.size
        found: dict[str, Flops] = {}
        with self.objective.thrown_away(), by_part(self.objective.parts()):
            for name in self._names:
                own = batch[name] if name else batch
                found[name] = self._flops_of_cached(own, step) if self.cached else self._flops_of_plain(own, step)
        return found, size if self.cached else count * size

    def _flops_of_plain(self, batch: Any, step: int) -> Flops:
        """Count the FLOPs of one micro-batch."""
        on_device = to_device(batch, self.world.device)
        return count_flops(lambda: self.objective("loss", on_device, step, self._seed(step, 0))[0])

    def _flops_of_cached(self, batch: Any, step: int) -> Flops:
        """Count the FLOPs of a step, as if its micro-batches were all this one; what is computed again counts as backward."""
        parts, on_device = self.config.accumulation, to_device(batch, self.world.device)
        kept: list[Cached] = []
        total = count_flops(lambda: kept.append(self._cache(self.objective, [batch] * parts, step, seeds=[0] * parts))).total
        for part in range(parts):
            total += count_flops(partial(self._replay, self.objective, kept[0], part, batch, step, 0)).total
        with torch.no_grad():
            embedded = count_flops(lambda: self.objective("embed", on_device, step, 0))
            joint = count_flops(lambda: self.objective("joint_loss", kept[0].replays[-1].joint, step, 0))
        phases: dict[str, int] = {}
        for flops, times in ((embedded, parts), (joint, 1)):
            for name, found in flops.by_part.items():
                phases[name] = phases.get(name, 0) + found * times
        forward = parts * embedded.total + joint.total
        return Flops(forward, total - forward, {}, {**phases, "backward": total - forward}, forward)

    def _cache(self, objective: Objective, batches: Sequence[Any], step: int, seeds: Sequence[int] | None = None) -> Cached:
        seeds = seeds or [self._seed(step, part) for part in range(len(batches))]
        return cache_gradients(
            lambda part: objective("embed", to_device(batches[part], self.world.device), step, seeds[part]),
            lambda embeddings: objective("joint_loss", embeddings, step, seeds[0]),
            len(batches),
        )

    def _replay(self, parallel: nn.Module, found: Cached, part: int, batch: Any, step: int, seed: int | None = None) -> None:
        """Learn from one micro-batch what the cache says."""
        one = found.replays[part]
        joint_seed = self._seed(step, 0)
        on_device = to_device(batch, self.world.device)
        with self._exchange(last=one.joint is not None):
            seed = self._seed(step, part) if seed is None else seed
            value = parallel("replay", on_device, step, seed, replay=one, joint_seed=joint_seed)
            if value.requires_grad:  # embeddings of something frozen learn nothing
                value.backward()

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Under DDP the gradients are exchanged with the last part of a step; under FSDP2 with each: less memory."""
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()

    def _seed(self, step: int, part: int) -> int:
        """Seed of the loss, from the first sample of the micro-batch."""
        first = sample_numbers(step, part, self.world.rank, self.world.size, self.config)[0]
        return mix_seed(self.config.seed, LOSS, first)


def _add(sums: dict[str, float], name: str, loss: Tensor, metrics: Mapping[str, float | Tensor], count: int) -> None:
    """Add the `count`th part of what one micro-batch says, under the name of its part, and of the loss also without."""
    told = {**metrics, "loss": loss}
    if name:
        told = {f"{name}/{key}": value for key, value in told.items()} | {"loss": loss}
    for key, value in told.items():
        sums[key] = sums.get(key, 0.0) + float(value.detach() if isinstance(value, Tensor) else value) / count
