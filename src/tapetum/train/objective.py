"""The task's loss as a module, so that DDP, FSDP2, autocast and the FLOP counter all wrap one thing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tapetum.account.flops import Flops, count_flops
from tapetum.data.samples import seed_globals
from tapetum.train.config import TrainConfig
from tapetum.train.task import Task
from tapetum.train.world import World


class Objective(nn.Module):
    """Micro-batch and seed in, loss and metrics out."""

    def __init__(self, task: Task, model: nn.Module, config: TrainConfig, device: torch.device):
        super().__init__()
        self.model = model
        self.task, self._config, self._device = task, config, device
        self._teachers: list[nn.Module] = []  # in a list: no part of this module, whose weights are learned and exchanged

    def learn_from(self, teacher: nn.Module | None) -> None:
        """Gives the averaged model to the loss of a `taught` task."""
        self._teachers = [] if teacher is None else [teacher.requires_grad_(False).eval()]

    def forward(self, batch: Any, seed: int) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        seed_globals(seed)
        generator = torch.Generator(self._device).manual_seed(seed)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._config.bf16):
            return self.task.loss(self.model, batch, generator, *self._teachers)

    def count(self, batch: Any, seed: int) -> Flops:
        """FLOPs of one micro-batch. The pass is thrown away: gradients and buffers are as before."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        with torch.compiler.set_stance("force_eager"):
            flops = count_flops(lambda: self(batch, seed)[0])
        self.model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        return flops


def in_parallel(objective: Objective, config: TrainConfig, world: World) -> nn.Module:
    """The objective itself when there is one process; else under DDP, or with its weights shared out (FSDP2).

    Both take the objective and not the model, so that a loss may call any method of the model.
    """
    if world.size == 1:
        return objective
    if config.parallel == "fsdp":
        from tapetum.train.fsdp import shard

        return shard(objective, objective.task.shards(objective.model), world)
    return DistributedDataParallel(objective, find_unused_parameters=config.find_unused_parameters)
