"""`tapetum pretrain`, as a user runs it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from systems.pretraining.test_own import METHOD, NET
from tapetum.app.shell.main import parse
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.recipes import recipe


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for k in range(12):
        Image.fromarray(rng.integers(0, 255, (24, 30, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{k:02}.png")
    (tmp_path / "photos" / "05.png").write_bytes(b"nothing")
    return tmp_path / "photos"


SMALL = [
    *("--size", "16", "--batch-size", "4", "--steps", "3", "--workers", "0", "--threads", "1"),
    *("--change", "stem=3x3", "stem_width=4", "depths=(1,1,1,1)"),
]


@pytest.mark.slow
def test_pretrain_then_embed(photos: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    out = tmp_path / "run"
    code, told, errors = run("pretrain", "simclr", "--data", photos, "--out", out, *SMALL, "--epochs", "3", "--hidden", "16")
    assert code == 0, errors
    assert re.search(r"^12 images\n3 steps of [\d.]+ GFLOP .* FLOP, about .*\nviews take ", told)
    assert f"encoder     {out / 'encoder.safetensors'}" in told
    assert "skipped     1 of 12 images could not be read: " in told
    assert f"{photos / '05.png'} cannot be read and is skipped (1 so far)" in errors
    curves = (out / "curves.svg").read_text()
    assert all(f">{name}</text>" in curves for name in ("loss", "feature_std", "learning rate"))
    code, told, errors = run("embed", photos / "01.png", "--model", out, "--out", tmp_path / "x.npz")
    assert (code, "1 vectors of 32 numbers" in told) == (0, True), errors
    code, told, _ = run(
        "pretrain", "simclr", "--data", photos, "--out", out, *SMALL, "--epochs", "3", "--hidden", "16", "--json"
    )
    assert code == 0
    assert json.loads(told)["encoder"] == str(out / "encoder.safetensors")
    again = tmp_path / "again"
    code, told, errors = run("pretrain", "simclr", "--config", out / "settings.toml", "--out", again, "--minutes", "0")
    assert (code, told.splitlines()[-1]) == (0, f"stopped; the same command goes on from {again}"), errors


TRACKER = '''
import numpy as np

from tapetum.types import Tracks


class Resting:
    """Points that stay where they are."""

    def track(self, video, queries, *, progress=None):
        xy = np.repeat(np.asarray(queries, np.float32)[:, None, 1:], len(video), 1)
        visible = np.ones(xy.shape[:2], bool)
        return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=np.asarray(queries, np.float32))
'''


def test_classes_of_ones_own_stand_where_names_do(
    photos: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    for name, text in {"cli_rotation": METHOD, "cli_net": NET, "cli_resting": TRACKER}.items():
        (tmp_path / f"{name}.py").write_text(text)
    method, net = f"{tmp_path}/cli_rotation.py:Rotation", f"{tmp_path}/cli_net.py:MyNet"
    few = ["--size", 16, "--batch-size", 4, "--steps", 2, "--workers", 0, "--own", "turns=2", "--encoder", net]
    code, out, errors = run("pretrain", method, "--data", photos, "--out", tmp_path / "run", *few, "--json")
    assert code == 0, errors
    assert json.loads(out)["encoder"] == str(tmp_path / "run" / "encoder.safetensors")
    assert f'recipe = "{method}"' in (tmp_path / "run" / "settings.toml").read_text()
    model = f"{net}={tmp_path / 'run' / 'encoder.safetensors'}"
    code, out, errors = run("embed", photos / "01.png", "--model", model, "--out", tmp_path / "x.npz")
    assert (code, "1 vectors of 8 numbers" in out) == (0, True), errors
    code, out, errors = run(
        "track",
        photos / "01.png",
        "--model",
        f"{tmp_path}/cli_resting.py:Resting",
        "--grid",
        2,
        "--out",
        tmp_path / "tracks",
        "--json",
    )
    assert (code, json.loads(out)["points"]) == (0, 4), errors
    code, out, errors = run("pretrain", "simclr", "--own", "a=1", "--data", photos, "--out", tmp_path / "other")
    assert (code, "has no option --own" in errors) == (2, True)
    assert "Rotation" in run("pretrain", method, "--help")[1]


@pytest.mark.parametrize("method", METHODS)
def test_options_are_the_recipes(method) -> None:
    command = parse(["pretrain", method, "--data", "photos", "--out", "run", "--encoder", "vit-tiny-16", "--base-lr", "0.5"])
    assert command.recipe == recipe(method, "photos", encoder="vit-tiny-16", base_lr=0.5)
    large = parse(["pretrain", method, "--data", "photos", "--out", "run", "--preset", "vit"])
    assert large.recipe == recipe(method, "photos", "vit")


def test_what_a_preset_changes_of_its_encoder_is_not_asked_of_another_family() -> None:
    assert recipe("dino", "photos", "vit").architecture.config.drop_path == 0.1  # pyright: ignore[reportAttributeAccessIssue]
    assert recipe("dino", "photos", "vit", encoder="resnet-18").architecture.family == "resnet"
    with pytest.raises(BadInput, match="a resnet has no setting 'patch'"):
        recipe("dino", "photos", "vit", encoder="resnet-18", change=("patch=4",)).architecture  # noqa: B018
