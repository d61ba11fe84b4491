"""Rounds of k-means (Lloyd, 1982) over a batch of sets of vectors at once.

A centre that loses all its vectors stays where it was. "l2" takes vectors as they are; "cosine" wants them of unit length, and
keeps the centres so.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Metric = Literal["l2", "cosine"]


def nearest(x: Float[Tensor, "b n d"], centres: Float[Tensor, "b k d"], metric: Metric = "l2") -> Int[Tensor, "b n"]:
    """Find each vector's nearest centre; of equally near ones the first."""
    likeness = x @ centres.mT
    if metric == "l2":
        likeness = likeness - centres.square().sum(-1)[:, None] / 2
    return likeness.argmax(-1)


def move_centres(
    x: Float[Tensor, "b n d"],
    ids: Int[Tensor, "b n"],
    centres: Float[Tensor, "b k d"],
    metric: Metric = "l2",
    weights: Float[Tensor, "b n"] | None = None,
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Put each centre at the (weighted) mean of its vectors, and give the weight of each."""
    members = F.one_hot(ids, centres.shape[1]).to(x.dtype)  # (b, n, k)
    if weights is not None:
        members = members * weights[..., None].to(x.dtype)
    sums, counts = members.mT @ x, members.sum(1)
    means = F.normalize(sums, dim=-1) if metric == "cosine" else sums / counts.clamp(min=1e-12)[..., None]
    return torch.where(counts[..., None] > 0, means, centres), counts
