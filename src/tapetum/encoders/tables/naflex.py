"""Names of transformers' SigLIP 2 NaFlex (Siglip2Model, Siglip2VisionModel), to ours and back (arXiv 2502.14786).

The names are SigLIP's. Two things differ: patches pass through a linear layer whose weight multiplies their values in the order
row, column, colour, which is our convolution reordered; and the config gives the number of patches in the square grid of
positions (`num_patches`), not the image size. A batch here holds images of one grid, so nothing is padded or masked.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, ViTConfig
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables import huggingface
from tapetum.encoders.tables.rows import NameRow
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import TowersConfig, naflex
from tapetum.encoders.vit import ViT

_SAME = {"siglip2": "siglip", "siglip2_vision_model": "siglip_vision_model"}
"""The model_type to that of the kind whose names these are."""


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Interpret a config given as a dict; None for other kinds of models."""
    kind = architecture.get("model_type") if isinstance(architecture, Mapping) else None
    if kind not in _SAME:
        return None
    with_size: dict[str, Any] = {**architecture, "model_type": _SAME[kind]}
    if kind == "siglip2":
        with_size["vision_config"] = _with_size(architecture.get("vision_config") or {})
    else:
        with_size = _with_size(with_size)
    answer = huggingface.describe(with_size, state)
    assert answer is not None
    fixed, named = answer
    if isinstance(fixed.config, TowersConfig):
        image = replace(fixed.config.image, resample="naflex")
        config = replace(fixed.config, image=image)
    else:
        assert isinstance(fixed.config, ViTConfig)
        config = image = replace(fixed.config, resample="naflex")
    return replace(fixed, config=config, preprocessing=naflex(math.prod(image.grid), image.patch)), named


def _with_size(vision: Mapping[str, Any]) -> dict[str, Any]:
    """The config of an image tower, with the image size that its positions are for."""
    patches, patch = vision.get("num_patches", 256), vision.get("patch_size", 16)
    if not (isinstance(patches, int) and isinstance(patch, int) and patches > 0):
        raise BadInput(f"this config has {patches!r} patches of {patch!r} pixels; both are whole numbers in tapetum")
    side = math.isqrt(patches)
    if side * side != patches:
        raise BadInput(f"this config has positions for {patches} patches, which are no square grid; tapetum has no such ViT")
    return {**vision, "image_size": side * patch}


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of names for a NaFlex encoder without class token, alone or as a tower; None for another network."""
    image = encoder.image if isinstance(encoder, Towers) else encoder
    if not isinstance(image, ViT) or image.config.resample != "naflex" or image.config.class_token:
        return None
    table = huggingface.rows(encoder, source)
    return None if table is None else [_flat(row, image.config) for row in table]


def _flat(row: NameRow, config: ViTConfig) -> NameRow:
    if row.ours not in (("patches.weight",), ("image.patches.weight",)):
        return row
    width, patch = config.width, config.patch
    return replace(row, shape=(width, patch * patch * 3), view=(width, patch, patch, 3), order=(0, 3, 1, 2))
