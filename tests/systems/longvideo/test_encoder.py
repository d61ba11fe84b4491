"""The forms of memory: what must be equal is, what must not be known is not."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems import longvideo
from tapetum.systems.longvideo.encoder import VideoEncoder

SMALL = {"width": 24, "depth": 3, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8), "frames": 32}
SMALL |= {"segment_frames": 8, "memories": 5, "stem": "patch", "stem_blocks": 0}


def small(**changes: Any) -> VideoEncoder:
    encoder = longvideo.build("mcvit-nano", **{**SMALL, **changes}).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():  # far from where weights begin, so that nothing is equal by smallness
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return encoder


def with_form(encoder: VideoEncoder, **changes: Any) -> VideoEncoder:
    """The same weights in another form."""
    other = longvideo.build("mcvit-nano", **{**SMALL, **changes}).double()
    other.load_state_dict(encoder.state_dict())
    return other


def clip(frames: int, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, frames, 16, 16, 3, dtype=torch.float64, generator=generator) * 2 - 1


def equal(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grad", ["stop", "through"])
def test_segments_computed_again_give_the_same_gradients(grad: str) -> None:
    plain = small(memory_grad=grad, mask_ratio=0.25).train()
    again = with_form(plain, memory_grad=grad, mask_ratio=0.25, checkpoint_segments=True).train()
    video = clip(29)
    for encoder in (plain, again):
        encoder(video).pooled.sin().sum().backward()
    for name, parameter in plain.named_parameters():
        other = dict(again.named_parameters())[name].grad
        if parameter.grad is None:
            assert other is None
        else:
            equal(other, parameter.grad)


def test_segments_that_are_computed_again_are(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, runs = small(checkpoint_segments=True).train(), []
    segment = encoder._segment
    monkeypatch.setattr(encoder, "_segment", lambda *given: runs.append(1) or segment(*given))
    pooled = encoder(clip(24)).pooled
    forward = len(runs)
    pooled.sum().backward()
    assert len(runs) == 2 * forward
    encoder.eval()(clip(24)).pooled.sum().backward()
    assert len(runs) == 3 * forward


def test_what_cannot_be_seen_is_said_in_a_line() -> None:
    encoder = small()
    for video, words in (
        (clip(8)[..., :2], "give floats in -1..1"),
        (clip(8).round().long(), "give floats in -1..1"),
        (clip(8)[:, :, :8], "give floats in -1..1"),
        (torch.full_like(clip(8), torch.nan), "not finite"),
    ):
        with pytest.raises(BadInput, match=words):
            encoder(video)
    joint = small(memory="joint")
    with pytest.raises(BadInput, match="is joint, which has one segment"):
        joint.step(joint.start(2), clip(8))
    with pytest.raises(BadInput, match="1 to 8 frames"):
        encoder.step(encoder.start(2), clip(9))
    for lengths in ([0, 3], [3, 99], [3]):
        with pytest.raises(BadInput, match="lengths are"):
            encoder(clip(8), torch.tensor(lengths))
    for changes, words in (
        ({"memory": "infinite"}, "it must be joint"),
        ({"memmory": "joint"}, "did you mean memory"),
        ({"tubelet": (3, 8, 8)}, "do not divide"),
        ({"mask_ratio": 1.0}, "at least 0 and below 1"),
        ({"attention": "frame"}, "wants joint attention"),
    ):
        with pytest.raises(BadInput, match=words):
            small(**changes)
    with pytest.raises(BadInput, match="did you mean mcvit-b"):
        longvideo.build("mcvit_b")


def test_named_ones_have_the_papers_sizes() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in VideoEncoder(replace(config)).parameters()) / 1e6
            for name, config in longvideo.NAMED.items()
        }
    assert counts["mcvit-b"] == pytest.approx(99, abs=1.5)  # "99M" with a label embedding of Diving48
    assert counts["longvivit-l"] > 300
    assert counts["mcvit-nano"] < 5  # 4.8, and a text tower of 0.8: 12 MB in float16
    assert counts["mcvit-l"] == pytest.approx(320, abs=4)
