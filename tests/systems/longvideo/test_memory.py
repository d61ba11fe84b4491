"""Memories of tokens: the seed of random choices."""

from typing import Any

import pytest
import torch

from tapetum.systems import longvideo
from tapetum.systems.longvideo.recipes import recipe


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
