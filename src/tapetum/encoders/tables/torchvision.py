"""torchvision's ResNets by its names of models.

The weights do not say how their pictures were prepared: it is taken to be what torchvision's first weights want (shorter side
to 256, centre of 224, bilinear). Its second weights ("V2") want 232 instead of 256: say so with `preprocessing`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tapetum.encoders.config import Architecture, changed
from tapetum.encoders.features import Encoder
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.resnet_config import NAMED
from tapetum.encoders.tables.convolutional import classes_in, resnet_rows, with_counters
from tapetum.encoders.tables.rows import Row

NAMES = {name.replace("-", ""): name for name in NAMED}
"""Names of torchvision to ours, such as resnet50 to resnet-50."""


def describe(
    architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Architecture, dict[str, Tensor]] | None:
    """Tell what the weights of a model of torchvision are; None for a model that is not known here."""
    if not isinstance(architecture, str) or architecture not in NAMES:
        return None
    return changed(NAMED[NAMES[architecture]], {"classes": classes_in(state, "fc.bias")}), with_counters(state)


def rows(encoder: Encoder, source: str) -> list[Row] | None:
    """Give torchvision's names for an encoder; None where it has no such network."""
    return resnet_rows(encoder) if isinstance(encoder, ResNet) and encoder.config.stem == "7x7" else None
