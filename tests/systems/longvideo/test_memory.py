"""Memories of tokens: against scikit-learn, loops and counts; what is let go; random choices."""

from typing import Any

import numpy as np
import pytest
import torch

from tapetum.systems import longvideo
from tapetum.systems.longvideo.memory import consolidate, draw_order, evict_uniformly, select_coreset
from tapetum.systems.longvideo.recipes import recipe


def tokens(batch: int = 2, count: int = 60, width: int = 5) -> torch.Tensor:
    return torch.randn(batch, count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_k_means_is_that_of_scikit_learn_with_the_random_choice_as_seeds() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    x, order = tokens(), draw_order(0, (0, 1), 2, 3, 60)
    found, counts = consolidate(x, 7, "kmeans", order, iterations=5)
    for b in range(2):
        start = x[b, order[b, :7]].numpy()
        peer = cluster.KMeans(7, init=start, n_init=1, max_iter=5, tol=0, algorithm="lloyd")
        with np.errstate(all="ignore"):
            wanted = peer.fit(x[b].numpy())
        if wanted.n_iter_ < 5:  # it had settled before: the same centres
            assert np.allclose(found[b], wanted.cluster_centers_)
        rows = start
        for _ in range(5):  # and a loop from the definition
            ids = ((x[b].numpy()[:, None] - rows) ** 2).sum(-1).argmin(1)
            rows = np.stack([x[b].numpy()[ids == k].mean(0) if (ids == k).any() else rows[k] for k in range(7)])
        np.testing.assert_allclose(found[b], rows, rtol=1e-12)
        assert counts[b].sum() == 60
    none, _ = consolidate(x, 7, "kmeans", order, iterations=0)
    assert torch.equal(none, consolidate(x, 7, "random", order)[0])


def test_coreset_takes_the_farthest_from_all_before() -> None:
    x, order = tokens(), draw_order(0, (0, 1), 0, 0, 60)
    found, _ = consolidate(x, 9, "coreset", order)
    for b in range(2):
        points, chosen = x[b].numpy(), [int(order[b, 0])]
        while len(chosen) < 9:
            apart = np.min([((points - points[k]) ** 2).sum(-1) for k in chosen], 0)
            chosen.append(int(apart.argmax()))
        np.testing.assert_array_equal(found[b], points[chosen])
    same = torch.ones(1, 10, 3)
    assert select_coreset(same, 10, torch.tensor([4]))[0].sort().values.tolist() == list(range(10))  # none twice


@pytest.mark.parametrize("how", ["random", "coreset", "kmeans"])
def test_as_many_memories_as_tokens_are_the_tokens_in_their_order(how: str) -> None:
    x, order = tokens(), draw_order(0, (0, 1), 0, 0, 60)
    for count in (60, 61):
        found, stands_for = consolidate(x, count, how, order)
        assert torch.equal(found, x)
        assert (stands_for == 1).all()
    found, stands_for = consolidate(x, 0, how, order)
    assert (found.shape, stands_for.shape) == ((2, 0, 5), (2, 0))


def test_random_takes_each_token_once_and_all_alike() -> None:
    x = torch.arange(8.0).expand(4000, 8)[..., None]
    order = draw_order(0, tuple(range(4000)), 0, 0, 8)
    found, counts = consolidate(x, 3, "random", order)
    assert all(len(set(row)) == 3 for row in found[..., 0].tolist()[:50])
    assert torch.bincount(found.long().flatten()).div(4000).sub(3 / 8).abs().max() < 0.03
    assert (counts == 1).all()


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


def test_what_stays_is_spread_over_the_past() -> None:
    origins: list[int] = []
    for segment in range(200):
        origins += [segment] * 6
        if len(origins) > 50:
            origins = [origins[row] for row in evict_uniformly(origins, 50)]
    assert len(origins) == 50
    assert origins == sorted(origins)
    assert origins[0] == 0
    assert origins[-1] == 199
    gaps = np.diff(sorted(set(origins)))
    assert gaps[:-1].max() <= 2 * gaps[:-1].min()  # 199 segments over 50 places; the newest is always there


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
