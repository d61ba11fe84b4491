"""Training on the simulated device: whole runs of every recipe, and how often a step lets the host wait for the device."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.recipe_runs import RUNS
from support.simulated import on_simulated_device
from tapetum.train.launch_config import Launch

AS_ON_THE_CPU = (
    *("supervised, ResNet", "clip, ViT", "simclr, LARS, accumulated", "byol, ResNet", "dino, ViT", "mae, ViT"),
    *("odin", "recall", "hip, masked", "hip, classes", "localiser", "bootstap"),
)
"""Recipes of seconds, which are run on the CPU too."""


def counts_of_steps() -> list[Any]:
    """Count the waits of each step from now on, those of a step's lines of the log, scores and checkpoints left out."""
    from support import simulated_device
    from tapetum.train import loop

    counts: list[Any] = []
    step = loop._Run._step

    def counted(run: Any, stream: Any) -> dict[str, Any]:
        with simulated_device.counted() as waits:
            record = step(run, stream)
            counts.append(waits)
        return record

    loop._Run._step = counted  # pyright: ignore[reportAttributeAccessIssue]
    return counts


def losses(out: Path) -> list[float]:
    """Read the losses of a run."""
    return [json.loads(line)["loss"] for file in sorted(out.rglob("log.jsonl")) for line in file.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
@on_simulated_device
def test_a_recipe_trains_on_the_device_and_waits_for_it_once_a_step(name: str, tmp_path: Path) -> None:
    from tapetum.train import loop

    before = loop._Run._step
    counts = counts_of_steps()
    try:
        for device in ("sim", "cpu") if name in AS_ON_THE_CPU else ("sim",):
            (tmp_path / device).mkdir()
            torch.manual_seed(0)
            launch = Launch(out=tmp_path / f"{device}-run", workers=0, threads=1, device=device)
            RUNS[name](tmp_path / device, launch)
    finally:
        loop._Run._step = before
    values = losses(tmp_path / "sim-run")
    assert len(counts) >= 3
    assert np.isfinite(values).all()
    most = max(counts, key=lambda count: count.total())
    assert most.total() == 1, dict(most.places)  # the step's own: loss, metrics and the norm of the gradients in one transfer
    if name in AS_ON_THE_CPU:
        np.testing.assert_allclose(values, losses(tmp_path / "cpu-run"), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dino, ResNet", "simclr, LARS, accumulated"])
@on_simulated_device
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name: str, tmp_path: Path) -> None:
    """Averages that teach, moments of both optimisers and counters go to the checkpoint from the device and back."""
    from dataclasses import replace

    launch = Launch(out=tmp_path / "whole", workers=0, threads=1, device="sim")
    (tmp_path / "data").mkdir()
    RUNS[name](tmp_path / "data", launch)
    for _ in range(3):  # each call makes one step
        RUNS[name](tmp_path / "data", replace(launch, out=tmp_path / "cut", minutes=0))
    files = [
        {f.name: f.read_bytes() for f in sorted((tmp_path / run).rglob("step_00000003/*.safetensors"))}
        for run in ("whole", "cut")
    ]
    assert files[0].keys() >= {"model.safetensors", "optimizer.safetensors"}
    assert files[0] == files[1]
