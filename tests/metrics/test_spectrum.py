import math

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.metrics.spectrum import alpha_req, rank_me


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
