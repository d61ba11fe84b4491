"""Scores of features without labels, from their spectrum: they tell runs of one method apart, not how good features are.

    rank_me     effective rank: how many directions features fill (RankMe, arXiv 2210.02885, eq. 1 and 2); more is better
    alpha_req   how fast the eigenvalues of their covariance fall (alpha-ReQ, 2202.05808, section 3); near 1 is best
    lidar       effective rank of what tells images apart among views of each (LiDAR, 2312.04000, section 3); more is better

Differs from alpha-ReQ: the line is fitted to all eigenvalues that are not rounding, each with the same weight.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Num

from tapetum.core.errors import BadInput

_EPSILON = 1e-7
"""Added to shares of singular values, as in RankMe."""
_ROUNDING = 1e-7
"""Eigenvalues below this share of the greatest are rounding."""


def rank_me(features: Num[np.ndarray, "n d"]) -> float:
    """Compute the exponential of the entropy of the singular values' shares: 1 to min(n, d).

    Raises BadInput for fewer than one row, and for features that are not finite.

    >>> round(rank_me(np.eye(4)), 3), round(rank_me(np.ones((4, 3))), 3)
    (4.0, 1.0)
    """
    return _effective_rank(np.linalg.svd(_checked(features, 1), compute_uv=False))


def lidar(features: Num[np.ndarray, "n q d"], delta: float = 1e-4) -> float:
    """Compute the effective rank of linear discriminant analysis whose classes are images, each with q views.

    With S_b the covariance of the images' mean features and S_w that of views about their mean, plus `delta` on the diagonal,
    it is the exponential of the entropy of the eigenvalues' shares of S_w^-1/2 S_b S_w^-1/2: 1 to min(n - 1, d).

    Raises BadInput for fewer than two images or views, and for features that are not finite.
    """
    n, q, d = features.shape
    if min(n, q) < 2:
        raise BadInput(f"features are of {n} images with {q} views each; give 2 or more of both")
    x = _checked(features.reshape(n * q, d), 2).reshape(n, q, d)
    means = x.mean(1)
    inside = (x - means[:, None]).reshape(n * q, d)
    between = means - means.mean(0)
    within = inside.T @ inside / len(inside) + delta * np.eye(d)
    values = scipy.linalg.eigh(between.T @ between / n, within, eigvals_only=True)
    return _effective_rank(values.clip(0))


def _effective_rank(values: Num[np.ndarray, " k"]) -> float:
    shares = values / max(values.sum(), np.finfo(float).tiny) + _EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alpha_req(features: Num[np.ndarray, "n d"]) -> float:
    """Compute minus the slope of log eigenvalues of the covariance over the log of their rank; nan for fewer than 2 of them.

    Raises BadInput for fewer than two rows, and for features that are not finite.
    """
    x = _checked(features, 2)
    values = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    values = values[values > _ROUNDING * values.max()]
    if len(values) < 2:
        return float("nan")
    return -float(np.polyfit(np.log(np.arange(1, len(values) + 1)), np.log(values), 1)[0])


def _checked(features: Num[np.ndarray, "n d"], least: int) -> Num[np.ndarray, "n d"]:
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or len(x) < least or not np.isfinite(x).all():
        raise BadInput(f"features are of shape {x.shape}; give {least} or more rows of finite numbers")
    return x
