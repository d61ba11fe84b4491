"""A small text transformer: CLIP's (causal, read at the end token), SigLIP's (bidirectional, read at the last token, with a
head), TIPSv2's (bidirectional, mean of its tokens) and BERT as in LongViViT (bidirectional, mean of its tokens).

Sources: CLIP (arXiv 2103.00020), SigLIP (arXiv 2303.15343), LongViViT (arXiv 2312.07395, section 3), TIPSv2 (arXiv
2604.12012), BERT (arXiv 1810.04805; its embedding of the first segment type, equal for all tokens, is part of the positions).
It takes token ids; tokenizing is done elsewhere.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.towers_config import TextConfig
from tapetum.layers.patches import sine_1d
from tapetum.layers.transformer import Attention, Block, Mlp, start_linear


@dataclass(frozen=True)
class TextFeatures:
    """What a text transformer reads in a batch of texts."""

    tokens: Float[Tensor, "b n d"]
    """After the last norm."""
    pooled: Float[Tensor, "b e"]
    """One vector a text."""


torch.export.register_dataclass(TextFeatures)


class NormAfterBlock(Block):
    """norm(x + attention(x)), then norm(x + mlp(x)), as in BERT."""

    def forward(self, x: Float[Tensor, "b n c"], **attention: Any) -> Float[Tensor, "b n c"]:
        x = self.attention_norm(x + self.attention(x, **attention))
        return self.mlp_norm(x + self.mlp(x))


class TextTransformer(nn.Module):
    """A transformer on text tokens."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config = config
        self.width = config.projection or config.width
        """Channels of the pooled vector."""
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        if config.positions == "sine":
            places = sine_1d(torch.arange(config.length), config.width, inclusive=True)
            self.register_buffer("positions", places.float(), persistent=False)
        else:
            self.positions = nn.Parameter(torch.randn(config.length, config.width) * 0.01)
        if config.norm_after:
            self.embedding_norm = self._norm()
        block = NormAfterBlock if config.norm_after else Block
        self.blocks = nn.ModuleList(
            block(
                Attention(config.width, config.heads),
                Mlp(config.width, config.mlp_width, config.activation),
                self._norm,
                width=config.width,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.Identity() if config.norm_after else self._norm()
        self.projection = nn.Linear(config.width, config.projection) if config.projection else None
        self.apply(start_linear)

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.config.width, eps=self.config.norm_eps)

    def forward(self, ids: Int[Tensor, "b n"]) -> TextFeatures:
        """Encode texts given as token ids, all padded to one length. Raises BadInput for too many."""
        if ids.shape[1] > self.config.length:
            raise BadInput(f"texts have {ids.shape[1]} tokens; this tower reads up to {self.config.length}: cut them")
        x = self.embedding(ids)
        if self.config.scale_embedding:
            x = x * math.sqrt(self.config.width)
        x = x + self.positions[: ids.shape[1]]
        if self.config.norm_after:
            x = self.embedding_norm(x)
        there = None
        if self.config.pooling == "mean":  # a text of nothing but padding has its first token
            there = (ids != 0) | (torch.arange(ids.shape[1], device=ids.device) == 0)
        for block in self.blocks:
            x = block(x, causal=self.config.causal, mask=None if there is None else there[:, None, None])
        x = self.norm(x)
        if there is not None:
            pooled = (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        else:
            pooled = x[torch.arange(x.shape[0], device=x.device), self._end(ids)]
        return TextFeatures(tokens=x, pooled=pooled if self.projection is None else self.projection(pooled))

    def _end(self, ids: Tensor) -> Tensor:
        if self.config.pooling == "last":
            return torch.full_like(ids[:, 0], ids.shape[1] - 1)
        if self.config.pooling == "highest":
            return ids.argmax(1)
        return (ids == self.config.end_token).int().argmax(1)
