"""K-means of the features of each image, all images of a batch at once (Odin, arXiv 2203.08777, section 3.1).

Differs from the paper, whose settings could not be read: distance, seeds, rounds and restarts are settings. With "cosine"
(spherical k-means, the default) vectors are brought to unit length first, and so is every centre; with "l2" neither.
A centre that loses all its vectors stays where it was. The result depends on the generator alone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.clustering import Metric, move_centres, nearest

METRICS = "cosine", "l2"
_CACHED = 5 << 19
"""Bytes of vectors that go through all rounds together on a CPU, so that they stay in its cache; the result is the same."""


@torch.no_grad()
def kmeans(
    features: Float[Tensor, "b n d"],
    clusters: int,
    iterations: int = 10,
    metric: Metric = "cosine",
    generator: torch.Generator | None = None,
    seeds: str = "random",
) -> Int[Tensor, "b n"]:
    """Give each vector the number of its cluster, 0 to `clusters` - 1, for each image by itself.

    Args:
        features: vectors of each image.
        clusters: how many centres; some may end up without vectors.
        iterations: rounds of giving vectors to centres and moving the centres.
        metric: one of `METRICS`.
        generator: for the seeds; torch's own on the device of the features by default.
        seeds: random (distinct vectors of the image) or spread (k-means++, Arthur and Vassilvitskii, 2007).

    Raises:
        BadInput: features that are not finite, more clusters than vectors, unknown names.
    """
    x = _checked(features, clusters, metric)
    if seeds not in ("random", "spread"):
        raise BadInput(f"seeds of k-means are {seeds!r}; give random or spread")
    centres = (_random_seeds if seeds == "random" else _spread_seeds)(x, clusters, generator)
    at_once = len(x) if x.device.type != "cpu" else max(_CACHED // max(x[0].nbytes, 1), 1)
    pieces = zip(x.split(at_once), centres.split(at_once), strict=True)
    return torch.cat([_rounds(own, begun, iterations, metric) for own, begun in pieces])


def _rounds(x: Tensor, centres: Tensor, iterations: int, metric: Metric) -> Tensor:
    for _ in range(iterations):
        centres, _ = move_centres(x, nearest(x, centres, metric), centres, metric)
    return nearest(x, centres, metric)


def _random_seeds(x: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    order = torch.rand(x.shape[:2], generator=generator, device=x.device).topk(clusters, largest=False).indices
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))


def _spread_seeds(x: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    draws = torch.rand(len(x), clusters, generator=generator, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    chosen = [x[rows, (draws[:, 0] * x.shape[1]).long()]]
    far = torch.full(x.shape[:2], torch.inf, dtype=x.dtype, device=x.device)
    for k in range(1, clusters):
        far = torch.minimum(far, (x - chosen[-1][:, None]).square().sum(-1))
        odds = torch.where(far.sum(1, keepdim=True) > 0, far, torch.ones_like(far)).cumsum(1)
        pick = torch.searchsorted(odds, draws[:, k : k + 1] * odds[:, -1:], right=True).clamp(max=x.shape[1] - 1)
        chosen.append(x[rows, pick[:, 0]])
    return torch.stack(chosen, 1)


def _checked(features: Tensor, clusters: int, metric: Metric) -> Tensor:
    if metric not in METRICS:
        raise BadInput(f"the metric of k-means is {metric!r}; give one of {', '.join(METRICS)}")
    if features.ndim != 3:
        raise BadInput(f"features for k-means have shape {tuple(features.shape)}; give (images, vectors, channels)")
    if not 1 <= clusters <= features.shape[1]:
        raise BadInput(
            f"{clusters} clusters are asked of {features.shape[1]} vectors an image; give 1 to {features.shape[1]}, "
            "or features of a finer grid"
        )
    if not (torch.isfinite(features.sum()) or torch.isfinite(features).all()):  # a sum is cheaper, but may overflow
        raise BadInput("features for k-means hold values that are not finite; mend the images or the network")
    x = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    return F.normalize(x, dim=-1) if metric == "cosine" else x
