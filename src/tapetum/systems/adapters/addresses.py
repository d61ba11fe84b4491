"""Places of adapters: a table of families, and from it the places of each preset (arXiv 2304.06600, section 3).

    vision transformers   bottom: after the patches. Middle: after the MLP of blocks 0, 1, 5, 6, 10 and 11 of 12, before it is
                          added.
    convolutional         bottom: beside the first convolution. Middle: beside the first convolution of each stage, but in the
                          last after its end: four in all. In series: after the first norm (and activation), after the blocks.
                          What stands after a block where 1x1 convolutions are beside is a bottleneck: C x C numbers there would
                          be a fifth of a ResNet-50.
    all                   top: on the pooled vector.

The paper has no EfficientNet-Lite: of its seven stages those count that halve the image, and the last for the end.

A family is known by the names of classes, so that neither timm nor torchvision is imported. Presets come from this table
alone; no name is guessed from a part of it. A trunk of another kind can have a method `adapter_addresses()`; then
"all-blocks" and addresses by name work for it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder
from tapetum.systems.adapters.config import AdapterConfig, Section

Where = Literal["after", "before", "pooled", "weight"]
"""As in `Site.where`."""


@dataclass(frozen=True, kw_only=True)
class AdapterPlace:
    """An address with what an adapter does there."""

    address: str
    section: Section
    where: Where = "after"
    beside: bool = False
    """A 1x1 convolution stands beside the convolution at the address, not after it."""


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """Names in a vision transformer."""

    patches: str
    blocks: str
    """The list of blocks."""
    pooled: tuple[str, Where]
    """Where the pooled vector is changed."""
    mlp: str = "mlp"
    maps = False


@dataclass(frozen=True, kw_only=True)
class Convolutional:
    """Names in a convolutional network."""

    stem: str
    """The first convolution."""
    stem_end: str
    """What follows it, up to the first activation where that is a module."""
    stages: tuple[str, ...]
    """Lists of blocks, of which the first four halves of the image are made; the last is the end."""
    conv: str
    """First convolution in a block."""
    pooled: tuple[str, Where]
    end: str = ""
    """List of blocks whose last one the last adapter of the middle follows, if it is none of `stages`."""
    maps = True


Layout = Transformer | Convolutional


def _stages(name: str, numbers: Sequence[int] = range(4)) -> tuple[str, ...]:
    return tuple(name.format(i) for i in numbers)


_TIMM_RESNET = Convolutional(
    stem="conv1", stem_end="act1", stages=_stages("layer{}", range(1, 5)), conv="conv1", pooled=("global_pool", "after")
)

FAMILIES: dict[str, Layout] = {
    "tapetum.encoders.vit:ViT": Transformer(patches="patches", blocks="blocks", pooled=("", "pooled")),
    "tapetum.encoders.towers:Towers": Transformer(patches="image.patches", blocks="image.blocks", pooled=("image", "pooled")),
    "tapetum.systems.longvideo.encoder:VideoEncoder": Transformer(
        patches="tubelets.video", blocks="blocks", pooled=("pooled_end", "after")
    ),
    "tapetum.encoders.resnet:ResNet": Convolutional(
        stem="stem", stem_end="stem_norm", stages=_stages("stages.{}"), conv="convs.0", pooled=("", "pooled")
    ),
    "tapetum.encoders.nfnet:NFNet": Convolutional(
        stem="stem.0", stem_end="stem.3", stages=_stages("stages.{}"), conv="convs.0", pooled=("", "pooled")
    ),
    "tapetum.encoders.efficientnet_lite:EfficientNetLite": Convolutional(
        stem="stem",
        stem_end="stem_norm",
        stages=_stages("stages.{}", (1, 2, 3, 5)),
        end="stages.6",
        conv="expand",
        pooled=("", "pooled"),
    ),
    "timm.models.vision_transformer:VisionTransformer": Transformer(
        patches="patch_embed", blocks="blocks", pooled=("fc_norm", "after")
    ),
    "timm.models.resnet:ResNet": _TIMM_RESNET,
    "timm.models.nfnet:NormFreeNet": Convolutional(
        stem="stem.conv1",
        stem_end="stem.conv4",
        stages=_stages("stages.{}"),
        conv="conv1",
        pooled=("head.global_pool", "after"),
    ),
    "timm.models.efficientnet:EfficientNet": Convolutional(
        stem="conv_stem",
        stem_end="bn1",
        stages=_stages("blocks.{}", (1, 2, 3, 5)),
        end="blocks.6",
        conv="conv_pw",
        pooled=("global_pool", "after"),
    ),
    "torchvision.models.vision_transformer:VisionTransformer": Transformer(
        patches="conv_proj", blocks="encoder.layers", pooled=("heads", "before")
    ),
    "torchvision.models.resnet:ResNet": Convolutional(
        stem="conv1", stem_end="relu", stages=_stages("layer{}", range(1, 5)), conv="conv1", pooled=("avgpool", "after")
    ),
}
"""By module and name of the class, or of one that it inherits from."""
KNOWN = (
    "ViT, ResNet, NFNet and EfficientNet-Lite of tapetum.encoders and timm, "
    "CLIP and SigLIP of tapetum.encoders, video encoders of tapetum.systems.longvideo, ViT and ResNet of torchvision"
)
"""The same in words."""


def layout_of(trunk: nn.Module) -> Layout | None:
    """Find the family of a trunk; None for others."""
    names = (f"{kind.__module__}:{kind.__qualname__}" for kind in type(trunk).__mro__)
    return next((FAMILIES[name] for name in names if name in FAMILIES), None)


def places(trunk: nn.Module, config: AdapterConfig) -> list[AdapterPlace]:
    """List the places that a config names in a trunk, from its input to its output.

    Raises BadInput for a trunk of no known family (the message lists those that are known), for an address that the trunk has
    not, and for a layout that its family should have and this trunk has not.
    """
    layout = layout_of(trunk)
    if config.addresses:
        return [_named(trunk, layout, address, config) for address in config.addresses]
    if layout is None:
        return _own_addresses(trunk, config)
    chosen: list[AdapterPlace] = []
    for section in config.sections:
        if isinstance(layout, Transformer):
            chosen += _of_transformer(trunk, layout, section, config)
        else:
            chosen += _of_convolutional(trunk, layout, section, config)
    for place in chosen:
        _check(trunk, place.address)
    return chosen


def middle_blocks(depth: int, count: int | None) -> list[int]:
    """Choose blocks of a transformer for adapters of the middle: a third at the beginning, in the middle and at the end.

    >>> middle_blocks(12, None), middle_blocks(24, 3), middle_blocks(2, None)
    ([0, 1, 5, 6, 10, 11], [0, 12, 23], [0, 1])
    """
    count = min(depth, 6 if count is None else count)
    first, last = -(-count // 3), count // 3
    middle = count - first - last
    start = max(first, min((depth - middle + 1) // 2, depth - last - middle))
    return [*range(first), *range(start, start + middle), *range(depth - last, depth)]


def chain(trunk: nn.Module) -> list[str]:
    """List the blocks of a trunk of a known family in the order in which they are passed; none for others."""
    layout = layout_of(trunk)
    if layout is None:
        return []
    return _children(trunk, layout.blocks) if isinstance(layout, Transformer) else _all_blocks(trunk, layout)


def _of_transformer(trunk: nn.Module, names: Transformer, section: Section, config: AdapterConfig) -> list[AdapterPlace]:
    if section == "bottom":
        return [AdapterPlace(address=names.patches, section=section)]
    if section == "top":
        return [AdapterPlace(address=names.pooled[0], section=section, where=names.pooled[1])]
    blocks = [f"{names.blocks}.{name}" for name, _ in _module(trunk, names.blocks).named_children()]
    chosen = range(len(blocks)) if config.preset == "all-blocks" else middle_blocks(len(blocks), config.middle)
    return [AdapterPlace(address=f"{blocks[i]}.{names.mlp}", section=section) for i in chosen]


def _of_convolutional(trunk: nn.Module, names: Convolutional, section: Section, config: AdapterConfig) -> list[AdapterPlace]:
    beside = config.maps == "parallel"
    if section == "bottom":
        return [AdapterPlace(address=names.stem if beside else names.stem_end, section=section, beside=beside)]
    if section == "top":
        return [AdapterPlace(address=names.pooled[0], section=section, where=names.pooled[1])]
    if config.preset == "all-blocks":
        return [_at_block(trunk, block, names, beside) for block in _all_blocks(trunk, names)]
    blocks = [_children(trunk, stage) for stage in names.stages]
    last = _children(trunk, names.end)[-1] if names.end else blocks[-1][-1]
    firsts = [stage[0] for stage in blocks[:-1]]
    return [*(_at_block(trunk, block, names, beside) for block in firsts), AdapterPlace(address=last, section="middle")]


def _at_block(trunk: nn.Module, block: str, names: Convolutional, beside: bool) -> AdapterPlace:
    conv = f"{block}.{names.conv}"
    own = dict(_module(trunk, block).named_modules())
    if beside and names.conv in own:
        return AdapterPlace(address=conv, section="middle", beside=True)
    return AdapterPlace(address=block, section="middle")


def _all_blocks(trunk: nn.Module, names: Convolutional) -> list[str]:
    """Blocks of all stages: those that stand beside the stages named, under the same parent."""
    parent, _, leaf = names.stages[0].rpartition(".")
    lists = [f"{parent}.{name}" for name, _ in _module(trunk, parent).named_children()] if leaf.isdigit() else names.stages
    return [block for stage in lists for block in _children(trunk, stage)]


def _children(trunk: nn.Module, address: str) -> list[str]:
    return [f"{address}.{name}" for name, _ in _module(trunk, address).named_children()]


def _own_addresses(trunk: nn.Module, config: AdapterConfig) -> list[AdapterPlace]:
    """The places of a trunk that no table knows and that says itself where adapters fit."""
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


def _named(trunk: nn.Module, layout: Layout | None, address: str, config: AdapterConfig) -> AdapterPlace:
    if address == "":
        if layout is None and isinstance(trunk, Encoder):
            return AdapterPlace(address="", section="top", where="pooled")
        if layout is None:
            raise BadInput(f"only an encoder has a pooled vector of its own, a {type(trunk).__name__} has not; give a module")
        return AdapterPlace(address=layout.pooled[0], section="top", where=layout.pooled[1])
    module = _check(trunk, address)
    if config.tokens == "lora" and isinstance(module, nn.Linear):
        return AdapterPlace(address=address, section="middle", where="weight")
    beside = config.maps == "parallel" and isinstance(module, nn.Conv2d) and not (layout and not layout.maps)
    section: Section = "middle"
    if layout is not None and address in (_bottoms(layout)):
        section = "bottom"
    return AdapterPlace(address=address, section=section, beside=beside)


def _bottoms(layout: Layout) -> tuple[str, ...]:
    return (layout.patches,) if isinstance(layout, Transformer) else (layout.stem, layout.stem_end)


def _module(trunk: nn.Module, address: str) -> nn.Module:
    return _check(trunk, address)


def _check(trunk: nn.Module, address: str) -> nn.Module:
    try:
        return trunk.get_submodule(address)
    except AttributeError as error:
        names = [name for name, _ in trunk.named_modules() if name]
        raise BadInput(
            f"this {type(trunk).__name__} has no module {address!r}; it has {', '.join(names[:4])} and so on"
        ) from error
