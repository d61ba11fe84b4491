"""An image tower and a text tower, trained so that matching images and texts are similar: CLIP, SigLIP and relatives.

    towers = tapetum.load("siglip2-base-32")       images and texts in, numpy out
    towers.embed_images(images)                    (n, d), rows of unit length
    towers.embed_texts(["a cat", "ein Hund"])      (m, d), rows of unit length
    towers.logits(images, texts)                   (n, m), scaled cosines and for SigLIP the bias

`from_state` with the config of a CLIPModel or SiglipModel returns a `Towers`. It is an image encoder like any other, whose
features are those of its image tower, before CLIP's projection. The same on tensors, with gradients: `image_vectors`,
`text_vectors`, `compare`. The tokenizer comes with a folder of weights, and is stored in files that `save` writes.

The text tower is a small text transformer: CLIP's (causal, read at the end token), SigLIP's (bidirectional, read at the last
token, with a head), TIPSv2's (bidirectional, mean of its tokens) and BERT as in LongViViT (bidirectional, mean of its tokens).

Sources: CLIP (arXiv 2103.00020), SigLIP (arXiv 2303.15343), SigLIP 2 (arXiv 2502.14786), LongViViT (arXiv 2312.07395, section
3), TIPSv2 (arXiv 2604.12012), BERT (arXiv 1810.04805; its embedding of the first segment type, equal for all tokens, is part of
the positions).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor, nn

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, TapetumError
from tapetum.encoders.batching import look_by_size
from tapetum.encoders.config import Preprocessing, ViTConfig
from tapetum.encoders.features import Encoder, Features, check_finite
from tapetum.encoders.library_net import LibraryNet
from tapetum.encoders.tokenizers import Tokenizer
from tapetum.encoders.towers_config import TextConfig, TowersConfig
from tapetum.encoders.vit import ViT
from tapetum.layers.cpu import speed_up
from tapetum.layers.patches import sine_1d
from tapetum.layers.transformer import Attention, Block, Mlp, start_linear


@dataclass(frozen=True)
class TextFeatures:
    """What a text transformer reads in a batch of texts."""

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b e"]


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


_TOGETHER = 16
"""Images or texts that pass a tower together in `embed_images` and `embed_texts`."""


class Towers(Encoder):
    """Two towers; used as an encoder, the image tower."""

    config: TowersConfig
    takes_bfloat16 = True

    def __init__(self, config: TowersConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        self.image = (ViT if isinstance(config.image, ViTConfig) else LibraryNet)(config.image, preprocessing)  # pyright: ignore[reportArgumentType]
        self.text = TextTransformer(config.text)
        self.width, self.map_channels, self.strides = self.image.width, self.image.map_channels, self.image.strides
        self.head = None
        self.image_projection = self.text_projection = None
        if config.projection:
            self.image_projection = nn.Linear(self.image.width, config.projection, bias=False)
            self.text_projection = nn.Linear(self.text.width, config.projection, bias=False)
            start_linear(self.image_projection)
            start_linear(self.text_projection)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592 if not config.logit_bias else 2.3026))
        """Natural logarithm of the factor of the cosines: 1 / 0.07 at first in CLIP, 10 in SigLIP."""
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if config.logit_bias else None
        self.tokenizer: Tokenizer | None = None
        """Reads texts; None where the weights came without one."""
        self.tokenizer_fault: TapetumError | None = None
        """Why there is none, where one was looked for."""

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Features:
        """Encode prepared images; the pooled vector is the one before the projection."""
        return self.image(images)

    def image_vectors(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Compute unit-length vectors of prepared images, for comparison with those of texts."""
        pooled = self.image(images).pooled
        return F.normalize(pooled if self.image_projection is None else self.image_projection(pooled), dim=-1)

    def text_vectors(self, ids: Int[Tensor, "t n"]) -> Float[Tensor, "t e"]:
        """Compute unit-length vectors of texts, given as token ids. Raises BadInput for ids outside the vocabulary."""
        self._check_ids(ids)
        pooled = self.text(ids).pooled
        return F.normalize(pooled if self.text_projection is None else self.text_projection(pooled), dim=-1)

    def _check_ids(self, ids: Tensor) -> None:
        most = self.config.text.vocabulary
        if ids.is_meta or torch.compiler.is_compiling() or not ids.numel():
            return
        if not (ids.dtype in (torch.int64, torch.int32) and 0 <= int(ids.min()) <= int(ids.max()) < most):
            raise BadInput(
                f"texts have ids of {ids.dtype} from {ids.min().item()} to {ids.max().item()}, and this text encoder knows the "
                f"whole numbers 0 to {most - 1}; take the tokenizer of the same weights"
            )

    def compare(self, images: Float[Tensor, "b 3 h w"], ids: Int[Tensor, "t n"]) -> Float[Tensor, "b t"]:
        """Compute the logits of every prepared image with every text: scaled cosines, and for SigLIP the bias."""
        return self.scaled(self.image_vectors(images) @ self.text_vectors(ids).T)

    def scaled(self, cosines: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Compute logits from cosines: exp(logit_scale) * cosines + logit_bias."""
        logits = cosines * self.logit_scale.exp()
        return logits if self.logit_bias is None else logits + self.logit_bias

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "n length"]:
        """Compute the ids of texts, on the network's device. Raises BadInput if the weights have no tokenizer."""
        if self.tokenizer is None:
            raise self.tokenizer_fault or BadInput(
                "these weights have no tokenizer beside them, so that texts cannot be read; load the folder of a repository,"
                " with its tokenizer.json or its SentencePiece model"
            )
        return torch.from_numpy(self.tokenizer(texts)).to(self.logit_scale.device)

    def embed_images(self, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float32[np.ndarray, "n d"]:
        """Compute unit-length vectors of images of any size.

        Raises BadInput for images of another kind or shape.
        """
        vectors = [self._no_vectors()]
        with self._inference():
            for start in range(0, len(images), _TOGETHER):
                prepared = [self.prepare([image]) for image in images[start : start + _TOGETHER]]
                prepared = [image.to(self.logit_scale.dtype) for image in prepared]
                vectors.append(look_by_size(prepared, self.image_vectors, self))
        return _as_numpy(vectors)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Compute unit-length vectors of texts.

        Raises BadInput if an item is no text, or the weights have no tokenizer.
        """
        ids = self.tokenize(texts)
        with self._inference():
            return _as_numpy([self._no_vectors(), *(self.text_vectors(part) for part in ids.split(_TOGETHER))])

    def logits(self, images: Sequence[UInt8[np.ndarray, "h w 3"]], texts: Sequence[str]) -> Float32[np.ndarray, "n m"]:
        """Compute the logits of every image with every text: softmax over texts for CLIP, a sigmoid each for SigLIP.

        Raises BadInput as `embed_images` and `embed_texts` do.
        """
        cosines = torch.from_numpy(self.embed_images(images) @ self.embed_texts(texts).T)
        with torch.inference_mode():
            return self.scaled(cosines.to(self.logit_scale.device)).float().cpu().numpy()

    def _no_vectors(self) -> Tensor:
        width = self.config.projection or self.image.width
        return torch.empty(0, width)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        speed_up(self)  # computes as before where something is to be learned
        with full_precision(), torch.inference_mode():
            yield

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names in the image tower: `image.blocks.0.attention`, ..."""
        return tuple(f"image.{name}" for name in self.image.adapter_addresses())


def _as_numpy(parts: Sequence[Tensor]) -> Float32[np.ndarray, "n d"]:
    return check_finite(torch.cat([part.float().cpu() for part in parts])).numpy()
