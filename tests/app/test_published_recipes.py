"""Published recipes are built on the device "meta", and parameters and FLOPs held against the figures of their papers.

A figure is held within 1 %. HiP's printed totals are of another read-out than its public code, which counts here.
"""

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from tapetum.app.shell.main import parse
from tapetum.bench.plan_types import Plan
from tapetum.bench.plans import plan_run
from tapetum.systems.longvideo.recipes import PAPER, UNPUBLISHED
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.pretraining.methods import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "published-recipes.md"
PRESETS = dict(re.findall(r"^\| `([^`]+)` \| `tapetum ([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
PRESETS = {name: words.split() for name, words in PRESETS.items()}


@cache
def plan_of(name: str, *more: str) -> Plan:
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


RECORDS = (
    "tap.recipes", "tap.bootstrap.config", "tapnext.recipes", "hip.recipes", "odin.recipes",
    "paligemma.recipes", "longvideo.recipes", "adapters.recipes",
)  # fmt: skip


@pytest.mark.parametrize("module", RECORDS)
def test_what_is_not_published_says_why(module: str) -> None:
    check_notes(import_module(f"tapetum.systems.{module}").UNPUBLISHED)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_published_of_a_method_says_why(method: str) -> None:
    if record := METHODS[method].unpublished:
        assert set(record) <= set(METHODS[method].presets)
        check_notes(record)


def check_notes(record: Any) -> None:
    notes = (
        [*record.values()] if isinstance(next(iter(record.values())), str) else [n for e in record.values() for n in e.values()]
    )
    assert notes
    assert all(isinstance(note, str) and note for note in notes)


def test_bootstrap_takes_the_papers_numbers_but_for_what_is_given() -> None:
    run = parse(["bootstrap", "--preset", "paper", "--no-requery", "--steps", "7", "--dry"]).recipe
    assert (run.steps, run.settings.requery) == (7, False)
    assert (run.clips, run.settings.cycle, run.settings.separate_moments, run.settings.polish) == (512, True, True, False)
