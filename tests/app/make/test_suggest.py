"""`tapetum weights suggest`: what suits a machine; and names of models of transformers, fetched from a hub of our own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.hub import serve
from support.image_text_models import save_llava
from support.sam2_model import save_sam2
from tapetum.app.make.suggest import TASKS, advice, suggest_for
from tapetum.hub.registry import find, known
from tapetum.systems.image_text.model import ImageTextModel

Run = Callable[..., tuple[int, str, str]]


def test_a_larger_machine_suits_a_larger_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    for task, small, large in (
        ("track", "bootstapir", "tapnextpp-256"),
        ("ask", "smolvlm-500m", "molmo2-4b"),
        ("segment", "sam2-tiny", "sam2-large"),
        ("embed", "dinov2-base", "siglip2-base-16"),
    ):
        for memory, name in ((None, small), (80.0, large)):
            models = suggest_for(task, memory)
            assert [each.name for each in models if each.suits] == [name]
            assert [each.name for each in models if each.default] == [TASKS[task][0]]
            assert [each.name for each in models] == [known()[each.name].name for each in models]
        assert suggest_for(task, 0.8)[0].default  # of a small accelerator
        assert all("Apache" in each.licence or each.name.startswith("paligemma") for each in suggest_for(task))
    assert advice("segment").endswith(f"better: {find('sam2-tiny').fetch_text}")


@pytest.mark.slow
def test_what_is_here_is_measured(run: Run) -> None:
    code, out, err = run("weights", "suggest", "embed", "--json")
    assert (code, err) == (0, "")
    models = {each["name"]: each for each in json.loads(out)["models"]}
    assert models["resnet-nano"]["seconds"] > 0
    assert models["dinov2-large"]["seconds"] is None
    code, out, err = run("weights", "suggest", "embed")
    assert out.splitlines()[1].startswith("default  resnet-nano ")
    assert out.splitlines()[-1].startswith("embed uses resnet-nano; better: ")


@pytest.mark.slow
def test_names_fetch_models_of_transformers_that_run(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, weights = tmp_path / "photo.png", tmp_path / "weights"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)).save(photo)
    own = {"smolvlm-256m": save_llava(tmp_path / "llava"), "sam2-tiny": save_sam2(tmp_path / "sam2")}
    with serve({str(find(name).repository): folder for name, folder in own.items()}) as hub:
        environment = os.environ | hub | {"TAPETUM_WEIGHTS": str(weights), "HF_HOME": str(tmp_path / "home")}
        for name in own:
            words = [sys.executable, "-m", "tapetum", "weights", "fetch", name]
            subprocess.run(words, check=True, env=environment, capture_output=True)
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(weights))
    code, out, _ = run("ask", photo, "what is this?", "--model", "smolvlm-256m", "--tokens", "4", "--json")
    assert code == 0
    [expected] = ImageTextModel.load(own["smolvlm-256m"]).ask([np.asarray(Image.open(photo))[None]], ["what is this?"], 4)
    assert json.loads(out)["images"][0]["answer"] == expected.text
    assert run("segment", photo, "--click", "0,20,20", "--out", tmp_path / "masks")[0] == 0  # by sam2-tiny, its default
    code, out, _ = run("weights", "suggest", "segment", "--json")
    assert [each["name"] for each in json.loads(out)["models"] if each["seconds"]] == ["efficientnet-lite2", "sam2-tiny"]
