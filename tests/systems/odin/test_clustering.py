"""K-means: against scikit-learn from the same seeds, and what must hold of any."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tapetum.core.errors import BadInput
from tapetum.systems.odin.masks import _checked, _plus_plus_seeds, _random_seeds, kmeans
from tapetum.systems.odin.recipes import OdinConfig


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_euclidean_k_means_is_that_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    x = torch.randn(2, 200, 5, dtype=torch.float64, generator=seeded(1))
    found = kmeans(x, 6, iterations=7, metric="l2", generator=seeded(2))
    seeds = _random_seeds(x, 6, seeded(2))
    for image in range(2):
        peer = cluster.KMeans(6, init=seeds[image].numpy(), n_init=1, max_iter=7, tol=0, algorithm="lloyd")
        with np.errstate(all="ignore"):
            wanted = peer.fit(x[image].numpy())
        assert np.array_equal(found[image].numpy(), wanted.predict(x[image].numpy()))


def test_spherical_k_means_knows_no_length_and_follows_its_generator() -> None:
    x = torch.randn(2, 60, 4, generator=seeded(3))
    first = kmeans(x, 5, generator=seeded(4))
    scaled = kmeans(x * torch.rand(2, 60, 1, generator=seeded(9)).add(0.5), 5, generator=seeded(4))
    assert torch.equal(first, scaled)
    assert torch.equal(first, kmeans(x, 5, generator=seeded(4)))
    assert not torch.equal(first, kmeans(x, 5, generator=seeded(5)))


def test_plus_plus_seeds_are_those_of_k_means_plus_plus() -> None:
    """Arthur and Vassilvitskii, 2007, section 2.2: the odds of the next are squared distances to the nearest chosen one."""
    x, draws = torch.randn(3, 30, 4, dtype=torch.float64, generator=seeded(7)), torch.rand(3, 6, generator=seeded(8))
    found = _plus_plus_seeds(x, 6, seeded(8))
    for points, u, seeds in zip(x.numpy(), draws.tolist(), found.numpy(), strict=True):
        chosen = [int(u[0] * 30)]
        for k in range(1, 6):
            odds = [min(((point - points[c]) ** 2).sum() for c in chosen) for point in points]
            left, pick = u[k] * sum(odds), 0
            while left >= odds[pick]:
                left, pick = left - odds[pick], pick + 1
            chosen.append(pick)
        assert len(set(chosen)) == 6
        np.testing.assert_array_equal(seeds, points[chosen])


@pytest.mark.parametrize("seeds", ["random", "spread"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_clear_groups_are_found(metric: str, seeds: str) -> None:
    truth = torch.arange(3).repeat_interleave(30)
    x = F.one_hot(truth, 3).double() * 9 + torch.randn(90, 3, dtype=torch.float64, generator=seeded(6)) * 0.1
    best = max(
        _agreement(kmeans(x[None], 3, metric=metric, generator=seeded(seed), seeds=seeds)[0], truth) for seed in range(5)
    )
    assert best == 1
    if seeds == "spread":  # spread seeds find them from the first
        assert _agreement(kmeans(x[None], 3, metric=metric, generator=seeded(0), seeds=seeds)[0], truth) == 1


def _agreement(ids: torch.Tensor, truth: torch.Tensor) -> float:
    return float(sum(truth[ids == k].bincount().max() for k in ids.unique()) / len(truth))


def test_one_colour_and_empty_clusters_do_no_harm() -> None:
    same = torch.ones(1, 16, 3)
    for metric in ("cosine", "l2"):
        for seeds in ("random", "spread"):
            assert torch.equal(
                kmeans(same, 4, metric=metric, seeds=seeds, generator=seeded()), torch.zeros(1, 16, dtype=torch.long)
            )
    assert torch.equal(kmeans(torch.zeros(1, 16, 3), 4, generator=seeded()), torch.zeros(1, 16, dtype=torch.long))
    assert kmeans(torch.randn(1, 4, 3), 4).unique().numel() == 4


def test_what_cannot_be_clustered_is_said() -> None:
    with pytest.raises(BadInput, match="17 clusters are asked of 16 vectors"):
        kmeans(torch.ones(1, 16, 3), 17)
    with pytest.raises(BadInput, match="not finite"):
        kmeans(torch.full((1, 4, 3), torch.nan), 2)
    with pytest.raises(BadInput, match="metric is 'manhattan'"):
        OdinConfig(metric="manhattan")  # type: ignore[arg-type]
    assert _checked(torch.ones(1, 4, 3).half(), 2, "l2").dtype == torch.float32
