"""Sizes of paligemma-photo, and its training: the options of `tapetum train paligemma-photo`. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma.config import PrefixLmConfig


@dataclass(frozen=True, kw_only=True)
class PhotoConfig(PrefixLmConfig):
    """A classifier of ImageNet that is not part of the weights, a linear layer, and a decoder of text."""

    encoder: str = "efficientnet-lite2"
    """Name of the classifier."""
    encoder_width: int = 1280
    """Channels of its last map."""
    side: int = 260
    """Pixels along an edge of its images, which are squashed to squares."""
    regions: int = 3
    """Regions along an edge of the image, each of which is a token; one more token is of the whole image."""

    def __post_init__(self) -> None:
        check_fields(self, encoder_width="[1, inf)", side="[32, inf)", regions="[1, 8]")
        super().__post_init__()
        if self.prefix_mask not in ("blocks", "images"):
            raise BadInput(f"prefix_mask is {self.prefix_mask}; texts about a photo share its tokens: give blocks or images")

    @property
    def image_size(self) -> int:
        """Get the side of the images, in pixels."""
        return self.side

    @property
    def image_tokens(self) -> int:
        """Count the tokens of one image."""
        return 1 + self.regions**2


DECODERS: Mapping[str, DecoderConfig] = {
    "nano": DecoderConfig(width=256, depth=3, heads=4, key_value_heads=4, head_width=64, mlp_width=512, vocabulary=3200),
    "tiny": DecoderConfig(width=32, depth=1, heads=2, key_value_heads=1, head_width=16, mlp_width=32, vocabulary=3200),
}
"""Decoders by size: one like that of paligemma-nano, with a block less, keys and values for each head, and more words; and one
for tests."""


def from_json(header: Mapping[str, Any]) -> PhotoConfig:
    """Read the config in the header of a weight file. Raises KeyError, TypeError, ValueError or BadInput for anything else."""
    stored = dict(header)
    return PhotoConfig(language=DecoderConfig(**stored.pop("language")), **stored)


@dataclass(frozen=True, kw_only=True)
class PhotoRun:
    """A run that teaches a decoder to speak of photographs by what a classifier of ImageNet sees in them."""

    size: Literal["nano", "tiny"] = "nano"
    """Sizes of the decoder: nano, that of the bundled model; tiny, for trials."""
    data: str = ""
    """Photographs with the names or WordNet numbers of ImageNet's classes: parquet, or a folder a class."""
    fold: int = 0
    """Part of the photographs, 0 to 4, that is scored and never trained on; 5: all are trained on and none is scored. The
    photograph of class k is in part k modulo 5."""
    labelled: tuple[str, ...] = ()
    """Further images, whose classes are common nouns, such as CIFAR-10's; their training part is used."""
    segmented: tuple[str, ...] = ()
    """Further images, with masks of classes, as parquet; their training part is used."""
    views: int = 4
    """Views of a photograph that go through the encoder: the whole, and random parts of it."""
    most: int = 2000
    """Images of each of `labelled` that are used."""
    prototype_share: float = 0.5
    """Share of samples that are evidence of a class without a photograph, of all 1,000 classes."""
    photo_share: float = 0.3
    """Share of photographs."""
    mixed_share: float = 0.05
    """Share of two photographs in one."""
    labelled_share: float = 0.08
    """Share of images of `labelled`."""
    segmented_share: float = 0.07
    """Share of images of `segmented`."""
    vector_share: float = 0.5
    """Share of images of which the model reads the vectors beside the evidence."""
    start: str = ""
    """Weights to begin with, of an earlier run; its tokenizer is taken too."""
    there_share: float = 0.36
    """Share of questions that ask whether something is there; the others are as `texts.pairs_about` has them."""
    questions: int = 6
    """Questions about each image, beside the caption."""
    vocabulary: int = 2000
    """Pieces of the tokenizer, which is learned of the templates."""
    steps: int = 1100
    """Optimiser steps."""
    batch_size: int = 16
    """Images of a step."""
    micro_batch: int = 16
    """Images that a process works on at a time."""
    lr: float = 2e-3
    """Highest learning rate, after a warm-up of 5%; it falls to 0 by a line."""
    weight_decay: float = 0.05
    """Of the projector."""
    smoothing: float = 0.02
    """Label smoothing."""
    bf16: bool = False
    """Compute in bfloat16; weights stay float32."""
    seed: int = 0
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        shares = dict.fromkeys(
            (
                "prototype_share",
                "photo_share",
                "mixed_share",
                "labelled_share",
                "segmented_share",
                "vector_share",
                "there_share",
            ),
            "[0, 1]",
        )
        check_fields(self, fold="[0, 5]", views="[1, inf)", most="[1, inf)", questions="[1, inf)", smoothing="[0, 1)", **shares)

    def config(self, vocabulary: int, pieces: int, newline: int) -> PhotoConfig:
        """Make the config of the model for a tokenizer of `vocabulary` tokens, the first `pieces` of which are text."""
        language = replace(DECODERS[self.size], vocabulary=vocabulary)
        return PhotoConfig(language=language, prefix_mask="blocks", newline=newline, emitted=pieces)


RECIPES: Mapping[str, PhotoRun] = {
    "nano": PhotoRun(),
    "tiny": PhotoRun(size="tiny", steps=20, batch_size=4, micro_batch=4, views=1, vocabulary=900),
}
"""By size."""
