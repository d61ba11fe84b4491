"""What every method of the registry keeps: what learns and what doesn't, runs that are stopped, and runs of two processes."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.sharding import check_shards
from systems.pretraining.conftest import RESNET, VIT, begun
from tapetum.systems.pretraining.methods import METHODS
from tapetum.train import StepContext

EVERY = pytest.mark.parametrize(
    ("method", "network"),
    [*((method, RESNET) for method, task in METHODS.items() if not task.hides_patches), *((method, VIT) for method in METHODS)],
)


@EVERY
def test_the_loss_falls_and_gradients_reach_all_that_learns(method: str, network: dict[str, Any], data: Path) -> None:
    task, model, teachers, batch = begun(method, data, **network)
    context = StepContext(step=0, steps=1, teachers=teachers)
    before = {name: {key: value.clone() for key, value in teacher.state_dict().items()} for name, teacher in teachers.items()}
    if method.startswith(
        "dino"
    ):  # their centres move and with them what is asked for; here they stand where they would come to
        task.settings = replace(task.settings, center_decay=0.0)
        task.method_loss(model, batch, context)
        task.settings = replace(task.settings, center_decay=0.999999)
    _, features, _ = task.method_loss(model, batch, context)  # a collapse is noticed in one vector an image
    assert features.shape[1:] == (model.encoder.width,)
    assert len(features) % task.run.batch_size == 0
    optimizer = torch.optim.AdamW(task.parameter_groups(model), lr=2e-3)
    losses = []
    for _ in range(12):
        loss, metrics = task.loss(model, batch, context)
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
                # the class token is no patch and is not in MAE's loss but by attention; a bias before a norm moves nothing
                assert parameter.grad.abs().sum() > 0 or name.endswith("key.bias"), name
        optimizer.step()
        losses.append(float(loss.detach()))
        assert 0 <= float(metrics["feature_std"]) <= 1
    assert all(math.isfinite(value) for value in losses)
    assert losses[-1] < losses[0] - 0.02, losses
    for name, teacher in teachers.items():
        assert all(parameter.grad is None for parameter in teacher.parameters())
        assert all(torch.equal(value, before[name][key]) for key, value in teacher.state_dict().items())  # buffers too


@EVERY
def test_in_shards_it_is_the_same(method: str, network: dict[str, Any], data: Path) -> None:
    task, _, _, batch = begun(method, data, **network)
    check_shards(task, batch, least=0.2)  # heads and stems are most of networks so small
