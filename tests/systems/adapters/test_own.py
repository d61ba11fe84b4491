"""A task of the user's own, from a file outside of the project: learned, resumed, recorded, loaded and refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.app.learn.adapt import verify
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.encoders import build, save
from tapetum.systems.adapters import load_headed
from tapetum.systems.adapters.files import read
from tapetum.systems.adapters.own import own_task
from tapetum.systems.adapters.recipes import AdaptRun, recipe
from tapetum.systems.adapters.run import adapt, make_task
from tapetum.train.launch_config import Launch

TASK = '''
import csv

import torch
import torch.nn.functional as F
from torch import nn

from tapetum.systems.adapters.own import OwnTask


class Brightness(OwnTask):
    """How bright is an image?"""

    def examples(self, split):
        with open(self.folder / f"{split}.csv") as file:
            return [(self.folder / name, float(value)) for name, value in csv.reader(file)]

    @staticmethod
    def head(width):
        return nn.Linear(width, 1)

    def head_loss(self, outputs, targets):
        return F.mse_loss(outputs[:, 0], targets)

    def score(self, outputs, targets):
        return {"mean_absolute_error": (outputs[:, 0] - targets).abs().mean()}


class EveryPixel(Brightness):
    """How bright is each of two by two parts of an image?"""

    reads = "maps"

    def examples(self, split):
        return [(file, [[value, value], [value, value]]) for file, value in super().examples(split)]

    def sizes(self):
        return {"rows": 2}

    @staticmethod
    def head(channels, rows):
        class Coarse(nn.Module):
            def __init__(self):
                super().__init__()
                self.out = nn.Conv2d(channels[-1], 1, 1)

            def forward(self, maps):
                return F.adaptive_avg_pool2d(self.out(maps[-1]), rows)

        return Coarse()


class Unfinished(OwnTask):
    def examples(self, split):
        return []

    def head_loss(self, outputs, targets):
        return outputs.mean()


class Bound(Brightness):
    def head(self, width):
        return nn.Linear(width, 1)


class Empty(Brightness):
    def examples(self, split):
        return []


class NoTask:
    pass
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trunk, images of one shade each, and the file of the tasks."""
    place = tmp_path_factory.mktemp("own_task")
    save(
        build("vit-nano", width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16), pooling="mean"),
        place / "trunk.safetensors",
    )
    (place / "own_brightness.py").write_text(TASK)
    for split, count in (("train", 8), ("val", 4)):
        lines = []
        for k in range(count):
            Image.fromarray(np.full((20, 24, 3), 20 + 25 * k, np.uint8)).save(place / f"{split}{k}.png")
            lines.append(f"{split}{k}.png,{(20 + 25 * k) / 255}")
        (place / f"{split}.csv").write_text("\n".join(lines))
    return place


def own_run(place: Path, name: str = "Brightness", **changes: object) -> AdaptRun:
    settings = {"steps": 3, "batch_size": 4, "evaluations": 1, "trunk": str(place / "trunk.safetensors"), **changes}
    return recipe(f"{place}/own_brightness.py:{name}", str(place), **settings)


@pytest.mark.parametrize("name", ["Brightness", "EveryPixel"])
def test_it_is_learned_resumed_recorded_and_loaded_under_its_name(place: Path, tmp_path: Path, name: str) -> None:
    run, said = own_run(place, name), []
    whole = adapt(run, Launch(out=tmp_path / "whole"), said.append)
    assert said == ["8 images to learn from and 4 to check on"]
    while (cut := adapt(run, Launch(out=tmp_path / "cut", minutes=0))) is None:
        continue
    assert whole is not None
    assert whole.weights.read_bytes() == cut.weights.read_bytes()
    assert list(whole.scores) == ["mean_absolute_error"]
    recorded = json.loads(next((tmp_path / "whole/checkpoints").glob("*/state.json")).read_text())["run"]["task"]
    assert recorded["run"]["task"] == f"own_brightness.py:{name}"
    assert str(place) not in json.dumps(recorded["head"])
    assert json.loads((tmp_path / "whole/ledger.json").read_text())["total"]["flops_forward"] > 0
    assert json.loads(read(whole.weights).trained_on)["task"] == f"own_brightness.py:{name}"
    headed = load_headed(f"{place}/own_brightness.py:{name}={whole.weights}")
    assert isinstance(headed.trunk.in_use, str)
    task = make_task(run)
    with torch.no_grad():
        scores = task.evaluate(headed, 0)
    assert scores == pytest.approx(dict(whole.scores), abs=1e-6)
    assert verify(whole.weights).now == verify(whole.weights).before
    with pytest.raises(BadInput, match=rf"was made with own_brightness\.py:{name}, not with own_brightness\.py:Empty"):
        load_headed(f"{place}/own_brightness.py:Empty={whole.weights}")


def test_a_head_of_maps_takes_all_of_them_and_no_adapter_at_the_top(place: Path) -> None:
    task = make_task(own_run(place, "EveryPixel"))
    assert task.below is None
    model = task.model()
    assert {row.section for row in model.trunk.summary()} == {"bottom", "middle"}  # pyright: ignore
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 1, 2, 2)
    assert make_task(own_run(place, preset="middle-top")).below is not None


def test_another_process_needs_the_class(place: Path, tmp_path: Path) -> None:
    finished = adapt(own_run(place, steps=1), Launch(out=tmp_path / "run"))
    assert finished is not None
    code = f"from tapetum.systems.adapters import load_headed\nload_headed({str(finished.weights)!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "BadInput: the file was made with the task 'own_brightness.py:Brightness', whose code is not in it" in other.stderr


def test_the_command_takes_it_and_an_entry_point(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    about = place / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tapetum.tasks]\nbrightness = own_brightness:Brightness\n")
    monkeypatch.syspath_prepend(str(place))
    small = ["--steps", "1", "--batch-size", "2", "--evaluations", "1", "--trunk", str(place / "trunk.safetensors")]
    for task in (f"{place}/own_brightness.py:Brightness", "brightness"):
        out = tmp_path / task.rpartition(":")[2]
        assert main(["adapt", str(place), "--task", task, "--out", str(out), *small, "--json"]) == 0
        assert "mean_absolute_error" in json.loads(capsys.readouterr().out)["scores"]
    assert json.loads(read(tmp_path / "brightness" / "adapter.safetensors").trained_on)["task"] == "brightness"
    assert isinstance(load_headed(tmp_path / "brightness" / "adapter.safetensors").head, torch.nn.Module)
    assert main(["adapt", str(place), "--task", "brightnes", "--out", str(tmp_path / "no"), *small]) == 2
    assert "there is no task 'brightnes'; it is one of classify, segment, clone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoTask", r"is no task; derive it from tapetum\.systems\.adapters\.own\.OwnTask"),
        ("Unfinished", r"own_brightness\.py:Unfinished lacks head, score; write them"),
        ("Bound", r"head of .*:Bound takes the task; write @staticmethod above it"),
    ],
)
def test_classes_that_lack_something_are_refused(place: Path, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        own_task(f"{place}/own_brightness.py:{name}")


def test_a_task_without_images_is_refused(place: Path) -> None:
    with pytest.raises(BadInput, match="Empty lists no images for train"):
        make_task(own_run(place, "Empty"))
