"""A grown network gives the tracks of the smaller one, and what is new in it learns."""

from dataclasses import replace

import pytest
import torch

import tapetum
from support.networks import TAPIR_NANO, tapir
from tapetum.core.errors import BadInput
from tapetum.systems.tap.config import NANO, SMALL
from tapetum.systems.tap.growth import check_growth, grow_network
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.second_pass import track_passes

LARGER = replace(
    TAPIR_NANO,
    stem_channels=20,
    channels=(24, 32, 40, 48),
    blocks_per_group=(1, 2, 3, 1),
    matching_channels=(12, 20, 24),
    mixer_width=64,
    mixer_blocks=3,
)


def clip(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 5, 9, 9, generator=rng)
    video = torch.nn.functional.interpolate(coarse, (5, size, size), mode="trilinear")[0].permute(1, 2, 3, 0)[None] * 2 - 1
    return video, torch.rand(1, 7, 3, generator=rng) * torch.tensor([4.0, size, size])


def trained(**changes: object) -> Tapir:
    """Make a network none of whose weights has the value of its initialisation."""
    model = tapir(TAPIR_NANO, **changes).eval()
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.05 * torch.randn_like(values))
    return model


@pytest.mark.parametrize("causal", [False, True])
def test_a_grown_network_gives_the_tracks_of_the_smaller_one(causal: bool) -> None:
    changes = {"causal": causal, "second_pass": not causal}
    small = trained(**changes)
    large = grow_network(small, replace(LARGER, **changes)).eval()
    assert sum(p.numel() for p in large.parameters()) > 2 * sum(p.numel() for p in small.parameters())
    with torch.no_grad():
        for before, after in zip(*(track_passes(model, *clip(64)) for model in (small, large)), strict=True):
            torch.testing.assert_close(after.tracks / 64, before.tracks / 64, rtol=0, atol=1e-5)
            torch.testing.assert_close(after.occlusion, before.occlusion, rtol=0, atol=1e-4)
            torch.testing.assert_close(after.expected_dist, before.expected_dist, rtol=0, atol=1e-4)


def test_the_bundled_tracker_grows_into_tapir_small() -> None:
    check_growth(NANO, SMALL)
    small = tapetum.load("tapir-nano").model.float().eval()
    large = grow_network(small, SMALL).eval()
    video, queries = clip(64)
    with torch.no_grad():
        before, after = (model(video, queries, refinement_resolutions=[(256, 256)]) for model in (small, large))
    torch.testing.assert_close(after.tracks / 64, before.tracks / 64, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.occlusion, before.occlusion, rtol=0, atol=1e-4)


def test_all_that_is_new_learns() -> None:
    large = grow_network(trained(), LARGER).train()
    optimiser = torch.optim.SGD(large.parameters(), lr=1e-3)
    for _ in range(4):
        optimiser.zero_grad()
        out = large(*clip(64))
        assert out.heatmap is not None
        (out.tracks.sum() / 64 + out.occlusion.sum() + out.expected_dist.sum() + out.heatmap[..., 0, 0].sum()).backward()
        torch.nn.utils.clip_grad_norm_(large.parameters(), 1.0)
        optimiser.step()
    for name, values in large.named_parameters():
        assert values.grad is not None, name
        learns = values.grad.flatten(1).any(1) if values.ndim > 1 else values.grad != 0
        assert learns.any() if name.startswith("matching") else learns.all(), name  # the heads have ReLUs, some of which rest


def test_the_copies_of_a_channel_do_not_learn_the_same() -> None:
    large = grow_network(trained(), replace(TAPIR_NANO, mixer_width=64)).train()
    large(*clip(64)).tracks.sum().backward()
    gradient = large.mixer.blocks[0].get_parameter("time_down.bias").grad
    assert gradient is not None
    first, second = gradient.unflatten(0, (2, -1))
    assert (first - second).norm() > 0.1 * gradient.norm()


def test_equal_sizes_are_a_copy() -> None:
    small = trained()
    for name, values in grow_network(small, TAPIR_NANO).state_dict().items():
        assert torch.equal(values, small.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixer_width": 48}, "wanted a multiple of the 32"),
        ({"channels": (16, 48, 48, 48)}, "hires_dim is 32"),
        ({"channels": (16, 32, 24, 32)}, "can only grow"),
        ({"channels": (16, 32, 32, 64), "blocks_per_group": (1, 1, 2, 2)}, "one block"),
        ({"pyramid_level": 0}, "pyramid_level is 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_growth(TAPIR_NANO, replace(TAPIR_NANO, **changes))
