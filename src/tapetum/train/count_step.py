"""FLOPs of a real training step, counted on its first micro-batch, whose results are discarded."""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from tapetum.account.flops import Flops, by_part, count_flops
from tapetum.core.devices import to_device
from tapetum.train.accumulation import GradientAccumulation
from tapetum.train.gradient_cache import Cached, CachedAccumulation
from tapetum.train.stream import Stream

if TYPE_CHECKING:
    from tapetum.train.log import RunReport


def count_step(passes: GradientAccumulation, batch: Any, step: int) -> tuple[dict[str, Flops], int]:
    """Count the FLOPs, by part of the task, of work that all processes together do a number of times per step.

    All processes must call this together, because a loss may gather across them.
    """
    processes, objective = passes.processes.size, passes.objective
    flops: dict[str, Flops] = {}
    cached = isinstance(passes, CachedAccumulation)
    with objective.discarding(), by_part(objective.parts()):
        for name in passes.names:
            own = batch[name] if name else batch
            flops[name] = _count_cached(passes, own, step) if cached else _count_plain(passes, own, step)
    return flops, processes if cached else passes.config.accumulation * processes


def _count_plain(passes: GradientAccumulation, batch: Any, step: int) -> Flops:
    on_device = to_device(batch, passes.processes.device)
    return count_flops(lambda: passes.objective("loss", on_device, step, passes.seed(step, 0))[0])


def _count_cached(passes: CachedAccumulation, batch: Any, step: int) -> Flops:
    """Count the FLOPs of a step, as if all its micro-batches were like this one; recomputation counts as backward."""
    parts, on_device, objective = passes.config.accumulation, to_device(batch, passes.processes.device), passes.objective
    cache: list[Cached] = []
    total = count_flops(lambda: cache.append(passes.cache([batch] * parts, step, seeds=[0] * parts))).total
    for part in range(parts):
        total += count_flops(partial(passes.replay, objective, cache[0], part, batch, step, 0)).total
    with torch.no_grad():
        embedded = count_flops(lambda: objective("embed", on_device, step, 0))
        joint = count_flops(lambda: objective("joint_loss", cache[0].replays[-1].joint, step, 0))
    by_name: dict[str, int] = {}
    for flops, times in ((embedded, parts), (joint, 1)):
        for name, count in flops.by_part.items():
            by_name[name] = by_name.get(name, 0) + count * times
    forward = parts * embedded.total + joint.total
    return Flops(forward, total - forward, {}, {**by_name, "backward": total - forward}, forward)


def report_flops(report: "RunReport | None", passes: GradientAccumulation, stream: Stream, step: int) -> None:
    """Count a step for the run's report, which one process has; all processes compute a micro-batch for it."""
    flops, times = count_step(passes, stream.peek(), step)
    if report:
        report.set_flops(flops, times)
