"""Consolidation of a segment's n tokens to k memories, without parameters (MC-ViT, arXiv 2402.05861, section 3.3).

    random    k of the tokens, each as likely
    coreset   the first, then always the token that is farthest from all chosen so far
    kmeans    k of the tokens as centres, then rounds of k-means; the centres are the memories

`Compression` is the baseline of MC-ViT: past segments pooled by learned convolutions (MeMViT, arXiv 2201.08383).

    write   the normalised tokens of the segment, without gradient
    read    of the last segment: its keys' and values' streams, each by a depthwise convolution over (time, rows, columns)
            with steps of 4 x 2 x 2; of the one before: what was made of it then, without gradient

Projections to keys and values come after the pooling, as in MeMViT's code; every other layer has memories; the odd ones have
none.

Choices where MC-ViT's paper is silent: random is without replacement; coreset begins with the first token of the random order;
a centre without tokens stays; distances are between unnormalised tokens. Up to k tokens are stored unchanged. Differs from
MeMViT: no relative positions of memories (ours are in the tokens); grids smaller than a step are pooled whole.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.layers.clustering import Metric, move_centres, nearest
from tapetum.layers.transformer import Block
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.layers import Projected

_KERNEL, _STEP = (7, 3, 3), (4, 2, 2)
"""Of MeMViT's pooling: time, rows, columns."""


def consolidate(
    tokens: Float[Tensor, "b n d"],
    count: int,
    method: str,
    order: Int[Tensor, "b n"],
    iterations: int = 5,
    metric: Metric = "l2",
    weights: Float[Tensor, "b n"] | None = None,
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Consolidate tokens into `count` memories, and count how many tokens each represents.

    Args:
        tokens: of a segment.
        count: memories.
        method: random, coreset or kmeans.
        order: a random permutation of the token numbers for each sample.
        iterations: rounds of k-means.
        metric: distance of coreset and k-means.
        weights: how many tokens each one already represents; by default one.
    """
    weights = torch.ones_like(tokens[..., 0]) if weights is None else weights
    if count >= tokens.shape[1]:
        return tokens, weights
    if count == 0:
        return tokens[:, :0], weights[:, :0]
    with torch.no_grad():
        compared = F.normalize(tokens, dim=-1) if metric == "cosine" else tokens
        compared = compared.float() if compared.dtype in (torch.float16, torch.bfloat16) else compared
        chosen = select_coreset(compared, count, order[:, 0]) if method == "coreset" else order[:, :count]
    if method != "kmeans" or iterations == 0:
        return _rows(tokens, chosen), weights.gather(1, chosen)
    with torch.no_grad():
        centres = _rows(compared, chosen)
        ids = nearest(compared, centres, metric)
        for _ in range(iterations - 1):
            centres, _ = move_centres(compared, ids, centres, metric, weights)
            ids = nearest(compared, centres, metric)
    start = centres.to(tokens.dtype)
    return move_centres(tokens, ids, start, "l2", weights)  # with gradients to the members, whose mean a memory is


def select_coreset(x: Float[Tensor, "b n d"], count: int, first: Int[Tensor, " b"]) -> Int[Tensor, "b k"]:
    """Choose tokens greedily, each the farthest from those chosen before (k-centre; Gonzalez, 1985)."""
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


class Compression(nn.Module):
    """Learned pooling of past segments."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config

        def pool() -> nn.Conv3d:
            padding = (_KERNEL[0] // 2, _KERNEL[1] // 2, _KERNEL[2] // 2)
            layer = nn.Conv3d(config.width, config.width, _KERNEL, _STEP, padding, groups=config.width, bias=False)
            with torch.no_grad():  # begins as an average
                layer.weight.fill_(1 / layer.weight[0].numel())
            return layer

        self.keys, self.values = (nn.ModuleList(pool() for _ in range(config.depth)) for _ in range(2))

    def read(self, number: int, block: Block, rows: Float[Tensor, "b n d"], earlier: Projected | None) -> Projected | None:
        """Compute keys and values of the last segment's tokens, and of earlier ones as pooled then."""
        if number % 2:
            return None
        pairs = [(self._pool(self.keys[number], rows), self._pool(self.values[number], rows))]
        if earlier is not None:
            pairs.insert(0, (earlier[0][:, 0], earlier[1][:, 0]))
        key_rows, value_rows = (torch.cat(parts, 1) for parts in zip(*pairs, strict=True))
        key, _ = block.attention.project(key_rows)  # pyright: ignore
        _, value = block.attention.project(value_rows)  # pyright: ignore
        return key, value

    def write(
        self, number: int, block: Block, rows: Float[Tensor, "b n d"], earlier: Float[Tensor, "b n2 d"] | None
    ) -> tuple[Tensor, Projected | None]:
        """Normalise this segment's tokens, and pool those of the segment before, (b, 1, m, d) each, without gradient."""
        with torch.no_grad():
            normed = block.attention_norm(rows)
            if earlier is None or number % 2:
                return normed, None
            key, value = self._pool(self.keys[number], earlier), self._pool(self.values[number], earlier)
        return normed, (key[:, None], value[:, None])

    def _pool(self, layer: nn.Module, rows: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        grid = self.config.grid
        x = rows.unflatten(1, (-1, *grid)).movedim(-1, 1)
        return layer(x).flatten(2).mT  # (b, m, d)
