"""Published recipes are built on the device "meta", and parameters and FLOPs held against the figures of their papers.

A figure is held within 1 %. HiP's printed totals are of another read-out than its public code, which counts here.
"""

import re
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tapetum.account.cluster import GIB, H100, Unit
from tapetum.account.run_plan import MeasuredStep, PhasePlan, RunPlan

from support.scripts import script
from tapetum.app.learn.dry import PlannedRun, plan_run
from tapetum.app.shell.main import parse
from tapetum.systems.longvideo.recipes import PAPER, UNPUBLISHED
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.tap.recipes import TAP_NANO, TapirPhase

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "published-recipes.md"
PRESETS = dict(re.findall(r"^\| `([^`]+)` \| `tapetum ([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
PRESETS = {name: words.split() for name, words in PRESETS.items()}


@cache
def plan_of(name: str, *more: str) -> RunPlan:
    return plan_run(parse([*PRESETS[name], *more, "--dry"]).recipe)


PARAMETERS: tuple[tuple[str, tuple[str, ...], float, str], ...] = (
    ("tap-kubric", ("--frames", "2", "--points", "4"), 31_072_327, "public checkpoint of TAPIR, pyramid level 0"),
    ("bootstrap", ("--frames", "2", "--points", "4"), 54_699_335, "public checkpoint of BootsTAPIR"),
    ("tapnext", (), 194_202_881, "public checkpoint of TAPNext-B"),
    ("paligemma-1", (), 2_923_335_408, "sizes of arXiv 2407.07726, section 3.1: So400m and Gemma 2B, in its public files"),
    ("paligemma2-3b-1", (), 3_032_094_960, "arXiv 2412.03555, table 1, in the public files"),
    ("paligemma2-3b-1", ("--model", "paligemma2-10b-224"), 9_662_409_456, "arXiv 2412.03555, table 1, in the public files"),
    ("paligemma2-3b-1", ("--model", "paligemma2-28b-224"), 27_650_192_112, "arXiv 2412.03555, table 1, in the public files"),
    ("hip-imagenet", (), 100_788_963, "public code of HiP-16 at 50,176 inputs (the paper prints 97.9 million)"),
    (
        "hip-imagenet",
        ("--variant", "hip-256"),
        96_367_411,
        "public code of HiP-256 at 50,176 inputs (the paper: 102.3 million)",
    ),
)
"""Preset, more options, weights that learn in the first phase, and where the figure is from."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "more", "published", "source"), PARAMETERS)
def test_a_recipe_learns_as_many_weights_as_its_paper_says(
    name: str, more: tuple[str, ...], published: float, source: str
) -> None:
    learning = plan_of(name, *more).phases[0].step.learning
    assert learning == pytest.approx(published, rel=0.01), source


def forward(*words: str, of: str = "forward") -> float:
    return getattr(plan_of(*words).phases[0].step, of)


@pytest.mark.slow
def test_flops_of_a_step_are_those_of_the_papers() -> None:
    # ViT-B/16 at 224: 17.5634 GMAC by open_clip's published table; the head of 1,000 classes on top
    assert forward("pretrain-supervised-vit") == pytest.approx(35.13e9, rel=0.01)
    # CLIP ViT-B/16: 41.09 GFLOP, the same table
    assert forward("pretrain-clip-vit") == pytest.approx(41.09e9, rel=0.01)
    # ResNet-50: 4.09 GMAC (torchvision's published table)
    assert forward("pretrain-supervised-resnet") == pytest.approx(2 * 4.09e9, rel=0.01)
    # two views of SimCLR, and BYOL's 8/3, of the same encoder (arXiv 2209.15589 counts steps so); heads on top
    assert forward("pretrain-simclr-resnet") == pytest.approx(2 * forward("pretrain-supervised-resnet"), rel=0.01)
    byol = forward("pretrain-byol-resnet") + forward("pretrain-byol-resnet", of="backward")
    supervised = forward("pretrain-supervised-resnet") + forward("pretrain-supervised-resnet", of="backward")
    assert byol / supervised == pytest.approx(8 / 3, rel=0.01)
    # TAPNext-B: 553 GFLOP a frame of 256 queries, by hand from its shapes, and 16 less since image tokens end in the last block
    assert forward("tapnext") == pytest.approx(48 * (553e9 - 16e9), rel=0.01)


@pytest.mark.slow
def test_subwords_cost_their_rows_of_the_table_of_tokens() -> None:
    step = plan_of("longvideo-consolidated", "--model", "mcvit-b").phases[0].step
    of_bytes = plan_of("longvideo-consolidated", "--model", "mcvit-b", "--vocabulary", "258").phases[0].step
    assert step.learning - of_bytes.learning == (32_000 - 258) * 768


def test_mcvit_l_is_the_published_vit_l_but_for_the_positions_of_more_frames() -> None:
    with torch.device("meta"):
        short, long = (VideoText(PAPER[stage].config) for stage in ("short", "consolidated"))
    count = [sum(p.numel() for p in part.parameters()) for part in (short.video, long.video, long)]
    assert count[0] == pytest.approx(307e6, rel=0.01)  # LongViViT (arXiv 2312.07395), section 4: ViT-L
    assert count[1] - count[0] == (128 - 16) // 2 * 16 * 16 * 1024  # tubelets of 2 x 16 x 16 at 256 pixels
    assert count[2] / 1e6 == pytest.approx(433, abs=0.5)  # 424 in MC-ViT (arXiv 2402.05861), as docs/systems/longvideo.md says


def test_rows_of_long_video_are_of_a_thousand_steps_where_no_number_is_published() -> None:
    for name in ("images", "short", "long", "video-to-text"):
        run = parse([*PRESETS[f"longvideo-{name}"], "--dry"]).recipe
        assert run.steps == 1_000
        assert "1,000" in UNPUBLISHED[run.stage]["steps"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_published_preset_is_a_command_that_needs_no_data_to_be_planned(name: str) -> None:
    given = parse([*PRESETS[name], "--dry"])
    assert given.dry


def test_a_plan_is_written_as_text_and_as_json() -> None:
    plan = plan_of("adapt-metaworld")
    text, values = PlannedRun(plan).as_text(), PlannedRun(plan).as_json()
    assert "20,000" in text
    assert "weight-decay 0.0001: ours" in text
    assert values["steps"] == 20_000
    assert values["examples"] == 20_000 * 32
    assert values["phases"][0]["devices"][1]["used"] == 32  # a batch of 32 on 64 GPUs
    assert any(line.startswith("rank") for line in values["not_published"])


def made_up_plan(*, bf16: bool = True, activations: float = 0.0, checkpointed: float = 0.0) -> RunPlan:
    """A thousand steps of 8 examples of 3 TFLOPs each, of a network of one weight."""
    step = MeasuredStep(
        learning=1,
        frozen=0,
        forward=1e12,
        backward=2e12,
        activations=activations,
        checkpointed=checkpointed,
        units=(Unit(shapes=((1,),), learning=((1,),)),),
        bf16=bf16,
    )
    return RunPlan(phases=(PhasePlan(steps=1000, batch_size=8, micro_batch=1, step=step),), examples_are="images")


def row_of(plan: RunPlan) -> str:
    return script("docs/tools/published_recipes.py").row("tapnext", plan)


def days_of(plan: RunPlan) -> float:
    days = plan.days(8)
    assert days is not None
    return days.value


def test_a_plan_in_float32_is_priced_in_float32() -> None:
    # NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s in bfloat16 on tensor cores, 67 in float32, 494 in TF32
    fast, slow = made_up_plan(), made_up_plan(bf16=False)
    assert days_of(fast) == pytest.approx(1000 * 3e12 / (0.35 * 989e12) / 86_400)
    assert days_of(slow) / days_of(fast) == pytest.approx(989 / 67)
    quickest = slow.days(8)
    assert quickest is not None
    assert quickest.low == pytest.approx(1000 * 3e12 / (0.5 * 494e12) / 86_400)
    assert (fast.bf16, slow.bf16) == (True, False)
    assert "67 TFLOP/s" in PlannedRun(slow).as_text()
    assert "in bfloat16" not in PlannedRun(slow).as_text()


def test_a_plan_that_fits_with_checkpointing_alone_costs_another_forward_pass() -> None:
    plan = made_up_plan(activations=90 * GIB, checkpointed=10 * GIB)
    assert days_of(plan) / days_of(made_up_plan()) == pytest.approx(4 / 3)
    text = PlannedRun(plan).as_text()
    assert re.search(r"days, 8 H100 .* with --activation-checkpointing, without which it does not fit", text)
    assert PlannedRun(plan).as_json()["phases"][0]["devices"][0]["needs_checkpointing"]


def test_a_plan_that_does_not_fit_says_by_how_much_instead_of_days() -> None:
    plan = made_up_plan(activations=200 * GIB, checkpointed=100 * GIB)
    assert plan.days(8) is None
    excess = 100 - H100["memory"].value / GIB
    text, values = PlannedRun(plan).as_text(), PlannedRun(plan).as_json()
    assert f"does not fit: {excess:.1f} GiB too much for a device of 74.5 GiB" in text
    first = text.splitlines()[0]  # before the steps
    assert re.match(r"does not fit +8 H100: a device has 74.5 GiB, 100.* GiB with --activation-checkpointing", first)
    assert first.endswith("activations 100.0, averages 0.0); no number of them would do")
    assert "\ndoes not fit" not in PlannedRun(made_up_plan(activations=90 * GIB, checkpointed=10 * GIB)).as_text()
    assert "days, 8 H100    0" not in text
    assert values["days"] == {"8": None, "64": None}
    assert values["phases"][0]["devices"][0]["excess_bytes"] == pytest.approx(excess * GIB, rel=1e-6)
    assert row_of(plan).endswith(f"| no: {excess:.1f} GiB too much | no: {excess:.1f} GiB too much |")


def test_a_row_marks_steps_that_are_not_published_and_what_only_fits_with_checkpointing() -> None:
    plan = replace(made_up_plan(activations=90 * GIB), unpublished=("lr 0.1: ours", "steps 1000: ours"))
    assert "| 1,000* | 8 | 2.4e+16 | bfloat16 |" in row_of(plan)
    assert row_of(plan).endswith(" (again) |")
    assert "| 1,000 | 8 | 2.4e+16 | float32 |" in row_of(made_up_plan(bf16=False))


@pytest.mark.slow
def test_a_run_of_trackers_on_scenes_is_planned_in_the_precision_that_it_has() -> None:
    phase = TapirPhase(
        name="1", size=64, frames=2, steps=1, batch_size=1, micro_batch=1, lr=1e-3, clips=1, points=2, iterations=1
    )
    assert TAP_NANO["tap-nano"].bf16
    assert plan_run(replace(TAP_NANO["tap-nano"], phases=(phase,))).bf16


RECORDS = (
    "tap.recipes", "tap.bootstrap.config", "tapnext.recipes", "hip.recipes", "odin.recipes",
    "paligemma.recipes", "pretraining.recipes", "longvideo.recipes", "adapters.recipes",
)  # fmt: skip


@pytest.mark.parametrize("module", RECORDS)
def test_what_is_not_published_says_why(module: str) -> None:
    record: Any = import_module(f"tapetum.systems.{module}").UNPUBLISHED
    notes = (
        [*record.values()] if isinstance(next(iter(record.values())), str) else [n for e in record.values() for n in e.values()]
    )
    assert notes
    assert all(isinstance(note, str) and note for note in notes)


def test_bootstrap_takes_the_papers_numbers_but_for_what_is_given() -> None:
    run = parse(["bootstrap", "--preset", "paper", "--no-requery", "--steps", "7", "--dry"]).recipe
    assert (run.steps, run.settings.requery) == (7, False)
    assert (run.clips, run.settings.cycle, run.settings.separate_moments, run.settings.polish) == (512, True, True, False)
