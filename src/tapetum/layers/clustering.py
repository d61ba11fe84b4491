"""Rounds of k-means (Lloyd, 1982) over a batch of sets of vectors at once.

A centre that loses all its vectors does not move. "l2" takes vectors as they are; "cosine" expects unit vectors, and
keeps the centres at unit length.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Metric = Literal["l2", "cosine"]


def nearest(x: Float[Tensor, "b n d"], centres: Float[Tensor, "b k d"], metric: Metric = "l2") -> Int[Tensor, "b n"]:
    """Find each vector's nearest centre; for ties, the first. For vectors that are not finite, any one."""
    # a row for each centre: the product and the maximum over few rows are faster than over short columns
    near = centres @ x.mT if metric == "cosine" else torch.baddbmm(centres.square().sum(-1)[..., None] / -2, centres, x.mT)
    last = centres.shape[1] - 1
    numbers = torch.arange(last + 1, device=x.device, dtype=torch.int32)[:, None]
    return torch.where(near == near.amax(1, keepdim=True), numbers, last).amin(1).long()


def move_centres(
    x: Float[Tensor, "b n d"], ids: Int[Tensor, "b n"], centres: Float[Tensor, "b k d"], metric: Metric = "l2"
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Move each centre to the mean of its vectors, and return the number of these."""
    clusters = centres.shape[1]
    if x.device.type == "cpu":  # each vector is added once, instead of being multiplied by a column of zeros for every centre
        rows = (ids + clusters * torch.arange(len(x))[:, None]).flatten()
        sums = x.new_zeros(len(x) * clusters, x.shape[2]).index_add_(0, rows, x.flatten(0, 1)).view(centres.shape)
        counts = x.new_zeros(len(x) * clusters).index_add_(0, rows, x.new_ones(len(rows))).view(-1, clusters)
    else:
        members = F.one_hot(ids, clusters).to(x.dtype)  # (b, n, k)
        sums, counts = members.mT @ x, members.sum(1)
    means = F.normalize(sums, dim=-1) if metric == "cosine" else sums / counts.clamp(min=1e-12)[..., None]
    return torch.where(counts[..., None] > 0, means, centres), counts
