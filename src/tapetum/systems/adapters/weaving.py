"""Weaving adapters into a trunk: a new tree of modules that shares every weight with the trunk, and changes none.

The frozen copy of a trunk has Parameters in the same memory (drawn in docs/systems/adapters.md). Only modules between the root
and an adapter are made for each adapter, so selecting an adapter is selecting a root. No module of the trunk is hooked, patched
or switched to another mode. A module with an adapter gets a generated subclass of its own class, so all attributes that the
trunk's code reads still exist.

Some adapters can be folded into the weights themselves: convolutions beside a plain one whose kernel is no smaller (into the
middle of it), 1x1 convolutions after one (composed with it), and lora; not an activation between two layers. The merged network
is new, equal up to rounding, and its trunk is changed.

That a trunk is unchanged is proved by its hash and its outputs.
"""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput, TapetumError
from tapetum.layers.convolution import PointwiseConv2d, SameConv2d
from tapetum.systems.adapters.config import Site
from tapetum.systems.adapters.layers import Adapter, Conv3x3, LowRankAdapter, Pointwise
from tapetum.train.optim import freeze

CHILD = "adapter"
"""Name of the adapter inside the module that it changes."""


def frozen_copy(trunk: nn.Module, change: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor) -> nn.Module:
    """Copy the modules of a trunk, not its values, into a frozen one that stays in evaluation mode.

    `change` gets the name and value of every parameter and buffer, and may move it or change its precision. Raises BadInput
    for a trunk that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for name, parameter in trunk.named_parameters():
        memo[id(parameter)] = nn.Parameter(change(name, parameter.detach()), requires_grad=False)
    for name, buffer in trunk.named_buffers():
        memo[id(buffer)] = change(name, buffer.detach())
    try:
        copied = copy.deepcopy(trunk, memo)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise BadInput(f"this {type(trunk).__name__} cannot be copied ({str(error)[:80]}); give a plain module") from error
    return freeze(copied)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """List every parameter and buffer under all its names, including those not in a state dict."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}


def trunk_hash(module: nn.Module) -> str:
    """Compute SHA-256 over name, type, shape and bytes of every parameter and buffer, by sorted name."""
    digest = hashlib.sha256()
    tensors = tensors_of(module)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weave(frozen: nn.Module, sites: Mapping[Site, Adapter]) -> nn.Module:
    """Build the network from a frozen copy and adapters at their sites. Raises BadInput if one does not fit."""
    woven = renewed(frozen, [site.address for site in sites])
    for site, adapter in sites.items():
        module = woven.get_submodule(site.address)
        if CHILD in module._modules:
            raise BadInput(f"two adapters sit at {site.address!r}; give each an address of its own")
        module.__class__ = _class_of(type(module), _KINDS[site.where])
        module._modules[CHILD] = adapter
    return woven


def renewed(frozen: nn.Module, addresses: Iterable[str]) -> nn.Module:
    """Copy the modules at addresses and their parents; all others, and all values, are shared.

    Raises BadInput for a missing module.
    """
    parts = [address.split(".") for address in addresses]
    path = {".".join(names[:n]) for names in parts for n in range(1, len(names) + 1)} | {""}
    memo: dict[int, Any] = {}
    for name, module in frozen.named_modules(remove_duplicate=False):
        if name not in path:
            memo[id(module)] = module
    for tensor in (*frozen.parameters(), *frozen.buffers()):
        memo[id(tensor)] = tensor
    for name in path:
        try:
            memo.pop(id(frozen.get_submodule(name)), None)  # it may be known by another name too
        except AttributeError as error:
            raise BadInput(f"this {type(frozen).__name__} has no module {name!r}; the adapters are of another trunk") from error
    return copy.deepcopy(frozen, memo)


