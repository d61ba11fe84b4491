"""The ResNets of transformers (ResNetModel, ResNetForImageClassification) by their config."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture
from tapetum.encoders.convolutional_config import RESNET_PREPROCESSING, ResNetConfig
from tapetum.encoders.features import Encoder
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.tables.convolutional import classes_in, huggingface_resnet_rows, with_counters
from tapetum.encoders.tables.rows import NameRow


def describe(
    architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Architecture, dict[str, Tensor]] | None:
    """Describe the weights of a transformers ResNet from `model.config.to_dict()`; None for another model."""
    if isinstance(architecture, str) or architecture.get("model_type") != "resnet":
        return None
    given = {"layer_type": "bottleneck", "depths": (3, 4, 6, 3), "embedding_size": 64, "hidden_act": "relu"} | dict(
        architecture
    )
    config = ResNetConfig(
        block=given["layer_type"],
        depths=tuple(given["depths"]),
        stem_width=given["embedding_size"],
        classes=classes_in(state, "classifier.1.bias"),
    )
    widths = tuple(given.get("hidden_sizes", (256, 512, 1024, 2048)))
    odd = [name for name in ("downsample_in_first_stage", "downsample_in_bottleneck") if given.get(name)]
    if widths != config.channels or given["hidden_act"] != "relu" or odd:
        raise BadInput(
            f"a ResNet of transformers with hidden_sizes {widths}, {given['hidden_act']} and {', '.join(odd) or 'no options'} "
            f"is none of ours, which would have {config.channels}, relu and no options"
        )
    return Architecture(family="resnet", config=config, preprocessing=RESNET_PREPROCESSING), with_counters(state)


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """List transformers' names for an encoder; None if it has no such network."""
    if not isinstance(encoder, ResNet) or not encoder.config.usual:
        return None
    return huggingface_resnet_rows(encoder, "" if encoder.head is None else "resnet.")
