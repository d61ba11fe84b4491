"""The task's loss as a module, so that DDP, FSDP2, autocast and the FLOP counter all wrap one thing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tapetum.data.samples import seed_globals
from tapetum.train.config import TrainConfig
from tapetum.train.gradient_cache import Replay, replayed_loss
from tapetum.train.moment import Moment
from tapetum.train.task import JointTask, Task
from tapetum.train.world import World

Loss = tuple[Tensor, Mapping[str, float | Tensor]]
Job = Literal["loss", "embed", "joint_loss", "replay"]


class Objective(nn.Module):
    """What is computed of micro-batches, each time seeded anew: `objective("loss", batch, step, seed)`."""

    def __init__(self, task: Task, model: nn.Module, config: TrainConfig, device: torch.device):
        super().__init__()
        self.model = model
        self.task, self._config, self._device = task, config, device
        self._teachers: list[Mapping[str, nn.Module]] = [
            {}
        ]  # in a list: no part of this module, which is learned and exchanged

    def learn_from(self, teachers: Mapping[str, nn.Module]) -> None:
        """Give averages, as models, to the loss."""
        self._teachers = [{name: teacher.requires_grad_(False).eval() for name, teacher in teachers.items()}]

    def parts(self) -> dict[str, nn.Module]:
        """List the parts whose FLOPs are counted apart: those that the task names, and teachers, where it has any."""
        return {**self.task.cost_parts(self.model), **self._teachers[0]}

    def forward(self, what: Job, content: Any, step: int, seed: int, **others: Any) -> Any:
        """Do one of the jobs below; all go through here, where FSDP2 gathers the weights."""
        return getattr(self, f"_{what}")(content, step, seed, **others)

    def _loss(self, batch: Any, step: int, seed: int) -> Loss:
        """Loss and metrics of a micro-batch."""
        if isinstance(self.task, JointTask):
            return self._joint_loss(self._embed(batch, step, seed), step, seed)
        with self._moment(step, seed) as moment:
            return self.task.loss(self.model, batch, moment)

    def _embed(self, batch: Any, step: int, seed: int) -> Any:
        """Embeddings of a micro-batch of a `JointTask`."""
        assert isinstance(self.task, JointTask)
        with self._moment(step, seed) as moment:
            return self.task.embed(self.model, batch, moment)

    def _joint_loss(self, embeddings: Any, step: int, seed: int) -> Loss:
        """Loss and metrics of all embeddings of a step of a `JointTask`."""
        assert isinstance(self.task, JointTask)
        with self._moment(step, seed) as moment:
            return self.task.joint_loss(self.model, embeddings, moment)

    def _replay(self, batch: Any, step: int, seed: int, replay: Replay, joint_seed: int) -> Tensor:
        """A value that has the gradient of the joint loss by way of this micro-batch (`gradient_cache`)."""
        total = replayed_loss(self._embed(batch, step, seed), replay)
        return total if replay.joint is None else total + self._joint_loss(replay.joint, step, joint_seed)[0]

    @contextmanager
    def _moment(self, step: int, seed: int) -> Iterator[Moment]:
        """Seed everything, for what is computed inside the block."""
        seed_globals(seed)
        generator = torch.Generator(self._device).manual_seed(seed)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._config.bf16):
            yield Moment(step=step, steps=self._config.steps, generator=generator, teachers=self._teachers[0])

    @contextmanager
    def thrown_away(self) -> Iterator[None]:
        """Undo what passes inside the block do to gradients and buffers, and run them without a compiled forward."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        with torch.compiler.set_stance("force_eager"):
            yield
        self.model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])


def in_parallel(objective: Objective, config: TrainConfig, world: World) -> nn.Module:
    """Wrap the objective for several processes: in DDP, or with its weights sharded (FSDP2); of one process, it is itself.

    Both take the objective and not the model, so that a loss may call any method of the model.
    """
    if world.size == 1:
        return objective
    if config.parallel == "fsdp":
        from tapetum.train.fsdp import shard

        return shard(objective, objective.task.shards(objective.model), world)
    return DistributedDataParallel(objective, find_unused_parameters=config.find_unused_parameters)
