"""Adapters folded into the weights of the trunk, where that is exact.

An activation between two layers cannot be folded into a linear one. So merged can be: convolutions beside a plain one whose
kernel is no smaller (into the middle of it), 1x1 convolutions after one (composed with it), and lora. What is merged is a new
network, whose trunk is no longer what it was; equal up to rounding.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.convolutional import SameConv2d
from tapetum.layers.pointwise import PointwiseConv2d
from tapetum.systems.adapters.config import Site
from tapetum.systems.adapters.layers import Adapter, Conv3x3, LowRankAdapter, Pointwise


def obstacle(trunk: nn.Module, site: Site) -> str | None:
    """Explain why the adapter at a site cannot be merged; None where it can."""
    module = trunk.get_submodule(site.address)
    if site.form == "lora":
        return None
    if site.rank:
        return "there is an activation between its layers"
    if type(module) not in (nn.Conv2d, PointwiseConv2d, SameConv2d) or not isinstance(module, nn.Conv2d):
        return f"what it stands at, a {type(module).__name__}, is no plain convolution"
    if site.form == "series":
        return None if site.kernel == 1 else "a 3x3 convolution after another sees beyond the rim of the map"
    if site.kernel > min(module.kernel_size) or (site.kernel > 1 and module.dilation != (1, 1)):
        return "it sees pixels that the convolution beside it does not"
    if module.groups != 1 or (type(module) is SameConv2d and module.stride != (1, 1)):
        return "the convolution beside it sees other channels or pixels"
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return f"the convolution beside it is padded by {module.padding_mode}"
    beyond = type(module) is nn.Conv2d and module.padding[0] > module.kernel_size[0] // 2 * module.dilation[0]
    return "the convolution beside it is padded by more than half its kernel" if beyond else None


def merged(trunk: nn.Module, adapters: Mapping[Site, Adapter]) -> nn.Module:
    """Copy a trunk and fold adapters into the copy's weights, in the mode of the trunk.

    Raises BadInput, naming the first that cannot be folded and why.
    """
    for site in adapters:
        if reason := obstacle(trunk, site):
            raise BadInput(
                f"the adapter at {site.address or 'pooled'} cannot be merged: {reason}; export the network with its adapters"
            )
    made = copy.deepcopy(trunk)
    with torch.no_grad():
        for site, adapter in adapters.items():
            _fold(made.get_submodule(site.address), site, adapter)
    return made


def _fold(module: nn.Module, site: Site, adapter: Adapter) -> None:
    scale = 1.0 if adapter.scale is None else adapter.scale
    if isinstance(adapter, LowRankAdapter) and isinstance(module, nn.Linear):
        module.weight.copy_(adapter.weight(module.weight))
        return
    assert isinstance(adapter, Pointwise | Conv3x3)
    assert isinstance(module, nn.Conv2d)
    if site.form == "parallel":
        reach = site.kernel // 2
        rows, columns = (slice(side // 2 - reach, side // 2 + reach + 1) for side in module.kernel_size)
        module.weight[:, :, rows, columns] += scale * adapter.mix.weight
        return
    mix: Tensor = scale * adapter.mix.weight[:, :, 0, 0]
    module.weight += torch.einsum("oc,cikl->oikl", mix, module.weight)
    if module.bias is not None:
        module.bias += mix @ module.bias
