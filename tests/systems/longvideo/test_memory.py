"""Memories of tokens: against scikit-learn, loops and counts; what is let go; random choices."""

from typing import Any

import pytest
import torch

from tapetum.systems import longvideo
from tapetum.systems.longvideo.memory import draw_order
from tapetum.systems.longvideo.recipes import recipe


def test_random_choices_are_functions_of_what_they_are_said_to_be() -> None:
    first = draw_order(3, (5, 6), 1, 2, 30)
    assert torch.equal(first, draw_order(3, (5, 6), 1, 2, 30))
    assert torch.equal(first[1:], draw_order(3, (6,), 1, 2, 30))
    for other in (
        draw_order(4, (5,), 1, 2, 30),
        draw_order(3, (7,), 1, 2, 30),
        draw_order(3, (5,), 0, 2, 30),
        draw_order(3, (5,), 1, 3, 30),
    ):
        assert not torch.equal(first[:1], other)


@pytest.mark.parametrize(
    "changes", [{"consolidation": "kmeans"}, {"consolidation": "random"}, {"mask_ratio": 0.5, "mask_always": True}]
)
def test_the_seed_of_a_built_encoder_is_that_of_its_draws(changes: dict[str, Any]) -> None:
    small = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 32, "size": (32, 32), "tubelet": (2, 8, 8), "frames": 16}
    small |= {"segment_frames": 4, "memories": 3, **changes}
    one, other = (longvideo.build("mcvit-nano", seed=seed, **small) for seed in (0, 7))
    assert (one.config.seed, other.config.seed) == (0, 7)
    other.load_state_dict(one.state_dict())
    video = torch.rand(1, 16, 32, 32, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert not torch.allclose(one(video).pooled, other(video).pooled)
        assert torch.equal(other(video).pooled, other(video).pooled)
    assert longvideo.build_video_text("mcvit-nano", seed=7).config.video.seed == 7


def test_the_seed_of_a_run_is_that_of_its_draws() -> None:
    assert recipe("consolidated", "data", seed=3).config.video.seed == 3
