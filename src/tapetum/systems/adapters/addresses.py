"""Places of adapters: the modules of a trunk that each preset selects (arXiv 2304.06600, section 3).

    vision transformers   bottom: after the patches. Middle: after the MLP of blocks 0, 1, 5, 6, 10 and 11 of 12, before it is
                          added.
    convolutional         bottom: beside the first convolution. Middle: beside the first convolution of each stage, but in the
                          last after its end: four in all. In series: after the first norm (and activation), after the blocks.
                          What stands after a block where 1x1 convolutions are beside is a bottleneck: C x C numbers there would
                          be a fifth of a ResNet-50.
    all                   top: on the pooled vector.

The paper has no EfficientNet-Lite: of its seven stages, those that halve the image count, and the last for the end.

Networks of this package declare where adapters fit (`adapter_addresses()`, `AdapterNames`); those of timm and torchvision are
in a table by class name, so that neither is imported. Names are never guessed from parts. Any other trunk can have a method
`adapter_addresses()`; then "all-blocks" and addresses by name work for it too.
"""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from torch import nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder
from tapetum.encoders.towers import Towers
from tapetum.encoders.vit import ViT
from tapetum.layers.transformer import AdapterNames
from tapetum.systems.adapters.config import AdapterConfig, Section


@dataclass(frozen=True, kw_only=True)
class AdapterPlace:
    """An address with what an adapter does there."""

    address: str
    section: Section
    where: Literal["after", "before", "pooled", "weight"] = "after"
    """As in `Site.where`."""
    beside: bool = False
    """A 1x1 convolution stands beside the convolution at the address, not after it."""


@dataclass(frozen=True)
class TrunkLayout:
    """What the presets need to know of a trunk."""

    names: AdapterNames
    blocks: tuple[str, ...]
    """All blocks, in the order in which they are passed."""

    @property
    def transformer(self) -> bool:
        """Check whether the blocks process tokens rather than maps."""
        return self.names.inside == "mlp"


FOREIGN = {
    "timm.models.vision_transformer:VisionTransformer": (
        r"blocks\.\d+",
        AdapterNames("patch_embed", "patch_embed", "mlp", "fc_norm", "after"),
    ),
    "timm.models.resnet:ResNet": (r"layer\d\.\d+", AdapterNames("conv1", "act1", "conv1", "global_pool", "after")),
    "timm.models.nfnet:NormFreeNet": (
        r"stages\.\d+\.\d+",
        AdapterNames("stem.conv1", "stem.conv4", "conv1", "head.global_pool", "after"),
    ),
    "timm.models.efficientnet:EfficientNet": (
        r"blocks\.\d+\.\d+",
        AdapterNames("conv_stem", "bn1", "conv_pw", "global_pool", "after", first_stage=1),
    ),
    "torchvision.models.vision_transformer:VisionTransformer": (
        r"encoder\.layers\.\w+",
        AdapterNames("conv_proj", "conv_proj", "mlp", "heads", "before"),
    ),
    "torchvision.models.resnet:ResNet": (r"layer\d\.\d+", AdapterNames("conv1", "relu", "conv1", "avgpool", "after")),
}
"""By module and name of the class, or of one that it inherits from: a pattern of the names of its blocks, and other names."""
KNOWN = (
    "ViT, ResNet, NFNet and EfficientNet-Lite of tapetum.encoders and timm, "
    "CLIP and SigLIP of tapetum.encoders, video encoders of tapetum.systems.longvideo, ViT and ResNet of torchvision"
)
"""Trunks that the presets know, in words."""


def layout_of(trunk: nn.Module) -> TrunkLayout | None:
    """Find the layout of a trunk; None if its bottom, middle and top are unknown."""
    names: AdapterNames | None = getattr(trunk, "adapter_names", None)
    if isinstance(trunk, ViT | Towers):
        tower = "image" if isinstance(trunk, Towers) else ""
        names = AdapterNames(f"{tower}.patches".lstrip("."), f"{tower}.patches".lstrip("."), "mlp", tower)
    if names is not None:
        addresses: tuple[str, ...] = trunk.adapter_addresses()  # pyright: ignore[reportCallIssue]
        return TrunkLayout(names, tuple(dict.fromkeys(re.sub(r"\.(attention|mlp)$", "", address) for address in addresses)))
    classes = (f"{kind.__module__}:{kind.__qualname__}" for kind in type(trunk).__mro__)
    pattern, names = next((FOREIGN[name] for name in classes if name in FOREIGN), ("", None))
    blocks = tuple(name for name, _ in trunk.named_modules() if re.fullmatch(pattern, name))
    return None if names is None else TrunkLayout(names, blocks)


