"""Whole runs of every way to pre-train beside its twin: cut after a step, and by two processes."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.forks import Forks
from systems.pretraining.conftest import SETTINGS, data, tiny  # noqa: F401 (a fixture)
from tapetum.systems.pretraining.run import loop_config, task_for
from tapetum.train import fit
from tapetum.train.launch import world_size
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import join_process_group
from twins import pretraining as twin
from twins.loop import Settings
from twins.test_loop import compare

STEPS, BATCH, SIZE, LR = 4, 6, 20, 0.05
RATE = {"optimizer": "sgd", "base_lr": LR * 256 / BATCH, "weight_decay": 0.1, "final_weight_decay": 0.4, "clip_norm": 2.0}
RISING = {"teacher_temperature": 0.1, "final_teacher_temperature": 0.2, "teacher_warmup_epochs": 0.3, "center_decay": 0.8}
DINO = replace(SETTINGS["dino"]["dino"], local_size=8, frozen_epochs=0.3, decay=0.6, **RISING)
V2 = replace(SETTINGS["dinov2"]["dinov2"], local_size=8, decay=0.6, layer_decay=0.7, **RISING)
TAUGHT = {"temperatures": (0.1, 0.2, 0.3), "epoch": 40 / BATCH, "center_decay": 0.8, "frozen": 2}
FOLLOWS = {"teacher": ("cosine", 0.6)}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, tuple[str, float]]]] = {
    "supervised": ({}, {}, {}),
    "clip": ({}, {}, {}),
    "siglip": ({"clip_norm": 0.5}, {}, {}),
    "simclr": ({}, {"temperature": 0.2}, {}),
    "byol": ({"byol": replace(SETTINGS["byol"]["byol"], decay=0.6)}, {}, FOLLOWS),
    "mae": ({"change": ("patch=5",)}, {"patch": 5}, {}),
    "ijepa": ({"change": ("patch=2",), "ijepa": replace(SETTINGS["ijepa"]["ijepa"], decay=0.6)}, {}, FOLLOWS),
    "lejepa": (
        {"lejepa": replace(SETTINGS["lejepa"]["lejepa"], local_size=12), "seed": 3},
        {"slices": 16, "weight": 0.2, "seed": 3},
        {},
    ),
    "dino": ({"dino": DINO}, TAUGHT, FOLLOWS),
    "dinov2": (
        {"micro_batch": 2, "dinov2": replace(V2, patch_prototypes=20, patch_bottleneck=8, head_epochs=0.15, frozen_epochs=0.3)},
        TAUGHT | {"sinkhorn": False, "own_head": True, "koleo": 0.1, "gram": 0.0, "head_steps": 1},
        FOLLOWS,
    ),
    "dinov2 sinkhorn": (
        {"clip_each": True, "dinov2": replace(V2, centring="sinkhorn", queue=24, gram=2.0, gram_every=2, gain=True, koleo=0.3)},
        TAUGHT | {"frozen": 0, "sinkhorn": True, "own_head": False, "koleo": 0.3, "gram": 2.0, "head_steps": 0}
        | {"queue": 24, "batch": BATCH},
        FOLLOWS | {"anchor": ("periodic", 2)},
    ),
}  # fmt: skip
"""Settings of the product, choices of the twin, averages. A micro-batch is of all processes."""


def task(case: str, images: str) -> Any:
    """A task all in 64 bits, whose weights are far from where they begin."""
    changes = {"size": SIZE, "batch_size": BATCH, "steps": STEPS, "micro_batch": BATCH, **RATE, **CASES[case][0]}
    changes["micro_batch"] //= world_size()
    made = task_for(tiny(case.split()[0], images, **changes))  # pyright: ignore[reportArgumentType]

    class Wide(type(made)):
        def model(self) -> Any:
            draw = torch.Generator().manual_seed(1)
            torch.manual_seed(0)
            model = super().model().double()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
            return model

        def collate(self, items: Any) -> dict[str, Any]:
            batch = super().collate(items)
            return {**batch, "views": [view.double() for view in batch["views"]]}

    made.__class__ = Wide
    return made


def config(made: Any, out: Path, minutes: float | None = None) -> Any:
    launch = Launch(out=out, workers=0, threads=1, save_every=1, minutes=minutes)
    return loop_config(made, launch, keep_last=STEPS, tensorboard=False)


def expected(case: str, images: str) -> twin.Training:
    made, (changes, choices, averages) = task(case, images), CASES[case]
    networks = {name: made.model() for name in ("model", *averages)}
    clip = changes.get("clip_norm", 2.0)
    settings = Settings(STEPS, "sgd", lr=LR, decay=0.1, final_decay=0.4, clip=clip, averages=averages)
    settings.clip_each = changes.get("clip_each", False)
    alone = "positions", "class_token", "mask_token", "log_scale"
    for name, _ in networks["model"].named_parameters():
        part = name.split(".")
        if part[-1] in alone:
            settings.own_decay[name] = 0.0
        if case.startswith("dinov2") and part[0] == "encoder" and part[1] != "norm":  # two blocks, and what is below them
            above = 2 - int(part[2]) if part[1] == "blocks" else 3
            settings.scale[name] = 0.7**above * (0.2 if part[1] == "patches" else 1)
    run = twin.Training(networks, settings, getattr(twin, case.split()[0]), choices)
    samples, each = made.dataset(), changes.get("micro_batch", BATCH)
    for step in range(STEPS):
        parts = []
        for first in range(BATCH * step, BATCH * (step + 1), each):
            items = [samples[number] for number in range(first, first + each)]
            labels = [int(made.source.labels[item.index]) for item in items]
            parts.append(({**made.collate(items), "class": labels},))
        run.step(parts)
    return run


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_its_twins_cut_after_a_step(case: str, data: Path, tmp_path: Path) -> None:  # noqa: F811
    before, made = torch.get_num_threads(), task(case, str(data))
    cuts = [fit(made, config(made, tmp_path, minutes), tmp_path).state for minutes in (0, None)]
    torch.set_num_threads(before)
    assert cuts == ["stopped", "finished"]
    run = expected(case, str(data))
    moved = [np.abs(run.states[-1]["model"][name] - run.states[0]["model"][name]).max() for name in run.p]
    assert np.median(moved) > 1e-4
    compare(tmp_path, run)


@pytest.mark.slow
def test_two_processes_are_the_twin_too(data: Path, tmp_path: Path, forks: Forks) -> None:  # noqa: F811
    errors = tmp_path / "errors"
    assert forks.pair(__file__, str(data), tmp_path, errors=errors) == [0, 0], errors.read_text()
    for case in CASES:
        compare(tmp_path / case, expected(case, str(data)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_process_group("cpu"):
        for each in CASES:
            run = task(each, sys.argv[1])
            fit(run, config(run, Path(sys.argv[2]) / each), Path(sys.argv[2]) / each)
