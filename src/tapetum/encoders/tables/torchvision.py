"""torchvision's ResNets and Swins by its names of models.

The weights do not say how their images were prepared: it is taken to be what torchvision's first weights want (shorter side
to 256, centre of 224, bilinear). Its second weights ("V2") want 232 instead of 256: say so with `preprocessing`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.encoders.architectures import changed
from tapetum.encoders.config import Architecture
from tapetum.encoders.convolutional_config import RESNETS, SWIN_PREPROCESSING, SWINS
from tapetum.encoders.features import Encoder
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.swin import Swin
from tapetum.encoders.tables.convolutional import (
    blocks_in,
    classes_in,
    resnet_rows,
    resnets_like,
    swins_like,
    torchvision_swin_rows,
    with_counters,
)
from tapetum.encoders.tables.rows import NameRow


def _swin(size: str, side: int) -> tuple[Architecture, str]:
    return replace(SWINS[f"swin-{size}"], preprocessing=replace(SWIN_PREPROCESSING, crop_fraction=224 / side)), "head.bias"


KNOWN = {
    **{name.replace("-", ""): (base, "fc.bias") for name, base in RESNETS.items()},
    **{f"swin_{size}": _swin(size, side) for size, side in (("t", 232), ("s", 246), ("b", 238))},
}
"""Names of torchvision, such as resnet50 and swin_t, to what they are and the bias of the classifier."""


def describe(
    architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Architecture, dict[str, Tensor]] | None:
    """Describe what the weights of a model of torchvision are; None for a model that is not known here."""
    if not isinstance(architecture, str) or architecture not in KNOWN:
        return None
    base, bias = KNOWN[architecture]
    return changed(base, {"classes": classes_in(state, bias)}), with_counters(state)


def candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the models of torchvision that weights may be of, by names and numbers of their tensors."""
    yield from resnets_like(state)
    depths = tuple(blocks_in(state, f"features.{2 * i + 1}.{{}}.attn.qkv.weight") for i in range(4))
    yield from (f"swin_{name[-1]}" for name in swins_like(state, "features.0.0.weight", depths) if name != "swin-l")


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """List torchvision's names for an encoder; None where it has no such network."""
    if isinstance(encoder, Swin):
        return torchvision_swin_rows(encoder)
    return resnet_rows(encoder) if isinstance(encoder, ResNet) and encoder.config.usual else None
