"""Costs of MC-ViT's forms of memory, counted on shapes alone."""

import pytest
import torch

from tapetum.account.flops import count_on_meta
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.encoder import VideoEncoder


@pytest.mark.slow
def test_the_papers_table_comes_out() -> None:
    """Tera-multiply-adds of the blocks of a ViT-B on 128 frames (MC-ViT, section 3), without those of the tubelets."""
    own = 7 / 8 * 12 * 2 * 16384 * 768**2 / 1e12  # keys and values kept by all segments but the last are computed twice
    expected = {"joint": 6.34, "streaming": 2.01, "augmented": 4.18 + own, "consolidated": 2.20}
    for memory, tera in expected.items():
        config = named("mcvit-b", memory=memory, consolidation="random", cache_projected=memory == "augmented")
        with torch.device("meta"):
            encoder, video = VideoEncoder(config).eval(), torch.zeros(1, 128, *config.size, 3)
        with torch.no_grad():
            multiply_adds = count_on_meta(lambda: encoder(video)).forward / 2  # noqa: B023
        patches = 16384 * 768 * 3 * 2 * 256
        assert (multiply_adds - patches) / 1e12 == pytest.approx(tera, abs=0.02), memory
