"""The EfficientNet-Lites of the package efficientnet_lite_pytorch by its names of models, which are ours."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from tapetum.encoders.architectures import changed
from tapetum.encoders.config import Architecture
from tapetum.encoders.convolutional_config import LITES
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables.convolutional import classes_in, lites_like, port_lite_rows, with_counters
from tapetum.encoders.tables.rows import NameRow


def describe(
    architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Architecture, dict[str, Tensor]] | None:
    """Describe what the weights of a model of the package are; None for a model that is not known here."""
    if not isinstance(architecture, str) or architecture not in LITES:
        return None
    return changed(LITES[architecture], {"classes": classes_in(state, "_fc.bias")}), with_counters(state)


def candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the models of the package that weights may be of, by names and numbers of their tensors."""
    yield from lites_like(state, "._depthwise_conv.weight")


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """List the package's names for an encoder; None where it has no such network."""
    return port_lite_rows(encoder) if isinstance(encoder, EfficientNetLite) else None
