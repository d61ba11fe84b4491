"""Places of adapters: the modules of a trunk that each preset selects (arXiv 2304.06600, section 3), and the sites there.

    vision transformers   bottom: after the patches. Middle: after the MLP of blocks 0, 1, 5, 6, 10 and 11 of 12, before it is
                          added.
    convolutional         bottom: beside the first convolution. Middle: beside the first convolution of each stage, but in the
                          last after its end: four in all. In series: after the first norm (and activation), after the blocks.
                          What stands after a block where 1x1 convolutions are beside is a bottleneck: C x C numbers there would
                          be a fifth of a ResNet-50.
    all                   top: on the pooled vector.

The paper has no EfficientNet-Lite: of its seven stages, those that halve the image count, and the last for the end.

Networks of this package declare where adapters fit (`adapter_addresses()`, `AdapterNames`), as any trunk can; those of timm and
torchvision are in a table by class name, so that neither is imported. A site is a place with its sizes, found by passing an
image through the trunk once.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder, passed_layers
from tapetum.encoders.towers import Towers
from tapetum.encoders.vit import ViT
from tapetum.layers.transformer import AdapterNames
from tapetum.systems.adapters.config import AdapterConfig, Section, Site, default_rank


@dataclass(frozen=True, kw_only=True)
class AdapterPlace:
    """An address with what an adapter does there."""

    address: str
    section: Section
    where: Literal["after", "before", "pooled", "weight"] = "after"
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


def places(trunk: nn.Module, config: AdapterConfig, example: Any = None) -> list[AdapterPlace]:
    """List the places that a config selects in a trunk, from its input to its output.

    Of a trunk of no known family they are where its `adapter_addresses()` says, or after the linear and convolutional layers
    that an `example` passes. Raises BadInput for such a trunk without either (the message lists the known ones), for an
    address that the trunk lacks, and for a trunk that lacks the layout of its family.
    """
    layout = layout_of(trunk)
    if config.addresses:
        return [_named(trunk, layout, address, config) for address in config.addresses]
    if layout is None:
        if config.preset != "all-blocks":
            raise BadInput(
                f"{type(trunk).__name__} is of no known family: known are {KNOWN}. Its bottom, middle and top are not known; "
                "give preset='all-blocks', or addresses"
            )
        if hasattr(trunk, "adapter_addresses"):
            names: tuple[str, ...] = trunk.adapter_addresses()  # pyright: ignore[reportCallIssue]
        else:
            names = passed_layers(trunk, *(example if isinstance(example, tuple) else (example,)))
        return [AdapterPlace(address=address, section="middle") for address in names]
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
        return [AdapterPlace(address=names.pooled, section=section, where=names.where)]
    every = config.preset == "all-blocks"
    if layout.transformer:
        chosen = blocks if every else [blocks[i] for i in middle_blocks(len(blocks), config.middle)]
        return [AdapterPlace(address=f"{block}.{names.inside}", section=section) for block in chosen]
    firsts = [next(stage) for _, stage in groupby(blocks, lambda block: block.rpartition(".")[0])]
    chosen = blocks if every else firsts[names.first_stage : names.first_stage + 3]
    modules = dict(trunk.named_modules())
    inner = {block: f"{block}.{names.inside}" for block in chosen if beside and f"{block}.{names.inside}" in modules}
    at = [AdapterPlace(address=inner.get(block, block), section=section, beside=block in inner) for block in chosen]
    return at if every else [*at, AdapterPlace(address=blocks[-1], section=section)]


def _named(trunk: nn.Module, layout: TrunkLayout | None, address: str, config: AdapterConfig) -> AdapterPlace:
    if address == "":
        if layout is None and isinstance(trunk, Encoder):
            return AdapterPlace(address="", section="top", where="pooled")
        if layout is None:
            raise BadInput(f"only an encoder has a pooled vector of its own, a {type(trunk).__name__} has not; give a module")
        return AdapterPlace(address=layout.names.pooled, section="top", where=layout.names.where)
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
        raise BadInput(f"this {type(trunk).__name__} has no module {address!r}; it has {', '.join(names[:4])}, ...") from error


@dataclass(frozen=True)
class Passed:
    """What passed a module: shapes, None where it was no tensor."""

    inward: tuple[int, ...] | None
    outward: tuple[int, ...] | None
    pooled: int | None
    """Channels of the pooled vector among what came out, where there is one."""


def example_for(trunk: nn.Module) -> Tensor:
    """Make an image or a video of zeros that a trunk of a known family takes. Raises BadInput for other trunks."""
    layout = layout_of(trunk)
    first = next(trunk.parameters())
    config: Any = getattr(trunk, "config", None)
    if layout is not None and hasattr(config, "tubelet"):
        return torch.zeros(1, config.tubelet[0], *config.size, 3, device=first.device, dtype=first.dtype)
    size: Any = None
    if layout is not None and isinstance(trunk, Encoder):
        size = (64, 64)
        if layout.transformer:
            patch: Any = getattr(trunk, "image", trunk).config
            size = (2 * patch.patch, 2 * patch.patch)
    elif hasattr(trunk, "default_cfg"):  # timm
        size = (64, 64)
        if layout is not None and layout.transformer:
            size = trunk.patch_embed.img_size  # pyright: ignore[reportAttributeAccessIssue]
    elif layout is not None:  # torchvision
        side = getattr(trunk, "image_size", 64)
        size = (side, side)
    elif isinstance(trunk, Encoder):
        size = trunk.preprocessing.size
    if size is None:
        raise BadInput(f"what does a {type(trunk).__name__} take? give attach an example, such as torch.zeros(1, 3, 224, 224)")
    return torch.zeros(1, 3, *size, device=first.device, dtype=first.dtype)


def observe(frozen: nn.Module, example: Any) -> dict[str, Passed]:
    """Pass an example (a tensor, or a tuple of arguments) through a frozen copy and record every module's inputs and outputs.

    Raises BadInput if the trunk does not take it.
    """
    passed: dict[str, Passed] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
            pooled = getattr(out, "pooled", None)
            first = args[0] if args else next(iter(kwargs.values()), None)
            channels = int(pooled.shape[-1]) if isinstance(pooled, Tensor) else None
            passed.setdefault(name, Passed(_shape(first), _shape(out), channels))

        return hook

    hooks = [module.register_forward_hook(note(name), with_kwargs=True) for name, module in frozen.named_modules()]
    try:
        with torch.no_grad():
            frozen(*(example if isinstance(example, tuple) else (example,)))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        line = " ".join(str(error).split())[:100]
        raise BadInput(f"the trunk does not take the example ({line}); give attach one that it takes") from error
    finally:
        for hook in hooks:
            hook.remove()
    return passed


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def site_at(trunk: nn.Module, place: AdapterPlace, passed: Mapping[str, Passed], config: AdapterConfig) -> Site:
    """Make the site of a place. Raises BadInput if no adapter fits."""
    module, address = trunk.get_submodule(place.address), place.address
    common: dict[str, Any] = {"address": address, "section": place.section, "where": place.where, "scale": config.scale}
    if place.where == "weight":
        if not isinstance(module, nn.Linear):
            raise BadInput(f"{address!r} is no linear layer, which lora changes; give tokens='series', or another address")
        inward, width = module.in_features, module.out_features
        return Site(**common, form="lora", inward=inward, width=width, axis=-1, rank=config.rank or 8)
    shapes = passed.get(address)
    if shapes is None:
        raise BadInput(f"the module {address!r} of this {type(trunk).__name__} is never called by itself; name its holder")
    if place.where == "pooled":
        if shapes.pooled is None:
            raise BadInput(f"{address or type(trunk).__name__!r} gives no pooled vector; name another module")
        return _bottleneck(common, shapes.pooled, shapes.pooled, -1, config, "series")
    shape = shapes.inward if place.where == "before" else shapes.outward
    if shape is None or len(shape) < 2:
        what = "no tensor" if shape is None else f"a tensor of shape {shape}"
        raise BadInput(f"the module {address!r} gives {what}, which an adapter cannot change; name another module")
    if place.beside:
        return _beside(module, shapes, shape, {**common, "kernel": config.kernel})
    layout = layout_of(trunk)
    transformer = layout is not None and layout.transformer
    channels = getattr(module, "out_channels", None)
    first = len(shape) == 4 and (channels == shape[1] if isinstance(channels, int) else not transformer)
    axis = 1 if first else -1
    width = shape[axis]
    inward = shapes.inward[axis] if shapes.inward is not None and len(shapes.inward) == len(shape) else width
    if not first or transformer or shape[2:] == (1, 1):
        form = "parallel" if config.tokens == "parallel" and place.section == "middle" else "series"
        return _bottleneck(common, inward if form == "parallel" else width, width, axis, config, form)
    if config.maps == "bottleneck" or (config.maps == "parallel" and place.section == "middle"):
        return _bottleneck(common, width, width, 1, config, "bottleneck")
    return Site(**common, form="series", inward=width, width=width, axis=1, kernel=config.kernel)


def _bottleneck(common: dict[str, Any], inward: int, width: int, axis: Any, config: AdapterConfig, form: Any) -> Site:
    sizes = {"inward": inward, "width": width, "axis": axis, "rank": config.rank or default_rank(width, form)}
    return Site(**common, **sizes, form=form, activation=config.activation)


def _beside(module: nn.Module, shapes: Passed, shape: tuple[int, ...], common: dict[str, Any]) -> Site:
    address = common["address"]
    if not isinstance(module, nn.Conv2d) or shapes.inward is None:
        raise BadInput(f"{address!r} is no convolution, beside which one could stand; give maps='series', or another address")
    if len(set(module.stride)) > 1 or len(set(module.kernel_size)) > 1 or len(set(module.dilation)) > 1:
        raise BadInput(f"the convolution {address!r} is not the same along rows and columns; give maps='series'")
    stride, kernel = module.stride[0], module.kernel_size[0]
    # the pixel under the middle of the kernel; padding that the module adds by itself keeps it at the first one
    own = type(module) is not nn.Conv2d and kernel > stride and shape[2] == -(-shapes.inward[2] // stride)
    padding = module.padding[0] if isinstance(module.padding, tuple) else 0
    same = isinstance(module.padding, str) or (own and not padding)
    offset = 0 if same else max(0, kernel // 2 * module.dilation[0] - padding)
    return Site(**common, form="parallel", inward=shapes.inward[1], width=shape[1], axis=1, stride=stride, offset=offset)
