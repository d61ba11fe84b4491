"""An image ViT from elsewhere becomes the vision encoder: its tokens are the same, and runs begin with its weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from support.scene_folder import write_scene_folder
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.vit import ViT
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.recipes import TextMixture, stage0, stage1
from tapetum.systems.paligemma.task import adopt, adopted_encoder
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import pretrain
from tapetum.train.launch_config import Launch
from tapetum.world.training.paligemma.stages import train_stage

SMALL: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 16, "patch": 8, "image_size": (32, 32)}


def launch(out: Path) -> Launch:
    return Launch(out=out, threads=1, workers=0, device="cpu")


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"class_token": False, "pooling": "mean"}, {"class_token": False, "pooling": "attention"}])
@pytest.mark.parametrize("name", ["vit-base-16", "clip-base-16", "dinov2-base", "mae-base"])
def test_tokens_are_those_of_the_image_vit(name: str, changes: dict[str, Any]) -> None:
    vit = encoders.build(name, **{**SMALL, **changes}).double()
    assert isinstance(vit, ViT)
    for parameter in vit.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(3)).double()
    mean, std = (
        torch.tensor(value, dtype=torch.float64)[:, None, None] for value in (vit.preprocessing.mean, vit.preprocessing.std)
    )
    adopted = adopt(vit, 32).double()
    ours = adopted(images / 127.5 - 1).tokens
    torch.testing.assert_close(ours, vit((images - mean) / std).tokens, rtol=1e-5, atol=1e-5)
    assert adopted.config.pooling == "mean"
    assert adopt(vit, 48).positions.shape == (36, 16)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of MAE that trained a tiny ViT, with a class token, for a step."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "images").mkdir()
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{k}.png")
    network = {"encoder": "vit-nano", "change": ("patch=8", "width=16", "depth=2", "heads=2", "mlp_width=16")}
    run = recipe("mae", str(folder / "images"), **network, size=16, batch_size=2, steps=1, micro_batch=2)
    pretrain(run, launch(folder / "run"), lambda text: None)
    return folder / "run"


@pytest.mark.slow
def test_stages_begin_with_an_encoder_that_pretrain_made(pretrained: Path, tmp_path: Path) -> None:
    scenes = write_scene_folder(tmp_path / "scenes", count=3, size=112)
    vit, expected = tapetum.load(pretrained), adopted_encoder(str(pretrained), 112).state_dict()
    for name, tensor in vit.state_dict().items():
        if name.startswith(("blocks.", "norm.")):
            assert torch.equal(expected[name], tensor), name
    few: dict[str, Any] = {"encoder": str(pretrained), "steps": 2, "batch_size": 2, "micro_batch": 2, "lr": 1e-12}
    mixture = TextMixture(answers=1, captions=0, regions=0, detect_all=0, detect=0)
    for run in (stage0(str(scenes), **few), stage1(str(scenes), vocabulary=340, mixture=mixture, **few)):
        finished = train_stage(run, launch(tmp_path / run.stage), lambda text: None)
        assert finished is not None
        if run.stage == "1":
            state = weights.load(finished.weights).state_dict()
            for name, tensor in expected.items():
                torch.testing.assert_close(state[f"vision_encoder.{name}"], tensor, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_a_vision_encoder_is_refused() -> None:
    with pytest.raises(BadInput, match=r"random:resnet-18: a ResNet cannot become PaliGemma's vision encoder; give a ViT"):
        adopted_encoder("random:resnet-18", 112)
    with pytest.raises(BadInput, match="patches of 8 do not divide images of 30; give --image-size 32"):
        adopted_encoder("random:vit-nano", 30)
    with pytest.raises(BadInput, match="last norm is on the pooled vector"):
        adopt(encoders.build("vit-base-16", **SMALL, norm="pooled"), 32)
    for changes in ({"rotary": "dinov3"}, {"positions": "none"}):
        with pytest.raises(BadInput, match="positions are rotary or there are none"):
            adopt(encoders.build("vit-base-16", **SMALL, **changes), 32)
    with pytest.raises(BadInput, match="the other weights have an encoder of their own; leave one out"):
        stage1("scenes", "start.safetensors", encoder="vit-nano")
    with pytest.raises(BadInput, match="stage 2 goes on from stage 1"):
        replace(stage1("scenes", encoder="vit-nano"), stage="2")