def places(trunk: nn.Module, config: AdapterConfig) -> list[AdapterPlace]:
    """List the places that a config selects in a trunk, from its input to its output.

    Raises BadInput for a trunk of no known family (the message lists the known ones), for an address that the trunk lacks, and
    for a trunk that lacks the layout of its family.
    """
    layout = layout_of(trunk)
    if config.addresses:
        return [_named(trunk, layout, address, config) for address in config.addresses]
    if layout is None:
        return _own_addresses(trunk, config)
    chosen = [place for section in config.sections for place in _of_section(trunk, layout, section, config)]
    for place in chosen:
        _check(trunk, place.address)
    return chosen


def middle_blocks(depth: int, count: int | None) -> list[int]:
    """Choose blocks of a transformer for middle adapters: a third each at the beginning, in the middle and at the end.

    >>> middle_blocks(12, None), middle_blocks(24, 3), middle_blocks(2, None)
    ([0, 1, 5, 6, 10, 11], [0, 12, 23], [0, 1])
    """
    count = min(depth, 6 if count is None else count)
    first, last = -(-count // 3), count // 3
    middle = count - first - last
    start = max(first, min((depth - middle + 1) // 2, depth - last - middle))
    return [*range(first), *range(start, start + middle), *range(depth - last, depth)]


def chain(trunk: nn.Module) -> list[str]:
    """List the blocks of a trunk of a known family in forward order; none for others."""
    layout = layout_of(trunk)
    return [] if layout is None else list(layout.blocks)


def _of_section(trunk: nn.Module, layout: TrunkLayout, section: Section, config: AdapterConfig) -> list[AdapterPlace]:
    names, blocks = layout.names, layout.blocks
    beside = config.maps == "parallel" and not layout.transformer
    if section == "bottom":
        return [AdapterPlace(address=names.stem if beside else names.stem_end, section=section, beside=beside)]
    if section == "top":
        return [_pooled(names)]
    every = config.preset == "all-blocks"
    if layout.transformer:
        chosen = blocks if every else [blocks[i] for i in middle_blocks(len(blocks), config.middle)]
        return [AdapterPlace(address=f"{block}.{names.inside}", section=section) for block in chosen]
    firsts = [next(stage) for _, stage in groupby(blocks, lambda block: block.rpartition(".")[0])]
    chosen = blocks if every else firsts[names.first_stage : names.first_stage + 3]
    modules = dict(trunk.named_modules())
    at = [
        AdapterPlace(address=f"{block}.{names.inside}", section=section, beside=True)
        if beside and f"{block}.{names.inside}" in modules
        else AdapterPlace(address=block, section=section)
        for block in chosen
    ]
    return at if every else [*at, AdapterPlace(address=blocks[-1], section=section)]


def _pooled(names: AdapterNames) -> AdapterPlace:
    return AdapterPlace(address=names.pooled, section="top", where=names.where)


def _own_addresses(trunk: nn.Module, config: AdapterConfig) -> list[AdapterPlace]:
    """The places of a trunk that is in no table but declares where adapters fit."""
    name = type(trunk).__name__
    if not hasattr(trunk, "adapter_addresses"):
        raise BadInput(
            f"{name} is of no known family: known are {KNOWN}; give addresses of its modules, or the trunk a method "
            "adapter_addresses()"
        )
    if config.preset != "all-blocks":
        raise BadInput(
            f"{name} says where adapters fit, but not what is its bottom, middle and top; give preset='all-blocks', or "
            "addresses"
        )
    return [AdapterPlace(address=address, section="middle") for address in trunk.adapter_addresses()]  # pyright: ignore[reportCallIssue]


def _named(trunk: nn.Module, layout: TrunkLayout | None, address: str, config: AdapterConfig) -> AdapterPlace:
    if address == "":
        if layout is None and isinstance(trunk, Encoder):
            return AdapterPlace(address="", section="top", where="pooled")
        if layout is None:
            raise BadInput(f"only an encoder has a pooled vector of its own, a {type(trunk).__name__} has not; give a module")
        return _pooled(layout.names)
    module = _check(trunk, address)
    if config.tokens == "lora" and isinstance(module, nn.Linear):
        return AdapterPlace(address=address, section="middle", where="weight")
    beside = config.maps == "parallel" and isinstance(module, nn.Conv2d) and not (layout and layout.transformer)
    bottom = layout is not None and address in (layout.names.stem, layout.names.stem_end)
    return AdapterPlace(address=address, section="bottom" if bottom else "middle", beside=beside)


def _check(trunk: nn.Module, address: str) -> nn.Module:
    try:
        return trunk.get_submodule(address)
    except AttributeError as error:
        names = [name for name, _ in trunk.named_modules() if name]
        raise BadInput(
            f"this {type(trunk).__name__} has no module {address!r}; it has {', '.join(names[:4])} and so on"
        ) from error
