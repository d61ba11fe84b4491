"""Tables of positions that are stretched, and means of slots, beside what is written out."""

import pytest
import torch

from tapetum.systems.longvideo import build, build_video_text
from tapetum.systems.longvideo.layers import sine_3d, stretch

KERNELS = (((2, 8, 8), (2, 4, 8)),)


@pytest.mark.parametrize("slots", [2, 3, 5, 12])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_a_table_is_stretched_between_the_centres_of_its_slots(slots: int, kind: torch.dtype) -> None:
    table = torch.randn(4, 1, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(kind)
    wanted = torch.empty(slots, 1, 2, 3, dtype=torch.float64)
    for slot in range(slots):
        at = min(max((slot + 0.5) * 4 / slots - 0.5, 0.0), 3.0)
        below = min(int(at), 2)
        wanted[slot] = table[below].double() * (below + 1 - at) + table[below + 1].double() * (at - below)
    found = stretch(table, slots)
    assert found.dtype == kind
    if kind == torch.bfloat16:  # sums are those of float32, rounded once
        assert torch.equal(found, stretch(table.float(), slots).to(kind))
    within = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[kind]
    torch.testing.assert_close(found.double(), wanted, rtol=within, atol=within)


@torch.no_grad()
def test_tokens_of_kernels_are_placed_at_their_centres() -> None:
    encoder = build("vivit-nano", width=12, depth=1, heads=2, size=(16, 16), frames=8, kernels=KERNELS)
    for kernel in encoder.tubelets.kernels:
        kernel.weight.zero_()
        kernel.bias.zero_()
    tokens, _ = encoder.tubelets(torch.rand(1, 8, 16, 16, 3), 0, None, None)
    shape, stride = KERNELS[0]
    row = 0
    for t in range(0, 8 - shape[0] + 1, stride[0]):
        for y in range(0, 16 - shape[1] + 1, stride[1]):
            for x in range(0, 16 - shape[2] + 1, stride[2]):
                centre = [torch.tensor([float(at + side / 2)]) for at, side in zip((t, y, x), shape, strict=True)]
                torch.testing.assert_close(tokens[0, row], sine_3d(centre, 12)[0])
                row += 1
    assert row == tokens.shape[1]


def test_towers_are_built_to_be_used() -> None:
    assert not any(part.training for part in build_video_text("mcvit-nano", width=24, depth=1, heads=2, mlp_width=48).modules())
