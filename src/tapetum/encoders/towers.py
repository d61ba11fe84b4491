"""A tower for images and one for text, trained so that what belongs together is alike: CLIP and SigLIP.

Sources: CLIP (arXiv 2103.00020), SigLIP (arXiv 2303.15343).

`from_state` with the config of a CLIPModel or SiglipModel gives a `Towers`. It is an encoder of images like any other, whose
features are those of its image tower, before CLIP's projection; and it also compares images with texts.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import Encoder, Features
from tapetum.encoders.text import TextTransformer
from tapetum.encoders.towers_config import TowersConfig
from tapetum.encoders.vit import ViT, start_linear


class Towers(Encoder):
    """Two towers; as an encoder, the one for images."""

    config: TowersConfig

    def __init__(self, config: TowersConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        self.image = ViT(config.image, preprocessing)
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

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Features:
        """Look at prepared images; the pooled vector is the one before the projection."""
        return self.image(images)

    def embed_images(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Compute vectors of length 1 of prepared images, to be compared with those of texts."""
        pooled = self.image(images).pooled
        return F.normalize(pooled if self.image_projection is None else self.image_projection(pooled), dim=-1)

    def embed_text(self, ids: Int[Tensor, "t n"]) -> Float[Tensor, "t e"]:
        """Compute vectors of length 1 of texts, as numbers of tokens."""
        pooled = self.text(ids).pooled
        return F.normalize(pooled if self.text_projection is None else self.text_projection(pooled), dim=-1)

    def compare(self, images: Float[Tensor, "b 3 h w"], ids: Int[Tensor, "t n"]) -> Float[Tensor, "b t"]:
        """Compute the logits of every image with every text: scaled cosines, and for SigLIP the bias."""
        logits = self.embed_images(images) @ self.embed_text(ids).T * self.logit_scale.exp()
        return logits if self.logit_bias is None else logits + self.logit_bias

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names in the image tower: `image.blocks.0.attention`, ..."""
        return tuple(f"image.{name}" for name in self.image.adapter_addresses())
