import math

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.metrics.spectrum import alpha_req, lidar, rank_me


def test_rank_me_is_the_perplexity_of_singular_values() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    features = turn[:, :2] @ np.diag([3.0, 1.0])  # singular values 3 and 1: shares 3/4 and 1/4
    wanted = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert rank_me(features) == pytest.approx(wanted, rel=1e-5)
    assert rank_me(7 * features) == pytest.approx(wanted, rel=1e-5)
    assert rank_me(np.zeros((3, 2))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 1.5])
def test_alpha_req_is_the_exponent_of_the_spectrum(alpha: float) -> None:
    half = np.diag(np.arange(1, 9) ** (-alpha / 2))
    features = np.concatenate([half, -half]) + 5  # mean 5; eigenvalues in proportion to rank ** -alpha
    assert alpha_req(features) == pytest.approx(alpha, rel=1e-9)
    assert math.isnan(alpha_req(np.ones((4, 3)) * [[1], [2], [3], [4]]))  # one direction has no slope


@pytest.mark.parametrize("features", [np.zeros(3), np.full((3, 2), np.nan), np.zeros((0, 2))])
def test_what_are_no_features_is_refused(features: np.ndarray) -> None:
    for score in (rank_me, alpha_req):
        with pytest.raises(BadInput, match="features are of shape"):
            score(features)


def test_lidar_is_the_rank_of_what_tells_images_apart() -> None:
    """By the inverse square root of the within-class covariance, written out (LiDAR, arXiv 2312.04000, section 3)."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 1, 5)) * [3, 2, 1, 0, 0] + rng.normal(size=(30, 6, 5)) * [1, 1, 1, 4, 0]
    within, between = np.zeros((5, 5)), np.zeros((5, 5))
    for image in x:
        between += np.outer(image.mean(0) - x.mean((0, 1)), image.mean(0) - x.mean((0, 1))) / 30
        within += sum(np.outer(row - image.mean(0), row - image.mean(0)) for row in image) / 180
    values, vectors = np.linalg.eigh(within + 1e-4 * np.eye(5))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    shares = np.linalg.eigvalsh(root @ between @ root)
    shares = shares / shares.sum() + 1e-7
    assert lidar(x) == pytest.approx(np.exp(-(shares * np.log(shares.clip(1e-12))).sum()), rel=1e-4)
    assert lidar(x) < 3 < rank_me(x.reshape(-1, 5))  # what views alone differ in does not count
    for few in (x[:1], x[:, :1]):
        with pytest.raises(BadInput, match="give 2 or more of both"):
            lidar(few)
