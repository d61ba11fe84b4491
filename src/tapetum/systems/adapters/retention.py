"""Retention: how far the features of a network have drifted from those of another."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tapetum.core.errors import BadInput


def linear_cka(one: Float[Tensor, "n c"], other: Float[Tensor, "n d"]) -> float:
    """Compute linear centred kernel alignment (arXiv 1905.00414, section 3): 1 where features agree but for turns and scale.

    Rows are the same images in both. Raises BadInput for another number of rows, or fewer than two.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    >>> turn = torch.tensor([[0.0, 3.0], [-3.0, 0.0]])
    >>> round(linear_cka(x, x @ turn + 5), 6)
    1.0
    """
    if one.shape[0] != other.shape[0] or one.shape[0] < 2:
        raise BadInput(f"features of {one.shape[0]} and {other.shape[0]} images; give the same two or more to both")
    a, b = (x.double() - x.double().mean(0) for x in (one, other))
    both = (b.T @ a).square().sum()
    return float(both / ((a.T @ a).norm() * (b.T @ b).norm()))


def cosine_drift(one: Float[Tensor, "n c"], other: Float[Tensor, "n c"]) -> float:
    """Average one minus the cosine between an image's features in two networks: 0 where they agree."""
    return float((1 - F.cosine_similarity(one.double(), other.double(), dim=1)).mean())
