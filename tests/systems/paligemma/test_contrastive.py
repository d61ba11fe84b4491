"""Stage 0 from images and their captions."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from systems.paligemma.test_run import TINY
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import config as configs
from tapetum.systems.paligemma.contrastive import ContrastiveTask
from tapetum.systems.paligemma.data import JsonLinesSamples
from tapetum.systems.paligemma.recipes import stage0
from tapetum.systems.paligemma.run import train_on_pairs
from tapetum.train import StepContext
from tapetum.train.launch_config import Launch

COLOURS = "red", "green", "blue"


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Noisy images of three colours with captions that name them."""
    monkeypatch.setitem(configs.NAMED, "tiny", TINY)
    rng, lines = np.random.default_rng(0), []
    for number in range(12):
        values = rng.integers(0, 60, (112, 112, 3), np.uint8)
        values[..., number % 3] += 150
        Image.fromarray(values).save(tmp_path / f"{number}.png")
        lines.append({"image": f"{number}.png", "prefix": "caption en", "suffix": f"all {COLOURS[number % 3]}"})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "pairs.jsonl"


def test_the_loss_is_that_of_all_pairs(pairs: Path) -> None:
    """Equal captions belong together: 12 x 12 pairs written out, and each part of the model learns."""
    samples = JsonLinesSamples(pairs, 112)
    torch.manual_seed(0)
    task = ContrastiveTask(TINY.vision_encoder, samples, None, 0)
    model = task.model().double()
    batch = task.collate([samples.read(index)[0] for index in range(12)])
    batch = replace(batch, pixels=batch.pixels.double())
    loss, logged = task.loss(model, batch, StepContext())
    loss.backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a residual branch begins at 0, so what is before its last norm has no slope yet; a key's bias never has one
    assert all(".layers." in name or name.endswith("key.bias") for name in idle), idle
    head = model.contrastive
    images = head.pool(model.vision_encoder(batch.pixels).tokens)  # pyright: ignore
    texts = head.text(batch.texts).pooled  # pyright: ignore
    total, scale = 0.0, float(head.log_scale.detach().exp())  # pyright: ignore
    for i in range(12):
        for j in range(12):
            logit = scale * float(torch.cosine_similarity(images[i], texts[j], dim=0).detach()) - 10
            total += math.log(1 + math.exp(-logit if i % 3 == j % 3 else logit)) / 12
    assert float(loss.detach()) == pytest.approx(total, rel=1e-9)
    assert (float(logged["scale"]), float(logged["bias"])) == (pytest.approx(10.0), -10.0)


@pytest.mark.slow
def test_stage_0_learns_captions(pairs: Path, tmp_path: Path) -> None:
    few = {"model": "tiny", "batch_size": 12, "micro_batch": 12, "bf16": False}
    run = stage0(str(pairs), steps=40, lr=1e-2, checks=str(pairs), **few)
    launch = Launch(out=tmp_path / "0", threads=1, device="cpu")
    result = train_on_pairs(run, launch, lambda text: None, "", ContrastiveTask)
    assert result is not None
    assert result.scores == {"image_to_text": 1.0}
    assert all(name.startswith("vision_encoder.") for name in load_file(result.weights))


def test_an_example_with_two_images_is_refused(pairs: Path) -> None:
    line = {"image": ["0.png", "1.png"], "prefix": "", "suffix": "two"}
    pairs.write_text(json.dumps(line))
    samples = JsonLinesSamples(pairs, 112)
    with pytest.raises(BadInput, match="several images; stage 0 wants one image with its caption"):
        ContrastiveTask(TINY.vision_encoder, samples, None, 0).collate([samples.read(0)[0]])
