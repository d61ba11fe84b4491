"""Adapter sites from places in a trunk, with sizes observed in a forward pass.

An image goes through the trunk once, recording the shapes of every module's inputs and outputs. So a place that is never run,
or outputs no tensor, is refused when attaching an adapter, not discovered after training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder
from tapetum.systems.adapters.addresses import AdapterPlace, layout_of
from tapetum.systems.adapters.config import AdapterConfig, Site, default_rank


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
    common = {"address": address, "section": place.section, "where": place.where}
    if place.where == "weight":
        return _low_rank(module, common, config)
    shapes = passed.get(address)
    if shapes is None:
        raise BadInput(
            f"the module {address!r} of this {type(trunk).__name__} is never called by itself, so an adapter there would do "
            "nothing; name the one that holds it"
        )
    if place.where == "pooled":
        if shapes.pooled is None:
            raise BadInput(f"{address or type(trunk).__name__!r} gives no pooled vector; name another module")
        return _bottleneck(common, shapes.pooled, shapes.pooled, -1, config, "series")
    shape = shapes.inward if place.where == "before" else shapes.outward
    if shape is None or len(shape) < 2:
        what = "no tensor" if shape is None else f"a tensor of shape {shape}"
        raise BadInput(f"the module {address!r} gives {what}, which an adapter cannot change; name another module")
    layout = layout_of(trunk)
    transformer = layout is not None and layout.transformer
    return _of_shape(module, place, shapes, shape, common, config, transformer=transformer)


def _of_shape(
    module: nn.Module,
    place: AdapterPlace,
    shapes: Passed,
    shape: tuple[int, ...],
    common: dict[str, Any],
    config: AdapterConfig,
    *,
    transformer: bool,
) -> Site:
    if place.beside:
        return _beside(module, place.address, shapes, shape, {**common, "scale": config.scale, "kernel": config.kernel})
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
    return Site(**common, form="series", inward=width, width=width, axis=1, kernel=config.kernel, scale=config.scale)


def _bottleneck(common: dict[str, Any], inward: int, width: int, axis: Any, config: AdapterConfig, form: Any) -> Site:
    sizes = {"inward": inward, "width": width, "axis": axis, "rank": config.rank or default_rank(width, form)}
    return Site(**common, **sizes, form=form, activation=config.activation, scale=config.scale)


def _beside(module: nn.Module, address: str, shapes: Passed, shape: tuple[int, ...], common: dict[str, Any]) -> Site:
    if not isinstance(module, nn.Conv2d) or shapes.inward is None:
        raise BadInput(
            f"{address!r} is no convolution, beside which a 1x1 one could stand; give maps='series', or another address"
        )
    if len(set(module.stride)) > 1 or len(set(module.kernel_size)) > 1 or len(set(module.dilation)) > 1:
        raise BadInput(f"the convolution {address!r} is not the same along rows and columns; give maps='series'")
    stride, kernel = module.stride[0], module.kernel_size[0]
    # the pixel under the middle of the kernel; padding that the module adds by itself keeps it at the first one
    own = type(module) is not nn.Conv2d and kernel > stride and shape[2] == -(-shapes.inward[2] // stride)
    padding = module.padding[0] if isinstance(module.padding, tuple) else 0
    same = isinstance(module.padding, str) or (own and not padding)
    offset = 0 if same else max(0, kernel // 2 * module.dilation[0] - padding)
    return Site(**common, form="parallel", inward=shapes.inward[1], width=shape[1], axis=1, stride=stride, offset=offset)


def _low_rank(module: nn.Module, common: dict[str, Any], config: AdapterConfig) -> Site:
    if not isinstance(module, nn.Linear):
        raise BadInput(
            f"{common['address']!r} is no linear layer, which lora changes; give tokens='series', or another address"
        )
    inward, width = module.in_features, module.out_features
    rank = config.rank or 8
    return Site(**common, form="lora", inward=inward, width=width, axis=-1, rank=rank, scale=config.scale)
