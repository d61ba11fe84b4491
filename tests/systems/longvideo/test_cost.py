"""What a plan counts is what runs."""

from typing import Any

import pytest
import torch

from tapetum.account.flops import count_flops
from tapetum.systems import longvideo
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.cost import compute_cost

SIZES = {"width": 24, "depth": 3, "heads": 2, "mlp_width": 48, "size": (32, 32), "tubelet": (2, 8, 8), "frames": 64}
SIZES |= {"stem": "patch", "stem_blocks": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": "joint"},
        {"memory": "streaming"},
        {"memory": "augmented"},
        {"memory": "consolidated", "consolidation": "random"},
        {"memory": "consolidated", "consolidation": "random", "cache_projected": True},
        {"memory": "consolidated", "consolidation": "random", "memory_cap": 11},
        {"memory": "streaming", "attention": "frame"},
        {"memory": "streaming", "attention": "factorised"},
        {"memory": "streaming", "stem": "convolutions", "stem_blocks": 1},
    ],
)
@pytest.mark.parametrize("frames", [16, 61])
def test_multiply_adds_and_bytes_are_those_that_run(changes: dict[str, Any], frames: int) -> None:
    config = named("mcvit-nano", **{**SIZES, "memories": 5, **changes})
    encoder = longvideo.build("mcvit-nano", **{**SIZES, "memories": 5, **changes})
    video = torch.zeros(1, frames, 32, 32, 3)
    said = compute_cost(config, frames)
    with torch.no_grad():
        counted = count_flops(lambda: encoder(video)).total
        features = encoder(video)
    if config.cache_projected:  # a plan counts what the last segment leaves behind, which one call leaves out
        last = said.tokens - (said.segments - 1) * 128
        counted += 2 * config.depth * 2 * min(5, last) * 24**2
    assert counted == pytest.approx(said.flops, rel=0.005)
    assert said.tokens == int(features.valid.sum())
    if config.memory not in ("joint",):
        state = encoder.start(1, frames)
        for first in range(0, frames, 16):
            with torch.no_grad():
                state, _ = encoder.step(state, video[:, first : first + 16])
        assert (state.memories, state.bytes) == (said.memories, said.memory_bytes)


def test_the_papers_table_comes_out() -> None:
    """Tera-multiply-adds of the blocks of a ViT-B (notes, section 3), without those of the tubelets."""
    own = 12 * 2 * 16384 * 768**2 / 1e12  # keys and values that are kept are computed twice, in the segment and to be kept
    wanted = {"joint": 6.34, "streaming": 2.01, "augmented": 4.18 + own, "consolidated": 2.20}
    for memory, tera in wanted.items():
        config = named("mcvit-b", memory=memory, consolidation="random", cache_projected=memory == "augmented")
        patches = 16384 * 768 * 3 * 2 * 256
        assert (compute_cost(config, 128).multiply_adds - patches) / 1e12 == pytest.approx(tera, abs=0.02), memory
    assert compute_cost(named("mcvit-b"), 128).memory_bytes / 2**20 == pytest.approx(
        2 * 15.8 * 8 / 7, rel=0.01
    )  # there in bfloat16, of 7


@pytest.mark.parametrize("stem", [{}, {"stem": "convolutions", "stem_blocks": 1}])
def test_dropped_tokens_cost_nothing_in_training(stem: dict[str, Any]) -> None:
    changes: dict[str, Any] = {**SIZES, "depth": 6, "memory": "streaming", "mask_ratio": 0.5, **stem}
    encoder = longvideo.build("mcvit-nano", **changes).train()
    video = torch.zeros(1, 32, 32, 32, 3)
    said = compute_cost(encoder.config, 32, training=True)
    assert said.tokens == int(encoder(video).valid.sum()) == 128
    assert count_flops(lambda: encoder(video)).total == pytest.approx(said.flops, rel=0.01)
