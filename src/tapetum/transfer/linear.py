"""The linear probe: a classifier on frozen vectors.

With L-BFGS it is logistic regression, as CLIP's (arXiv 2103.00020, appendix A.3): the minimum of

    mean cross entropy + decay / 2 * |W|^2            (scikit-learn's LogisticRegression with C = 1 / (n * decay))

With SGD it is the usual probe of self-supervised learning, without augmentation, because features are computed once.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tapetum.transfer.config import ProbeConfig
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
