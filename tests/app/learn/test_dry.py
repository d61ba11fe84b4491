"""`--dry` plans what the run would really do: on the examples that are there, with the negatives that a loss sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.paligemma_folder import tiny_folder
from tapetum.account.cluster import H100
from tapetum.app.learn.dry import PlannedRun, plan_run
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
