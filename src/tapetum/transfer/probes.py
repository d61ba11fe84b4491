"""Classifiers on frozen features: a linear probe and k nearest neighbours.

With L-BFGS the linear probe is logistic regression, as CLIP's (arXiv 2103.00020, appendix A.3): the minimum of

    mean cross entropy + decay / 2 * |W|^2            (scikit-learn's LogisticRegression with C = 1 / (n * decay))

With SGD it is the usual probe of self-supervised learning, without augmentation, because features are computed once.

Neighbours, the cheapest evaluation of an encoder: DINO (arXiv 2104.14294, appendix F), after instance discrimination
(1805.01978): the k features with the highest cosine vote for their classes, each with the weight exp(cosine / temperature).
Rankings by neighbours and by fine-tuning differ: MAE's features are poor neighbours and a good start
(docs/systems/transfer.md).
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.transfer.config import NeighboursConfig, ProbeConfig
from tapetum.transfer.probing import Labelled, Probed, Standardised, learn, swept


def logistic_regression(
    features: Float[Tensor, "n c"], labels: Int64[Tensor, " n"], classes: int, decay: float, steps: int = 500
) -> nn.Linear:
    """Find the minimum of mean cross entropy and decay / 2 * |W|^2, in float64; the bias does not decay.

    >>> layer = logistic_regression(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), 2, decay=0.1)
    >>> layer(torch.tensor([[-2.0], [2.0]])).argmax(1).tolist()
    [0, 1]
    """
    x = features.double()
    layer = nn.Linear(x.shape[1], classes, device=x.device, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=steps, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(x), labels) + decay / 2 * layer.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return layer.to(features.dtype).requires_grad_(False)


def linear_probe(train: Labelled, test: Labelled, classes: int, config: ProbeConfig | None = None) -> Probed:
    """Sweep, and score the best classifier on vectors (n, c). Raises BadInput if there is too little training data."""
    config = config or ProbeConfig()

    def learned(examples: Labelled, setting: float) -> nn.Module:
        width = examples.features.shape[-1]
        if config.optimizer == "sgd":
            layer = nn.Linear(width, classes)
            nn.init.normal_(layer.weight, std=0.01, generator=torch.Generator().manual_seed(config.seed))
            nn.init.zeros_(layer.bias)
            return learn(Standardised(examples.features, layer, config.standardise), examples, setting, config)
        head = Standardised(examples.features, nn.Identity(), config.standardise)
        head.head = logistic_regression(head(examples.features), examples.labels, classes, setting)
        return head

    return swept(train, test, config, learned)


_TOGETHER = 1024


def knn_votes(
    features: Float[Tensor, "n c"],
    labels: Int64[Tensor, " n"],
    queries: Float[Tensor, "q c"],
    classes: int,
    config: NeighboursConfig | None = None,
) -> Float[Tensor, "q k"]:
    """Let the neighbours of each query vote; a row sums to 1.

    Args:
        features: of labelled images, of any length but 0.
        labels: their classes, 0 to classes - 1.
        queries: features of the images to classify.
        classes: their number.
        config: number of voters, and their weighting.

    Raises:
        BadInput: fewer features than neighbours, or labels that do not match.

    >>> known, labels, asked = torch.eye(3), torch.tensor([0, 1, 1]), torch.tensor([[0.0, 2.0, 1.0]])
    >>> knn_votes(known, labels, asked, 2, NeighboursConfig(neighbours=2)).tolist()
    [[0.0, 1.0]]
    """
    config = config or NeighboursConfig()
    if len(features) != len(labels) or len(features) < config.neighbours:
        raise BadInput(
            f"there are {len(features)} features with {len(labels)} labels, and {config.neighbours} neighbours vote; "
            "give a label for each, and fewer neighbours"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise BadInput(f"labels are {int(labels.min())} to {int(labels.max())} of {classes} classes; wanted 0 to {classes - 1}")
    known = F.normalize(features.float(), dim=1)
    votes = []
    for part in F.normalize(queries.float(), dim=1).split(_TOGETHER):
        cosines, nearest = (part @ known.T).topk(config.neighbours, dim=1)
        weights = torch.ones_like(cosines) if config.temperature is None else (cosines / config.temperature).softmax(1)
        table = torch.zeros(len(part), classes, device=part.device).scatter_add_(1, labels[nearest], weights)
        votes.append(table / table.sum(1, keepdim=True))
    return torch.cat(votes)


def knn_accuracy(
    features: Float[Tensor, "n c"],
    labels: Int64[Tensor, " n"],
    queries: Float[Tensor, "q c"],
    truth: Int64[Tensor, " q"],
    config: NeighboursConfig | None = None,
) -> float:
    """Compute the fraction of queries whose neighbours vote for the right class. Raises BadInput as `knn_votes`."""
    classes = int(torch.maximum(labels.max(), truth.max())) + 1
    return float((knn_votes(features, labels, queries, classes, config).argmax(1) == truth).double().mean())
