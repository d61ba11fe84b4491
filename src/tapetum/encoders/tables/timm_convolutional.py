"""timm's convolutional networks by its names of models, each with the preprocessing that timm gives its name and tag; without
a tag, that of its first choice of weights."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.encoders.architectures import changed
from tapetum.encoders.config import HALF, Architecture, Preprocessing, half, imagenet
from tapetum.encoders.convolutional_config import LITES, NFNETS, RESNETS, SWINS
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.features import Encoder
from tapetum.encoders.nfnet import NFNet
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.swin import Swin
from tapetum.encoders.tables.convolutional import (
    blocks_in,
    classes_in,
    lites_like,
    nfnet_rows,
    resnet_rows,
    resnets_like,
    swin_rows,
    swins_like,
    timm_lite_rows,
    with_counters,
)
from tapetum.encoders.tables.rows import NameRow


def _resnet(name: str) -> tuple[Architecture, str]:
    return RESNETS[name], "fc.bias"


def _swin(name: str) -> tuple[Architecture, str]:
    return SWINS[name], "head.fc.bias"


def _nfnet(gamma_in_weights: bool) -> tuple[Architecture, str]:
    base = replace(NFNETS["nfnet-f0"], preprocessing=imagenet(192, 0.9))
    if gamma_in_weights:
        return changed(base, {"gamma_in_weights": True, "skip_gain": False, "same_padding": False}), "head.fc.bias"
    return replace(base, preprocessing=replace(base.preprocessing, resize="squash")), "head.fc.bias"


def _lite(number: int, crop: float) -> tuple[Architecture, str]:
    base = LITES[f"efficientnet-lite{number}"]
    how = replace(base.preprocessing, crop_fraction=crop, mean=HALF, std=HALF)
    return replace(base, preprocessing=how), "classifier.bias"


MODELS = {
    **{name.replace("-", ""): _resnet(name) for name in RESNETS},
    **{f"swin_{size}_patch4_window7_224": _swin(f"swin-{size[0]}") for size in ("tiny", "small", "base", "large")},
    "nfnet_f0": _nfnet(True),
    "dm_nfnet_f0": _nfnet(False),
    **{f"tf_efficientnet_lite{number}": _lite(number, crop) for number, crop in ((0, 0.875), (1, 0.882), (2, 0.89))},
}
"""timm's name of a model to what it is, and the bias of its classifier."""

_RESNETS: tuple[tuple[str, Preprocessing], ...] = (
    (r"resnet50\.a1h_", imagenet(176, 0.9)),
    (r"\w+\.a3_", imagenet(160, 0.95)),
    (r"\w+\.tv2_", replace(imagenet(176), interpolation="bilinear")),
    (r"\w+\.(tv|fb)_", replace(imagenet(224), interpolation="bilinear")),
    (r"\w+\.(gluon|am|bt|ra|ram)_|resnet200", imagenet(224)),
    (r"\w+\.bamboo", imagenet(224, 1.0)),
    (r"\w+\.ra4_", half(224)),
    (r"", imagenet(224, 0.95)),
)
"""Beginnings of the names of ResNets with their tags to how images are prepared; the first that fits is taken."""


def describe(
    architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Architecture, dict[str, Tensor]] | None:
    """Describe the weights of a model of timm, whose name may end in a tag (".a1_in1k"); None where it is unknown here."""
    name = architecture.partition(".")[0] if isinstance(architecture, str) else ""
    if name not in MODELS:
        return None
    base, bias = MODELS[name]
    if name.startswith("resnet"):
        base = replace(base, preprocessing=next(how for pattern, how in _RESNETS if re.match(pattern, str(architecture))))
    return changed(base, {"classes": classes_in(state, bias)}), with_counters(state)


def candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the models of timm that weights may be of, by names and numbers of their tensors."""
    yield from resnets_like(state)
    depths = tuple(blocks_in(state, f"layers.{i}.blocks.{{}}.attn.qkv.weight") for i in range(4))
    sizes = {"t": "tiny", "s": "small", "b": "base", "l": "large"}
    for name in swins_like(state, "patch_embed.proj.weight", depths):
        yield f"swin_{sizes[name[-1]]}_patch4_window7_224"
    if "stem.conv4.weight" in state:
        yield "dm_nfnet_f0" if any(name.endswith("skipinit_gain") for name in state) else "nfnet_f0"
    yield from (f"tf_{name.replace('-', '_')}" for name in lites_like(state, ".conv_dw.weight"))


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """List timm's names for an encoder; None where it has no such network."""
    if isinstance(encoder, ResNet):
        return resnet_rows(encoder) if encoder.config.usual else None
    if isinstance(encoder, NFNet):
        return nfnet_rows(encoder)
    if isinstance(encoder, Swin):
        return swin_rows(encoder)
    return timm_lite_rows(encoder) if isinstance(encoder, EfficientNetLite) else None
