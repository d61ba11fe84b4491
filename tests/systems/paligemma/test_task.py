"""An image ViT from elsewhere becomes the vision encoder: its tokens are the same, and runs begin with its weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.vit import ViT
from tapetum.systems.paligemma.recipes import stage1
from tapetum.systems.paligemma.task import adopt, adopted_encoder
from tapetum.train.launch_config import Launch

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
