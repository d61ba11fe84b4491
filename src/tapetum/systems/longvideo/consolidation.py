"""From the n tokens of a segment to k memories, without parameters (MC-ViT, arXiv 2402.05861, section 3.3).

    random    k of the tokens, each as likely
    coreset   the first, then always the token that is farthest from all chosen so far
    kmeans    k of the tokens as centres, then rounds of k-means; the centres are the memories

Differs from the paper, which is silent there: random is without replacement; coreset begins with the first token of the random
order; a centre without tokens stays; distances are of the tokens as they are. What there are no more of than k is kept whole.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.layers.clustering import Metric, move_centres, nearest


def consolidate(
    tokens: Float[Tensor, "b n d"],
    count: int,
    how: str,
    order: Int[Tensor, "b n"],
    iterations: int = 5,
    metric: Metric = "l2",
    weights: Float[Tensor, "b n"] | None = None,
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Make `count` memories of tokens, and tell for how many tokens each stands.

    Args:
        tokens: of a segment.
        count: memories wanted.
        how: random, coreset or kmeans.
        order: a permutation of the tokens' numbers, drawn at random, for each sample.
        iterations: rounds of k-means.
        metric: by what coreset and k-means tell tokens apart.
        weights: for how many tokens each already stands; one each by default.
    """
    weights = torch.ones_like(tokens[..., 0]) if weights is None else weights
    if count >= tokens.shape[1]:
        return tokens, weights
    if count == 0:
        return tokens[:, :0], weights[:, :0]
    with torch.no_grad():
        compared = F.normalize(tokens, dim=-1) if metric == "cosine" else tokens
        compared = compared.float() if compared.dtype in (torch.float16, torch.bfloat16) else compared
        chosen = farthest_first(compared, count, order[:, 0]) if how == "coreset" else order[:, :count]
    if how != "kmeans" or iterations == 0:
        return _rows(tokens, chosen), weights.gather(1, chosen)
    with torch.no_grad():
        centres = _rows(compared, chosen)
        ids = nearest(compared, centres, metric)
        for _ in range(iterations - 1):
            centres, _ = move_centres(compared, ids, centres, metric, weights)
            ids = nearest(compared, centres, metric)
    start = centres.to(tokens.dtype)
    return move_centres(tokens, ids, start, "l2", weights)  # with gradients to the members, whose mean a memory is


def farthest_first(x: Float[Tensor, "b n d"], count: int, first: Int[Tensor, " b"]) -> Int[Tensor, "b k"]:
    """Choose tokens greedily, each the farthest from those before (k-centre; Gonzalez, 1985)."""
    batch = torch.arange(len(x), device=x.device)
    chosen = [first]
    square = x.square().sum(-1)
    apart = torch.full_like(square, torch.inf)
    for _ in range(count - 1):
        last = x[batch, chosen[-1]]
        new = square - 2 * torch.einsum("bnd,bd->bn", x, last) + last.square().sum(-1, keepdim=True)
        apart = torch.minimum(apart, new)
        apart[batch, chosen[-1]] = -torch.inf  # a token is not chosen twice
        chosen.append(apart.argmax(1))
    return torch.stack(chosen, 1)


def _rows(tokens: Tensor, chosen: Tensor) -> Tensor:
    return tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))
