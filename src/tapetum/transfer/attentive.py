"""The attentive probe: a learned query attends to all tokens, and a linear layer classifies the result.

V-JEPA (arXiv 2404.08471, section 4) and others use it for encoders whose pooled vector was never trained, such as MAE's; the
pooling is SigLIP's (`tapetum.layers.transformer`).

Differs from V-JEPA: one block of attention with an MLP, no batch norm.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.layers.transformer import AttentionPooling
from tapetum.transfer.config import ProbeConfig
from tapetum.transfer.probing import Labelled, Probed, Standardised, learn, swept


class AttentiveHead(nn.Module):
    """From tokens to logits."""

    def __init__(self, width: int, classes: int, heads: int | None = None):
        """Build it for tokens of `width`; by default with heads of 64 channels or one."""
        super().__init__()
        heads = heads or max(1, width // 64 if width % 64 == 0 else 1)
        self.pool, self.classes = AttentionPooling(width, heads, 4 * width), nn.Linear(width, classes)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b k"]:
        """Compute logits."""
        return self.classes(self.pool(tokens))


def attentive_probe(train: Labelled, test: Labelled, classes: int, config: ProbeConfig | None = None) -> Probed:
    """Sweep SGD's rates, and score the best head on tokens (n, t, c). Raises BadInput for vectors."""
    if train.features.ndim != 3:
        raise BadInput(f"features are {tuple(train.features.shape)}; give tokens (n, t, c), of features_of(..., tokens=True)")
    config = replace(config or ProbeConfig(learning_rates=(0.003, 0.01, 0.03)), optimizer="sgd")

    def learned(examples: Labelled, learning_rate: float) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            head = AttentiveHead(examples.features.shape[-1], classes)
        return learn(Standardised(examples.features, head, config.standardise), examples, learning_rate, config)

    return swept(train, test, config, learned)
