"""`tapetum account`: encoders, steps of pre-training, other models, runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from support import paligemma, trunks
from systems.pretraining.test_own import METHOD
from tapetum.account.flops import count_flops
from tapetum.account.ledger import Ledger
from tapetum.bench.forward_passes import forward_pass
from tapetum.encoders import build, save
from tapetum.systems import longvideo
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import OdinConfig

Run = Callable[..., tuple[int, str, str]]


def told(run: Run, *words: object) -> dict:
    code, out, err = run("account", *words, "--json")
    assert (code, err) == (0, ""), err
    return json.loads(out)


def test_an_encoder_by_name(run: Run) -> None:
    cost = told(run, "vit-base-16")
    assert cost["flops_model"] == 35_126_120_448  # the notes'
    assert cost["macs_hardware"] * 2 == cost["flops_hardware"]
    assert cost["parameters"]["encoder"] == 85_798_656
    assert not cost["measured"]
    assert cost["energy_kwh"]["low"] < cost["energy_kwh"]["value"] < cost["energy_kwh"]["high"]
    assert len(cost["constants"]) == 4


def test_an_encoder_in_a_file(run: Run, tmp_path: Path) -> None:
    save(build("resnet-18", stem="3x3", stem_width=4, depths=(1, 1, 1, 1)), tmp_path / "encoder.safetensors")
    small, twice = (told(run, tmp_path, "--size", 32, "--batch-size", batch) for batch in (1, 2))
    assert twice["flops_hardware"] == 2 * small["flops_hardware"] > 0
    assert twice["energy_kwh"]["value"] == pytest.approx(small["energy_kwh"]["value"])  # of a million images
    code, _, err = run("account", tmp_path, "--method", "byol")
    assert code == 2
    assert "name of an architecture" in err


def test_a_step_has_phases(run: Run) -> None:
    code, out, _ = run("account", "vit-nano", "--size", 32, "--method", "byol", "--batch-size", 4)
    assert code == 0
    rows = {line[:11].strip(): line for line in out.splitlines()}
    assert {"teacher", "encoder", "heads", "backward", "in all", "model", "energy", "CO2"} <= set(rows)
    assert rows["energy"].endswith("estimated, not measured")
    assert "Ember" in out
    code, _, err = run("account", "vit-nano", "--method", "simclr")
    assert code == 2
    assert "--batch-size 2 or more" in err


def test_a_step_of_ones_own_method(run: Run, tmp_path: Path) -> None:
    """Four rotated images cost what four images of supervised do, but for the classifier."""
    (tmp_path / "mine.py").write_text(METHOD)
    words = "vit-nano", "--size", 32, "--batch-size", 4, "--method"
    own, supervised = (told(run, *words, method) for method in (f"{tmp_path / 'mine.py'}:Rotation", "supervised"))
    assert own["of"] == "a step of mine.py:Rotation on 4 images of 32 pixels"
    assert own["parameters"]["heads"] == 4 * (64 + 1)
    assert own["flops_by_phase"]["encoder"] == supervised["flops_by_phase"]["encoder"]
    code, _, err = run("account", *words, "nothing")
    assert code == 2
    assert "there is no method 'nothing'; it is one of supervised, clip" in err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tapir-nano", "hip-nano", "paligemma-masks"])
def test_other_models(run: Run, name: str) -> None:
    cost = told(run, name, "--size", 64)
    assert cost["flops_hardware"] > 1e7
    assert sum(cost["parameters"].values()) > 1e5


@pytest.mark.slow
@torch.no_grad()
def test_every_kind_of_network_is_known() -> None:
    model = paligemma.tiny()
    about, call = forward_pass(model, 2, None) or ("", None)
    assert about.startswith("2 images")
    vocabulary, width = model.language.token_embedding.weight.shape
    assert count_flops(call).forward > 2 * 2 * 16 * vocabulary * width  # the logits of 16 tokens alone, and more
    about, call = forward_pass(trunks.bank("resnet", "a"), 1, 32) or ("", None)
    plain = count_flops(trunks.trunk("resnet").eval(), torch.zeros(1, 3, 32, 32)).forward
    assert plain < count_flops(call).forward < 2 * plain
    about, call = forward_pass(Odin(OdinConfig(), trunks.trunk("resnet")), 1, 32) or ("", None)  # type: ignore[arg-type]
    assert count_flops(call).forward > plain * 0.9
    small = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "frames": 16}
    towers = longvideo.build_video_text("mcvit-nano", **small, segment_frames=8, memories=3, tubelet=(2, 8, 8))
    _, alone = forward_pass(towers.video, 1, None) or ("", None)
    about, both = forward_pass(towers, 1, None) or ("", None)
    assert about.startswith("1 video of 16 frames of 16x16, and as many texts")
    assert count_flops(both).forward > count_flops(alone).forward > 0
    assert forward_pass(torch.nn.Linear(1, 1), 1, None) is None


def test_a_run_is_for_its_ledger(run: Run, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json", {}, command="test")
    ledger.flops_per_step = {"forward": 1000, "backward": 2000}
    ledger.phases_per_step = {"student": 700, "teacher": 300, "backward": 2000, "recomputed": 100}
    ledger.add(3, 12)
    ledger.write()
    code, _, err = run("account", tmp_path)
    assert code == 2
    assert f"run: tapetum ledger {tmp_path}" in err
    code, out, _ = run("ledger", tmp_path)
    assert "a step   student 7e-07, teacher 3e-07, backward 2e-06 GFLOP; of backward 1e-07 recomputed" in out
