"""What every method of the registry keeps: what learns and what doesn't, runs that are stopped, and runs of two processes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from support.forks import Forks
from support.sharding import check_shards
from systems.pretraining.conftest import RESNET, VIT, begun, tiny
from systems.pretraining.joint_runs import CASES
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.run import pretrain
from tapetum.train import StepContext
from tapetum.train.launch_config import Launch

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


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_stopped_ends_as_one_that_is_not(method: str, data: Path, tmp_path: Path) -> None:
    """To the bit: the encoder, and all that a checkpoint has."""
    run, launch = tiny(method, data, steps=3), Launch(out=tmp_path / "whole", workers=0, threads=1)
    whole, stopped = pretrain(run, launch, lambda text: None), replace(launch, out=tmp_path / "stopped")
    assert pretrain(run, replace(stopped, minutes=0), lambda text: None) is None
    resumed = pretrain(run, stopped, lambda text: None)
    assert whole is not None
    assert resumed is not None
    assert whole.encoder.read_bytes() == resumed.encoder.read_bytes()
    ours, theirs = (out / "checkpoints" / "step_00000003" for out in (launch.out, stopped.out))
    files = sorted(file.name for file in ours.glob("*.safetensors"))
    assert {"model.safetensors", *(f"{name}.safetensors" for name in METHODS[method].teachers)} <= set(files)
    for file in files:
        values = load_file(theirs / file)
        assert all(torch.equal(value, values[name]) for name, value in load_file(ours / file).items()), file


@pytest.mark.slow
def test_two_processes_are_one_with_the_joint_batch(forks: Forks, data: Path, tmp_path: Path) -> None:
    """Weights, averages and losses after two steps: gathered negatives, batch norms, centre, views, masks."""
    script, errors = Path(__file__).with_name("joint_runs.py"), tmp_path / "errors"
    assert forks.start(script, data, tmp_path / "one", errors=errors).wait() == 0, errors.read_text()
    assert forks.pair(script, data, tmp_path / "two", errors=errors) == [0, 0], errors.read_text()
    for method, (name, _) in CASES.items():
        folders = [tmp_path / processes / method for processes in ("one", "two")]
        logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in folders]
        for one, two in zip(*logs, strict=True):
            assert two["loss"] == pytest.approx(one["loss"], rel=2e-5), method
            assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=2e-4), method
        for file in ("model", *METHODS[name].teachers):
            ours, theirs = (load_file(next(folder.rglob(f"{file}.safetensors"))) for folder in reversed(folders))
            for name, value in theirs.items():
                torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5, msg=f"{method}: {name}")
