"""Configs of adapters and of their sites. Imports no torch.

Source: Lossless Adaptation of Pretrained Vision Models for Robotic Manipulation (arXiv 2304.06600), sections 3 and 4. A
network is cut by function into bottom (what sees the raw image), middle (most of the weights) and top (what makes one
vector of a map).

Differs from the paper, whose full text was not available: ranks, activation and initial values are settings, and the last layer
of an adapter starts at 0, so that the adapted network initially equals the trunk exactly. The paper's two-layer policy network
is not an adapter here but part of the policy (`tapetum.systems.adapters.task`).
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields

Section = Literal["bottom", "middle", "top"]
Form = Literal["series", "parallel", "bottleneck", "lora"]
SECTIONS: tuple[Section, ...] = get_args(Section)
PRESETS = (*SECTIONS, "bottom-middle", "bottom-top", "middle-top", "bottom-middle-top", "all-blocks")
LEAST_RANK, MOST_RANK = 8, 64
"""Limits of the ranks that are chosen where none is given."""


def default_rank(width: int, form: str) -> int:
    """Choose the inner channels of an adapter: a twelfth of the width, or an eighth for a bottleneck with a convolution.

    >>> [default_rank(width, "series") for width in (192, 384, 768, 1024)]  # ViT-Ti, S, B and L
    [16, 32, 64, 64]
    """
    return max(LEAST_RANK, width // 8) if form == "bottleneck" else max(LEAST_RANK, min(MOST_RANK, width // 12))


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Which adapters to attach; what is None is chosen by the size of the trunk.

    >>> AdapterConfig(preset="bottom-top").sections
    ('bottom', 'top')
    """

    preset: str = "bottom-middle-top"
    """One of PRESETS; not used where there are addresses."""
    addresses: tuple[str, ...] = ()
    """Modules by name instead of a preset, such as "blocks.3.mlp" or "stages.2.0"; "" stands for the pooled vector of an
    encoder."""
    maps: Literal["parallel", "series", "bottleneck"] = "parallel"
    """Form on maps of convolutional networks: parallel, a 1x1 convolution beside a k x k one; series, a 1x1 convolution of
    what a block gives, added to it; bottleneck, the same through fewer channels and a depthwise 3x3."""
    kernel: Literal[1, 3] = 1
    """Side of the convolutions of `parallel` and `series` on maps: 3 also mixes neighbours, with nine times as many numbers."""
    tokens: Literal["series", "parallel", "lora"] = "series"
    """Form on tokens and vectors, a bottleneck of two linear layers: series, of what a module gives; parallel, of what it gets;
    lora, without activation, inside linear layers alone (arXiv 2106.09685)."""
    middle: int | None = None
    """Adapters of the middle of a vision transformer: at its first, middle and last blocks, a third each; None: 6, as in the
    paper."""
    rank: int | None = None
    """Inner channels of bottlenecks; None: `default_rank`."""
    activation: str = "gelu"
    scale: bool = False
    """Each adapter is multiplied by a learned number that starts at 1."""
    init: Literal["zero", "near_zero"] = "zero"
    """First values of the last layer: zero, so that the adapted network is the trunk exactly; near_zero, of deviation `std`."""
    std: float = 1e-3

    def __post_init__(self) -> None:
        if not self.addresses and self.preset not in PRESETS:
            raise BadInput(f"there is no preset {self.preset!r}; it is one of {', '.join(PRESETS)}, or give addresses")
        if len(set(self.addresses)) < len(self.addresses):
            raise BadInput("an address stands twice in the list; name each once")
        check_fields(self, middle="[1, inf)", rank="[1, inf)", std="(0, 1)")

    @property
    def sections(self) -> tuple[Section, ...]:
        """List the parts of the network that the preset adapts, from input to output."""
        return tuple(section for section in SECTIONS if section in ("middle" if self.preset == "all-blocks" else self.preset))


@dataclass(frozen=True, kw_only=True)
class Site:
    """One adapter: where it is and its sizes. A list of these is all that a file needs besides the weights."""

    address: str
    """Name of a module of the trunk; "" is the trunk itself."""
    section: Section
    where: Literal["after", "before", "pooled", "weight"] = "after"
    """after: changes what the module gives; before: what it gets; pooled: the pooled vector among what it gives; weight: the
    weight of a linear layer."""
    form: Form
    inward: int
    """Channels of what the module gets."""
    width: int
    """Channels of what the module gives."""
    axis: Literal[1, -1]
    """Where the channels are: 1 for maps, -1 for tokens and vectors."""
    rank: int = 0
    """Inner channels of bottlenecks; 0 for the forms that are one convolution."""
    stride: int = 1
    """Of the convolution that a parallel one stands beside."""
    kernel: int = 1
    """Side of the convolution of the forms without bottleneck on maps."""
    offset: int = 0
    """Row and column of the first pixel that it sees, so that it sees the middle of the kernel."""
    activation: str = "gelu"
    scale: bool = False

    def __post_init__(self) -> None:
        if min(self.inward, self.width, self.stride) < 1 or min(self.rank, self.offset) < 0 or self.kernel not in (1, 3):
            raise BadInput(f"the adapter at {self.address!r} has impossible sizes ({self}); get the file again")

    @property
    def parameters(self) -> int:
        """Count the adapter's parameters by formula, biases included: 2 D r + r + D for a bottleneck of tokens.

        >>> plain = Site(address="blocks.0.mlp", section="middle", form="series", inward=768, width=768, axis=-1, rank=64)
        >>> plain.parameters == 2 * 768 * 64 + 64 + 768
        True
        """
        inward = self.inward if self.form in ("parallel", "lora") else self.width
        scale = int(self.scale)
        if self.form == "lora":
            return self.rank * (inward + self.width) + scale
        if not self.rank:
            return inward * self.width * self.kernel**2 + scale
        depthwise = 10 * self.rank if self.form == "bottleneck" else 0
        return inward * self.rank + self.rank + depthwise + self.rank * self.width + self.width + scale


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def check_name(name: Any) -> str:
    """Check the name of an adapter; raises BadInput for an invalid one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInput(f"an adapter is named {name!r}; use letters, digits, - and _")
    return name