class _Changed(nn.Module):
    """A module with an adapter; comes before the module's own class."""

    adapter: Any

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A class made at run time cannot be found by name, so pickle what it was made from."""
        kind, *_, own = type(self).__bases__
        return _empty, (own, kind), self.__dict__


class _After(_Changed):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.adapter(args[0] if args else next(iter(kwargs.values()), None), super().forward(*args, **kwargs))


class _Before(_Changed):
    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return super().forward(self.adapter(x, x), *args, **kwargs)


class _Pooled(_Changed):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        features: Any = super().forward(*args, **kwargs)
        return replace(features, pooled=self.adapter(features.pooled, features.pooled))


class _Weight(_Changed):
    @property
    def weight(self) -> Tensor:
        return self.adapter.weight(self._parameters["weight"])


class _Chain(nn.Sequential):
    """A chain of modules that does not include the adapter."""

    def __iter__(self) -> Iterator[nn.Module]:
        return (module for name, module in self._modules.items() if name != CHILD)  # pyright: ignore[reportReturnType]

    def __len__(self) -> int:
        return len(self._modules) - 1


_KINDS: dict[str, type[_Changed]] = {"after": _After, "before": _Before, "pooled": _Pooled, "weight": _Weight}


@cache
def _class_of(own: type[nn.Module], kind: type[_Changed]) -> type[nn.Module]:
    bases = (kind, _Chain, own) if issubclass(own, nn.Sequential) else (kind, own)
    return type(own.__name__, bases, {"__module__": own.__module__, "__doc__": own.__doc__})


def _empty(own: type[nn.Module], kind: type[_Changed]) -> nn.Module:
    made: Any = _class_of(own, kind)
    return made.__new__(made)


def obstacle(trunk: nn.Module, site: Site) -> str | None:
    """Explain why the adapter at a site cannot be merged; None if it can."""
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

    Raises BadInput, naming the first that cannot be folded, with the reason.
    """
    for site in adapters:
        if reason := obstacle(trunk, site):
            raise BadInput(f"the adapter at {site.address or 'pooled'} cannot be merged: {reason}; export the network instead")
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


class TrunkChanged(TapetumError):
    """The trunk under the adapters is no longer, bit for bit, what it was."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What `Adapted.verify` found: nothing has changed."""

    before: str
    """SHA-256 of the trunk's weights and buffers when the adapters were attached; of a file, when it was saved."""
    now: str
    """The same now."""
    tensors: int
    """Weights and buffers that were compared."""
    outputs: int
    """Tensors that the trunk gave with adapters off, each equal to what the trunk itself gives, bit for bit."""


def prove(trunk: nn.Module, frozen: nn.Module, before: str, inputs: tuple[Any, ...], off: Any) -> Proof:
    """Compare a trunk with its hash `before`, with a frozen copy of it, and the outputs of both for `inputs`.

    `off` is called like the trunk. The trunk may be in any mode: outputs are compared in evaluation mode. Raises TrunkChanged
    if anything differs.
    """
    now = trunk_hash(trunk)
    if now != before:
        raise TrunkChanged(
            f"the trunk has changed since adapters were attached: SHA-256 {before[:16]}... then, {now[:16]}... now; whatever "
            "trained it or wrote to its weights must not; load the trunk again"
        )
    copied = tensors_of(frozen)
    reference = frozen_copy(trunk, lambda name, tensor: tensor.to(copied[name].device, copied[name].dtype))
    for name, tensor in tensors_of(reference).items():
        if not _same_bytes(tensor, copied[name]):
            raise TrunkChanged(f"{name} under the adapters is no longer that of the trunk; attach them again")
    with torch.no_grad():
        expected, actual = list(leaves(reference(*inputs))), list(leaves(off(*inputs)))
    if len(expected) != len(actual) or not all(map(_same_bytes, expected, actual)):
        raise TrunkChanged("with adapters off the network gives something else than the trunk; attach the adapters again")
    return Proof(before=before, now=now, tensors=len(copied), outputs=len(actual))


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    a, b = (t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
    return torch.equal(a, b)


def leaves(value: Any) -> Iterator[Tensor]:
    """List the tensors in a structure of dicts, lists, tuples and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, Mapping):
        value = list(value.values())
    elif is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in fields(value)]
    for inner in value if isinstance(value, list | tuple) else ():
        yield from leaves(inner)
