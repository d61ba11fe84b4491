"""`--dry` plans what the run would really do: on the examples that are there, with the negatives that a loss sees."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tapetum.account.cluster import H100

from support.paligemma_folder import tiny_folder
from tapetum.app.learn.dry import PlannedRun, parse_prices, plan_run
from tapetum.core.errors import BadInput
from tapetum.systems.odin.recipes import recipe as odin
from tapetum.systems.paligemma.recipes import PaliGemmaTransfer
from tapetum.systems.pretraining.recipes import recipe


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of three classes."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(12):
        (folder / str(number % 3)).mkdir(exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(folder / str(number % 3) / f"{number}.png")
    return folder


FEW = {"encoder": "resnet-nano", "epochs": 10.0, "batch_size": 4}


@pytest.mark.parametrize("made", [lambda data: recipe("supervised", data, **FEW), lambda data: odin(data, **FEW)])
def test_steps_are_those_of_the_images_that_are_there(made: Callable[[str], Any], images: Path, tmp_path: Path) -> None:
    plan = plan_run(made(str(images)))
    assert (plan.steps, plan.data) == (30, f"12 images, of {images}")
    absent = plan_run(made(str(tmp_path / "none")))
    assert absent.steps == 125_000
    assert absent.data == f"50,000 images, as many as CIFAR-10's; {tmp_path / 'none'} is not here"


def test_a_classifier_has_the_classes_of_the_images(images: Path, tmp_path: Path) -> None:
    few, thousand = (plan_run(recipe("supervised", str(data), **FEW)).phases[0].step for data in (images, tmp_path / "none"))
    assert thousand.learning - few.learning == 997 * (1 + 256)


def test_images_that_the_run_would_refuse_are_refused(images: Path) -> None:
    with pytest.raises(BadInput, match="views of 128 pixels are larger"):
        plan_run(recipe("simclr", str(images), size=128, **FEW))


def test_steps_of_a_transfer_are_those_of_its_file(tmp_path: Path) -> None:
    lines = tmp_path / "d.jsonl"
    run = PaliGemmaTransfer(data=str(lines), start=str(tiny_folder(tmp_path)), batch_size=2, epochs=3)
    assert plan_run(run).data == f"10,000 examples, assumed; {lines} is not here"
    lines.write_text('{"image": "a.png", "prefix": "a", "suffix": "b"}\n' * 6)
    plan = plan_run(run)
    assert (plan.steps, plan.data) == (9, f"6 examples, of {lines}")


@pytest.mark.slow
def test_negatives_of_micro_batches_are_said() -> None:
    settings = {"size": 32, "steps": 1, "batch_size": 32_768, "micro_batch": 256}
    plan = plan_run(recipe("clip", "", **settings, encoder="resnet-nano"))
    [line] = [line for line in PlannedRun(plan).as_text().splitlines() if line.startswith("negatives")]
    assert line.split(maxsplit=1)[1] == (
        "2,047 on 8 H100, 16,383 on 64 H100, 32,767 in an undivided batch: micro-batches are compared one by one; all with "
        "--micro-batch 4096 on 8, 512 on 64"
    )
    assert [device["negatives"] for device in PlannedRun(plan).as_json()["phases"][0]["devices"]] == [2_047, 16_383]
    for method, changes in (("clip", {"micro_batch": 4096}), ("byol", {})):
        plan = plan_run(recipe(method, "", **{**settings, **changes}, encoder="resnet-nano"))
        assert "negatives" not in PlannedRun(plan).as_text()


def test_the_largest_batch_that_fits_does_and_one_more_does_not() -> None:
    """A machine of eight H100, whose memory the next larger micro-batch exceeds."""
    phase = plan_run(recipe("dinov2", (), "vit", steps=1)).phases[0]
    most = phase.share(8).most_at_once
    fits, more = (replace(phase, batch_size=8 * count, micro_batch=count).share(8) for count in (most, most + 1))
    assert (fits.micro_batch, more.micro_batch) == (most, most + 1)
    assert fits.memory.total <= int(H100["memory"].value) < more.memory.total
    assert not fits.needs_checkpointing
    assert f"at most {most:,} at a time fit" in PlannedRun(plan_run(recipe("dinov2", (), "vit", steps=1))).as_text()


def test_one_gpu_of_a_name_has_its_own_peak_memory_and_price() -> None:
    plan = plan_run(recipe("dinov2", (), "vit", steps=1000, micro_batch=16))
    planned = PlannedRun(plan, parse_prices(["L4=0.5"]))
    values, text = planned.as_json()["one_gpu"], planned.as_text()
    flops = plan.flops / 86_400 / 0.35
    assert values["A100"]["days"]["value"] == pytest.approx(flops / 312e12)  # bfloat16 by NVIDIA's data sheets
    assert values["L4"]["days"]["value"] == pytest.approx(flops / 121e12)
    assert values["L4"]["price"] == pytest.approx(24 * 0.5 * values["L4"]["days"]["value"])
    assert values["H100"]["price"] is None
    assert values["L4"]["memory_bytes"] <= 24e9
    assert values["L4"]["most_at_once"] < values["A100"]["most_at_once"]
    assert re.search(r"one L4 .* of 22.4 GiB, at most \d+ at a time fit; .* at 0.5 an hour\n", text)
    with pytest.raises(BadInput, match=r"--price B200=1: give GPU=PRICE of an hour, such as H100=2\.5; GPUs are H100, A100"):
        parse_prices(["B200=1"])
    with pytest.raises(BadInput, match="--price L4: give GPU=PRICE"):
        parse_prices(["L4"])


def test_pretraining_makes_its_first_steps_where_they_are_short(
    images: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "pretrain", "simclr", "--data", str(images), *("--encoder", "resnet-nano", "--size", "32", "--batch-size", "4")
    code, text, errors = run(*words, "--steps", "50", "--device", "cpu", "--dry", "--json")
    assert code == 0, errors
    here = json.loads(text)["here"]
    assert here["steps"] == 50
    assert here["flops_per_step"] == pytest.approx(json.loads(text)["phases"][0]["flops_of_a_step"], rel=0.01)
    assert here["seconds"] == pytest.approx(here["start_s"] + 50 * max(here["step_s"], here["views_s"]), rel=0.5)
    assert here["peak_bytes"] > 1 << 27
    assert here["most_at_once"] > 4
    monkeypatch.setattr("tapetum.app.learn.pretrain._LONGEST_S", 0.0)
    assert json.loads(run(*words, "--device", "cpu", "--dry", "--json")[1])["here"] is None
    code, text, _ = run(*words[:3], "absent", *words[4:], "--dry", "--json")
    assert (code, json.loads(text)["here"]) == (0, None)
