"""What training costs beside one forward pass, as the notes' table has it (section 7): ViT-Ti/8 at 64 pixels, rank 32."""

import pytest
import torch
from torch import nn

from tapetum.account.flops import Flops, count_flops
from tapetum.encoders import build
from tapetum.systems.adapters import AdapterConfig, attach

TABLE = {
    "last": (["blocks.11.mlp"], 0.013, 1.005),
    "upper half": ([f"blocks.{i}.mlp" for i in range(6, 12)], 0.075, 1.47),
    "middle": ([f"blocks.{i}.mlp" for i in (0, 1, 5, 6, 10, 11)], 0.075, 2.00),
    "all": ([f"blocks.{i}.mlp" for i in range(12)], 0.150, 2.04),
    "bottom and all": (["patches", *(f"blocks.{i}.mlp" for i in range(12))], 0.163, 2.13),
}
"""Addresses, millions of numbers that learn, and FLOPs of a step beside those of a forward pass of the bare trunk."""


def trunk() -> nn.Module:
    return build("vit-tiny-16", patch=8, image_size=(64, 64))


def unfused(found: Flops) -> float:
    """Total FLOPs with attention's backward at twice its forward, as the notes count; the ledger counts 5/2, what the fused
    kernel does, which computes the scores anew."""
    attention = sum(backward for name, (_, backward) in found.by_op.items() if "attention" in name)
    return found.total - attention / 5


@pytest.fixture(scope="module")
def forward() -> int:
    with torch.no_grad():
        return count_flops(trunk(), torch.zeros(1, 3, 64, 64)).forward


@pytest.mark.slow
@pytest.mark.parametrize("case", TABLE)
def test_adapters_cost_what_the_notes_say(case: str, forward: int) -> None:
    addresses, millions, ratio = TABLE[case]
    adapted = attach(trunk(), AdapterConfig(addresses=tuple(addresses), rank=32))
    assert sum(p.numel() for p in adapted.adapter_parameters()) == pytest.approx(1e6 * millions, rel=0.04)
    found = count_flops(lambda: adapted(torch.zeros(1, 3, 64, 64)).pooled)
    assert unfused(found) / forward == pytest.approx(ratio, rel=0.005)


@pytest.mark.slow
def test_full_training_costs_three_forward_passes(forward: int) -> None:
    found = count_flops(trunk().train(), torch.zeros(1, 3, 64, 64))
    assert unfused(found) / forward == pytest.approx(2.99, rel=0.005)
