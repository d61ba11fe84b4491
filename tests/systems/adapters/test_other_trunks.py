"""Adapters on trunks of other systems, each by itself and inside its system."""

import pytest
import torch

from support.networks import tapir
from support.paligemma import TINY
from support.trunks import shake
from tapetum.encoders import build
from tapetum.systems.adapters import AdapterConfig, attach
from tapetum.systems.adapters.addresses import places
from tapetum.systems.longvideo import build as build_video
from tapetum.systems.paligemma.model import PaliGemma


def test_the_eye_of_paligemma_is_adapted_and_given_back() -> None:
    torch.manual_seed(0)
    model = PaliGemma(TINY).eval()
    side = TINY.vision_encoder.image_size[0]
    pixels = torch.randn(2, 1, 3, side, side)
    prefix, suffix = torch.tensor([[2, 7, 5], [2, 9, 5]]), torch.tensor([[8, 1], [7, 1]])
    with torch.no_grad():
        wanted = model.logits(pixels, prefix, suffix)
    vision_encoder = model.vision_encoder
    adapted = model.vision_encoder = attach(vision_encoder, "bottom-middle")  # pyright: ignore[reportAttributeAccessIssue]
    with torch.no_grad():
        assert torch.equal(model.logits(pixels, prefix, suffix), wanted)
        shake(adapted, "default", 0)
        assert not torch.equal(model.logits(pixels, prefix, suffix), wanted)
    model.train().logits(pixels, prefix, suffix).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapted.adapter_parameters())
    adapted.verify()
    model.vision_encoder = adapted.detach()  # pyright: ignore[reportAttributeAccessIssue]
    assert model.vision_encoder is vision_encoder
    with torch.no_grad():
        assert torch.equal(model.eval().logits(pixels, prefix, suffix), wanted)


def test_the_trackers_trunk_is_adapted_and_given_back() -> None:
    model = tapir().eval()
    video, queries = torch.randn(1, 4, 64, 64, 3), torch.tensor([[[0.0, 20.0, 30.0], [2.0, 40.0, 8.0]]])
    with torch.no_grad():
        wanted = model(video, queries).tracks
    backbone = model.backbone
    adapted = model.backbone = attach(backbone, "all-blocks", example=torch.zeros(1, 3, 64, 64))  # pyright: ignore[reportAttributeAccessIssue]
    assert [row.address for row in adapted.summary()] == list(backbone.adapter_addresses())
    with torch.no_grad():
        assert torch.equal(model(video, queries).tracks, wanted)
        shake(adapted, "default", 0)
        assert not torch.equal(model(video, queries).tracks, wanted)
    adapted.verify()
    model.backbone = adapted.detach()  # pyright: ignore[reportAttributeAccessIssue]
    with torch.no_grad():
        assert torch.equal(model(video, queries).tracks, wanted)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_mcvit_is_adapted_in_one_call_and_in_a_stream_and_given_back(pooling: str) -> None:
    encoder = build_video("mcvit-nano", depth=2, size=(32, 32), segment_frames=4, pooling=pooling).eval()
    video = torch.randn(2, 8, 32, 32, 3).clamp(-1, 1)
    adapted = attach(encoder)
    assert [row.address for row in adapted.summary()] == ["tubelets.video", "blocks.0.mlp", "blocks.1.mlp", "pooled_end"]
    with torch.no_grad():
        wanted = encoder(video)
        same = adapted(video)
        assert torch.equal(same.pooled, wanted.pooled)
        assert torch.equal(same.tokens, wanted.tokens)
        shake(adapted, "default", 0)
        found = adapted(video)
        assert not torch.equal(found.pooled, wanted.pooled)
        streamed = adapted.network("default")
        state = streamed.start(2, frames=8)
        for first in (0, 4):
            state, features = streamed.step(state, video[:, first : first + 4])
        torch.testing.assert_close(features.pooled, found.pooled)
    adapted(video).pooled.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapted.adapter_parameters())
    adapted.verify()
    assert adapted.detach() is encoder
    with torch.no_grad():
        assert torch.equal(encoder(video).tokens, wanted.tokens)


def test_two_towers_are_adapted_in_the_one_of_images() -> None:
    with torch.device("meta"):
        found = places(build("siglip-base-16-towers"), AdapterConfig(middle=3))
    middle = ["image.blocks.0.mlp", "image.blocks.6.mlp", "image.blocks.11.mlp"]
    assert [place.address for place in found] == ["image.patches", *middle, "image"]
