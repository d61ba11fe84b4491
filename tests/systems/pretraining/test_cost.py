"""A step counted on shapes is the step that runs; ratios of the methods are those of arithmetic."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from systems.pretraining.conftest import RESNET, SETTINGS, VIT, tiny
from tapetum.account.flops import by_part, count_flops
from tapetum.systems.pretraining.cost import count_parameters, count_step, step_on_meta
from tapetum.systems.pretraining.methods import METHODS, Byol, Dino, Mae, Method, SimClr
from tapetum.systems.pretraining.methods.dinov2 import DinoV2
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import loop_config, task_for
from tapetum.train import StepContext, fit
from tapetum.train.launch_config import Launch

BACKBONES = {
    "vit": VIT,
    "resnet": RESNET,
    "nfnet": {
        "encoder": "nfnet-f0",
        "change": ("stem_width=16", "depths=(1,1,1,1)", "channels=(16,16,32,32)", "group_width=8"),
    },
    "lite": {"encoder": "efficientnet-lite0", "change": ()},
}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", METHODS)
def test_a_step_on_shapes_costs_what_a_real_one_does(method: Method, backbone: str, data: object) -> None:
    if METHODS[method].hides_patches and backbone != "vit":
        pytest.skip(f"{method} is for ViTs alone")
    size = 16 if backbone in ("vit", "resnet") else 32
    run = tiny(method, data, **{**BACKBONES[backbone], "size": size, "batch_size": 4})  # type: ignore[arg-type]
    task = task_for(replace(run, enlarge=True))
    model, teachers = task.model(), {}
    for average in task.averages:
        teachers[average.name] = task.model().requires_grad_(False).eval()
    samples = task.dataset()
    batch = task.collate([samples[number] for number in range(4)])
    if "hidden" in batch:  # as many patches as a plan assumes, which are those of a step on average
        settings, hidden = DinoV2(), batch["hidden"]
        share = settings.mask_probability * sum(settings.mask_shares) / 2
        batch["hidden"] = (torch.arange(hidden.numel()) < round(share * hidden.numel())).reshape(hidden.shape)

    def loss() -> torch.Tensor:
        return task.method_loss(model, batch, StepContext(step=9, teachers=teachers))[0]

    with by_part({**task.cost_parts(model), **teachers}):
        counted = count_flops(loss)
    said = count_step(run, classes=2)
    for name, count in counted.by_part.items():
        assert said.by_part[name] == pytest.approx(count, rel=0.005), name
    assert said.total == pytest.approx(counted.total, rel=0.005)
    assert said.model == pytest.approx(counted.model, rel=0.005)
    assert set(counted.by_part) == set(said.by_part)


def per_image(method: Method, encoder: str) -> float:
    """GFLOP of an image of 224 pixels, as the mathematics asks for, with the published heads; without the table of logits."""
    run = recipe(method, "", "vit", encoder=encoder, batch_size=2, micro_batch=2)
    found = count_step(run, classes=21841)
    return (found.model - 3 * found.by_part.get("loss", 0)) / 2e9  # backward of the table costs twice its forward


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "supervised", "simclr", "byol", "dino", "mae"),
    [
        ("vit-small-16", 27.6, 2.00, 2.66, 4.12, 1.41),
        ("vit-base-16", 105.5, 2.00, 2.67, 4.13, 0.56),
        ("vit-large-16", 369.4, 2.00, 2.67, 4.13, 0.34),
    ],
)
def test_ratios_of_the_notes(encoder: str, supervised: float, simclr: float, byol: float, dino: float, mae: float) -> None:
    one = per_image("supervised", encoder)
    assert one == pytest.approx(supervised, rel=0.01)
    for method, ratio in (("simclr", simclr), ("byol", byol), ("dino", dino), ("mae", mae)):
        assert per_image(method, encoder) / one == pytest.approx(ratio, rel=0.015), method  # type: ignore[arg-type]


NINE = {
    # GFLOP of an image of 64 pixels, forward and backward, as torch's counter (math attention) found of lightly's own modules
    ("resnet-18", ()): {"supervised": 0.869, "simclr": 1.742, "byol": 2.349, "dino": 3.988},
    ("vit-tiny-16", ("patch=8",)): {"supervised": 2.197, "simclr": 4.395, "byol": 5.874, "dino": 9.492, "mae": 0.901},
}


@pytest.mark.slow
@pytest.mark.parametrize("network", NINE)
def test_the_nine_runs_of_lightly_that_were_measured(network: tuple[str, tuple[str, ...]]) -> None:
    heads = {
        "simclr": {"simclr": SimClr(hidden=512, projection=128)},
        "byol": {"byol": Byol(hidden=1024, projection=256)},
        "dino": {"dino": Dino(hidden=2048, bottleneck=256, prototypes=4096, local_views=6, local_size=32)},
        "mae": {"mae": Mae(width=128, depth=4, heads=4)},
    }
    for method, gflop in NINE[network].items():
        run = recipe(method, "", encoder=network[0], change=network[1], size=64, batch_size=64, **heads.get(method, {}))  # type: ignore[arg-type]
        assert count_step(run, classes=100).model / 64e9 == pytest.approx(gflop, rel=0.02), method


def test_logits_stand_apart_and_grow_with_the_square_of_the_batch() -> None:
    run = replace(tiny("simclr", "", **VIT), simclr=SETTINGS["simclr"]["simclr"])
    small, large = count_step(run, 8), count_step(run, 16)
    assert small.by_part["loss"] == 2 * (2 * 8) ** 2 * 16
    assert large.by_part["loss"] == 4 * small.by_part["loss"]
    assert large.by_part["encoder"] == 2 * small.by_part["encoder"]
    assert count_parameters(run)["heads"] == 32 * parameters_width() + 2 * 32 + 32 * 16 + 16


def parameters_width() -> int:
    return tiny("simclr", "", **VIT).architecture.config.width


@pytest.mark.slow
def test_the_ledger_of_a_run_has_phases(data: Path, tmp_path: Path) -> None:
    task = task_for(tiny("byol", data, steps=1))
    fit(task, loop_config(task, Launch(out=tmp_path), tensorboard=False, workers=0), tmp_path)
    session = json.loads((tmp_path / "ledger.json").read_text())["sessions"][0]
    phases, per_step = session["phases_per_step"], session["flops_per_step"]
    assert set(phases) == {"teacher", "encoder", "heads", "backward"}
    assert phases["backward"] == per_step["backward"]
    assert sum(phases.values()) == per_step["forward"] + per_step["backward"]
    assert phases["encoder"] < phases["teacher"] < phases["encoder"] + phases["heads"]


def test_patches_that_stay_as_they_begin_learn_nothing_in_a_plan_either() -> None:
    parts = step_on_meta(tiny("simclr", "", **VIT, frozen_patches=True), 2)[1]
    frozen = [name for name, p in parts["encoder"].named_parameters() if not p.requires_grad]
    assert frozen == ["patches.weight", "patches.bias"]
