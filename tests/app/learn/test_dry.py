"""`--dry` plans what the run would really do on the examples that are there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.paligemma_folder import tiny_folder
from tapetum.bench.plans import plan_run
from tapetum.core.errors import BadInput
from tapetum.systems.odin.recipes import recipe as odin
from tapetum.systems.paligemma.recipes import PaliGemmaTransfer
from tapetum.systems.pretraining.recipes import recipe


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    monkeypatch.setattr("tapetum.app.learn.pretrain._LONGEST_S", 0.0)
    assert json.loads(run(*words, "--device", "cpu", "--dry", "--json")[1])["here"] is None
    code, text, _ = run(*words[:3], "absent", *words[4:], "--dry", "--json")
    assert (code, json.loads(text)["here"]) == (0, None)
