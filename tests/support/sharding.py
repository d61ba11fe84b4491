"""FSDP2 in one process: a task's loss and gradients are those of the whole model, and its blocks hold its weights."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]
from torch.utils._pytree import tree_map

from tapetum.train import Task, TrainConfig
from tapetum.train.accumulation import Objective, shard_objective
from tapetum.train.fsdp import evaluation
from tapetum.train.process_group import ProcessGroup, alone, is_sharded
from tapetum.train.state import evaluation_mode, new_model

CPU = torch.device("cpu")
CONFIG = TrainConfig(steps=2, batch_size=1, parallel="fsdp")


def check_shards(task: Task, batch: Any, least: float = 0.5, dtype: torch.dtype = torch.float64) -> None:
    """Compare loss and gradients of a batch with the model whole and in shards.

    `least` is the share of the weights that must lie in `Task.shards`: what is left is gathered for the length of the loss.
    In float64 a sum in another order is no difference; not every system computes in it.
    """
    torch.set_default_dtype(dtype)
    try:
        _compare(task, tree_map(lambda x: x.to(dtype) if torch.is_tensor(x) and x.is_floating_point() else x, batch), least)
    finally:
        torch.set_default_dtype(torch.float32)
    check_scores(task)


def check_scores(task: Task) -> None:
    """Compare the task's scores with the model whole and in shards; they are equal, as a gathered weight is the weight."""
    whole = _objective(task)
    with alone(), evaluation_mode(whole):
        expected = dict(whole("scores", None, 1, 7))
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        sharded = _objective(task)
        parallel = shard_objective(sharded, CONFIG, ProcessGroup(0, 1, CPU))
        with alone(), evaluation_mode(sharded), evaluation(parallel):
            scores = dict(parallel("scores", None, 1, 7))
    finally:
        dist.destroy_process_group()
    assert scores == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert all(is_sharded(p) for p in sharded.model.parameters() if p.dim() > 0)


def _compare(task: Task, batch: Any, least: float) -> None:
    whole = _objective(task)
    inside = {id(p): p.numel() for part in task.shards(whole.model) for p in part.parameters()}
    total = sum(p.numel() for p in whole.model.parameters())
    assert sum(inside.values()) >= least * total, f"{sum(inside.values())} of {total} weights are in blocks"
    expected, gradients = _learn(whole, whole, batch)
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        sharded = _objective(task)
        loss, ours = _learn(sharded, shard_objective(sharded, CONFIG, ProcessGroup(0, 1, CPU)), batch)
    finally:
        dist.destroy_process_group()
    rtol, atol = (1e-7, 1e-9) if loss.dtype == torch.float64 else (1e-4, 1e-5)
    torch.testing.assert_close(loss, expected, rtol=rtol, atol=atol)
    assert ours.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}")
    assert len(gradients) > 0


def _objective(task: Task) -> Objective:
    objective = Objective(task, new_model(task, CONFIG, CPU).to(torch.get_default_dtype()), CONFIG, CPU)
    objective.set_teachers({name: new_model(task, CONFIG, CPU).to(torch.get_default_dtype()) for name in task.teachers})
    return objective


def _learn(objective: Objective, parallel: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss, _ = parallel("loss", batch, 0, 7)
    loss.backward()
    found = {name: p.grad for name, p in objective.model.named_parameters() if p.grad is not None}
    return loss.detach(), {name: getattr(g, "full_tensor", lambda g=g: g)() for name, g in found.items()}
