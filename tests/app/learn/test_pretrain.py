"""What `tapetum pretrain` leaves beside an encoder."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import tapetum
from support import encoder_folders
from systems.pretraining.conftest import RESNET, SETTINGS, tiny
from tapetum.app.learn.adapt import verify
from tapetum.app.learn.pretrain import pretrain, save_low_rank
from tapetum.core.errors import BadInput
from tapetum.encoders import build, save
from tapetum.systems.adapters.files import load_whole
from tapetum.systems.pretraining.run import run_task, task_for
from tapetum.train.launch_config import Launch

RUN = "import sys; from tapetum.app.shell.main import main; sys.exit(main())"


@pytest.mark.parametrize(("write", "patch", "tower"), [("dinov2", 14, ""), ("siglip2", 16, "image")])
def test_a_low_rank_change_is_an_adapter_that_comes_off(write: str, patch: int, tower: str, tmp_path: Path) -> None:
    """On it the weights give what the run's encoder gives; off it, what they gave before, as `adapt verify` proves."""
    getattr(encoder_folders, write)(tmp_path / "published")
    sizes = {"encoder": str(tmp_path / "published"), "change": (), "size": 2 * patch, "batch_size": 4, "steps": 3}
    run = tiny("dinov2", paint(tmp_path / "images"), **sizes, lora=2, base_lr=0.5, warmup_epochs=0.0, enlarge=True)
    out, learning = tmp_path / "run", []

    def keep(model: Any) -> None:
        learning.extend(name for name, p in model.encoder.named_parameters() if p.requires_grad)
        save_low_rank(model.encoder, run, out / "adapter.safetensors")

    task = task_for(run)
    made = run_task(task, Launch(out=out, workers=0, threads=1), None, keep)
    assert made is not None
    assert learning
    assert all(name.endswith(("weight.0.down", "weight.0.up", "mask_token")) for name in learning)
    proof = verify(out / "adapter.safetensors")
    assert proof.before == proof.now
    begin, encoder, adapted = tapetum.load(tmp_path / "published"), tapetum.load(out), load_whole(out / "adapter.safetensors")
    whole = getattr(begin, tower or "forward")
    x = torch.randn(2, 3, 2 * patch, 2 * patch)
    with torch.no_grad():
        with_it = getattr(adapted, tower or "forward")(x).pooled
        torch.testing.assert_close(with_it, encoder(x).pooled, rtol=1e-5, atol=1e-5)
        with adapted.off():
            assert torch.equal(getattr(adapted, tower or "forward")(x).pooled, whole(x).pooled)
        assert float((with_it - whole(x).pooled).abs().max()) > 1e-4
    assert encoder.state_dict().keys() == (getattr(begin, tower) if tower else begin).state_dict().keys() | {"mask_token"}


def paint(folder: Path) -> Path:
    folder.mkdir()
    for k in range(12):
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (20, 24, 3), np.uint8)).save(folder / f"{k}.png")
    return folder


def test_a_low_rank_change_wants_linear_layers_that_have_learned(tmp_path: Path) -> None:
    images = paint(tmp_path / "images")
    with pytest.raises(BadInput, match="--lora changes weights that have learned, and resnet-18 begins anew; give --encoder"):
        task_for(tiny("simclr", images, **RESNET, lora=2))
    save(build("resnet-18", 0), tmp_path / "resnet.safetensors")
    run = tiny("simclr", images, encoder=str(tmp_path / "resnet.safetensors"), change=(), lora=2)
    with pytest.raises(BadInput, match=r"--lora changes linear layers, and .*resnet\.safetensors has none; leave it out"):
        task_for(run).model()


@pytest.mark.slow
def test_a_killed_run_with_all_options_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL after the second step of a run with a low-rank change, Gram anchoring and a queue."""
    encoder_folders.dinov2(tmp_path / "published")
    settings = replace(SETTINGS["dinov2"]["dinov2"], centring="sinkhorn", queue=16, gram=1.0)
    sizes = {
        "encoder": str(tmp_path / "published"),
        "change": ("patch=8",),
        "size": 28,
        "batch_size": 4,
        "steps": 5,
        "enlarge": True,
    }
    run = tiny("dinov2", paint(tmp_path / "images"), **sizes, lora=2, base_lr=0.5, warmup_epochs=0.0, dinov2=settings)

    def train(name: str) -> Path:
        made = run_task(task_for(run), Launch(out=tmp_path / name, workers=0, threads=1, save_every=1), None)
        assert made is not None
        return next(iter(sorted((tmp_path / name / "checkpoints").iterdir(), reverse=True)))

    whole = train("whole")
    options = [*("--data", tmp_path / "images", "--encoder", tmp_path / "published", "--size", 28, "--batch-size", 4)]
    options += ["--enlarge", "--steps", 5, "--lora", 2, "--base-lr", 0.5, "--warmup-epochs", 0.0, "--save-every", 1]
    options += ["--hidden", 32, "--bottleneck", 16, "--prototypes", 24, "--local-views", 2, "--frozen-epochs", 0]
    options += ["--decay", settings.decay, "--koleo", settings.koleo, "--centring", "sinkhorn", "--queue", 16, "--gram", 1]
    options += ["--workers", 0, "--threads", 1, "--out", tmp_path / "killed"]
    command = [sys.executable, "-c", RUN, "pretrain", "dinov2", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "killed" / "checkpoints" / "step_00000002").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    assert not (tmp_path / "killed" / "encoder.safetensors").exists()
    killed = train("killed")
    for file in ("model", "teacher", "anchor", "optimizer"):
        theirs = load_file(killed / f"{file}.safetensors")
        assert all(torch.equal(value, theirs[name]) for name, value in load_file(whole / f"{file}.safetensors").items()), file
    assert (tmp_path / "killed" / "encoder.safetensors").read_bytes() == (
        tmp_path / "whole" / "encoder.safetensors"
    ).read_bytes()


def test_a_card_says_data_licence_and_cost(tmp_path: Path) -> None:
    """Of a run that goes on from weights of a name, and of one from a folder, whose path it does not tell."""
    images = paint(tmp_path / "images")
    for encoder, licence in (
        ("weights:resnet-nano", "licence Apache-2.0"),
        (str(tmp_path / "one"), "under the licence of those"),
    ):
        run = tiny("simclr", images, encoder=encoder, change=(), size=32, batch_size=4, steps=1, enlarge=True)
        out = tmp_path / ("one" if "nano" in encoder else "two")
        made = pretrain(run, Launch(out=out, workers=0, threads=1))
        assert made is not None
        text = (out / "README.md").read_text()
        assert f"`{encoder.removeprefix('weights:').rpartition('/')[2]}`, {licence}" in text
        assert "images of images, in views of 32 pixels" in text
        assert "steps    1 (4 samples)" in text
        assert "\nFLOPs    " in text
        assert str(tmp_path) not in text
