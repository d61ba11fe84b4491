"""Whole runs of the loop beside its twin: every optimiser, schedule and average, in one process, cut anywhere, and in two."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from support.forks import Forks
from tapetum.train import Average, ParameterRule, Task, TrainConfig, fit
from tapetum.train.process_group import join_process_group
from twins.loop import Run, Settings

STEPS, MICRO = 7, 3
BASE = TrainConfig(
    steps=STEPS, batch_size=4 * MICRO, lr=0.1, clip_norm=None, checkpoint_every=1, keep_last=STEPS, tensorboard=False, threads=1
)
CASES: dict[str, tuple[dict[str, Any], Settings]] = {
    "adamw": (
        {"warmup_steps": 2, "weight_decay": 0.1, "final_weight_decay": 0.4, "clip_norm": 0.3, "ema_decay": 0.3},
        Settings(STEPS, warmup=2, decay=0.1, final_decay=0.4, clip=0.3, averages={"ema": ("rising", 0.3)}),
    ),
    "adamw-layers": (
        {
            "schedule": "linear",
            "final_lr": 0.02,
            "layer_decay": 0.5,
            "rules": (ParameterRule(pattern="2.bias", lr_scale=2.0, weight_decay=0.3),),
            "clip_norm": 0.1,
            "clip_each": True,
            "averages": (
                Average(name="slow", schedule="cosine", decay=0.8),
                Average(name="same", schedule="constant", decay=0.6),
            ),
        },
        Settings(
            STEPS,
            schedule="linear",
            final_lr=0.02,
            own_decay={"2.bias": 0.3},
            scale={"0.weight": 0.5, "0.bias": 0.5, "2.bias": 2.0},
            clip=0.1,
            clip_each=True,
            averages={"slow": ("cosine", 0.8), "same": ("constant", 0.6)},
        ),
    ),
    "sgd": (
        {
            "optimizer": "sgd",
            "schedule": "milestones",
            "milestones": (0.4, 0.8),
            "weight_decay": 0.2,
            "nesterov": True,
            "momentum": 0.7,
            "averages": (Average(name="copy", schedule="periodic", every=3),),
        },
        Settings(
            STEPS,
            "sgd",
            schedule="milestones",
            milestones=(0.4, 0.8),
            decay=0.2,
            nesterov=True,
            momentum=0.7,
            averages={"copy": ("periodic", 3)},
        ),
    ),
    "lars": (
        {"optimizer": "lars", "lr": 0.5, "weight_decay": 0.2, "trust_coefficient": 0.01, "warmup_steps": 3, "clip_norm": 2.0},
        Settings(STEPS, "lars", lr=0.5, decay=0.2, warmup=3, clip=2.0),
    ),
    "lars-nesterov": (
        {"optimizer": "lars", "lr": 0.3, "schedule": "constant", "nesterov": True, "trust_coefficient": 0.01},
        Settings(STEPS, "lars", lr=0.3, schedule="constant", nesterov=True),
    ),
}
"""The product's settings and the twin's."""


def example(number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Give inputs, targets and whether they count, of which each micro-batch has another number; step 3 is not finite."""
    x = np.sin(np.arange(5) * (number + 1.3))
    y = np.array([math.nan if number == 40 else x.sum(), x[0] * x[1] - 2])
    return x, y, float(number % 3 == 0 or number % 4 == 1)


class Numbers:
    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        x, y, counts = example(number)
        return x.astype(np.float32), y.astype(np.float32), np.float32(counts)


class Regression(Task):
    """Two layers; errors are averaged over the examples of a micro-batch that count."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))

    def layers(self, model: nn.Module) -> list[list[nn.Module]]:
        return [[model[0]]]  # pyright: ignore[reportIndexIssue]

    def dataset(self) -> Numbers:
        return Numbers()

    def loss(self, model: nn.Module, batch: list[Tensor], context: Any) -> tuple[Tensor, dict[str, float]]:
        x, y, counts = batch
        return ((model(x) - y).square().mean(1) * counts).sum() / counts.sum(), {}


def twin(case: str, start: dict[str, np.ndarray]) -> Run:
    run = Run(start, CASES[case][1])
    for step in range(STEPS):
        numbers = np.arange(4 * MICRO).reshape(4, MICRO) + 4 * MICRO * step
        run.step([tuple(map(np.array, zip(*map(example, each), strict=True))) for each in numbers])  # pyright: ignore
    return run


def compare(out: Path, twin: Run, log: float = 1e-5, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    lines = [{**line, **line.get("metrics", {})} for line in lines]
    for step, (line, theirs, state) in enumerate(zip(lines, twin.log, twin.states, strict=True)):
        for name, value in theirs.items():
            expected = None if math.isnan(value) else pytest.approx(value, rel=log)
            assert line[name] == expected, (step, name)
        for file, parameters in state.items():
            saved = load_file(out / "checkpoints" / f"step_{step + 1:08}" / f"{file}.safetensors")
            for name, value in parameters.items():
                np.testing.assert_allclose(saved[name], value, rtol=rtol, atol=atol, err_msg=f"{step} {file} {name}")


def settings(case: str, **others: Any) -> TrainConfig:
    return replace(BASE, **CASES[case][0], **others)


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_its_twins_whole_and_cut_after_every_step(case: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    still = fit(Regression(), replace(settings(case), lr=1e-30, final_lr=0.0, weight_decay=0.0), tmp_path / "still")
    start = load_file(still.checkpoint.parent / "step_00000001" / "model.safetensors")
    expected = twin(case, {name: value.numpy() for name, value in start.items()})
    fit(Regression(), settings(case, accumulation=4), tmp_path / "whole")
    cuts = [fit(Regression(), settings(case, accumulation=4, max_minutes=0), tmp_path / "cut").state for _ in range(STEPS)]
    torch.set_num_threads(before)
    assert cuts == ["stopped"] * (STEPS - 1) + ["finished"]
    for out in ("whole", "cut"):
        compare(tmp_path / out, expected)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_are_the_twin_too(parallel: str, tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path, parallel, errors=errors) == [0, 0], errors.read_text()
    before = torch.get_num_threads()
    still = fit(Regression(), replace(BASE, lr=1e-30), tmp_path / "still")
    torch.set_num_threads(before)
    start = load_file(still.checkpoint.parent / "step_00000001" / "model.safetensors")
    for case in CASES:
        flops = json.loads((tmp_path / case / "ledger.json").read_text())["total"]["flops_forward"]
        assert flops == STEPS * 4 * MICRO * 2 * (5 * 4 + 4 * 2)
        compare(tmp_path / case, twin(case, {name: value.numpy() for name, value in start.items()}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_process_group("cpu"):
        for case in CASES:
            result = fit(Regression(), settings(case, accumulation=2, parallel=sys.argv[2]), Path(sys.argv[1]) / case)
            for name, average in {"model": result.model.state_dict(), **result.averages}.items():
                saved = load_file(result.weights / f"{name}.safetensors")
                assert all(torch.equal(value, saved[key]) for key, value in average.items())  # whole in every process
            assert {type(parameter) for parameter in result.model.parameters()} == {nn.Parameter}
