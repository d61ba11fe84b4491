"""`attach`: a trunk with a bank of adapters, called like the trunk, which stays bit-identical (arXiv 2304.06600).

There can be any number of named adapters; each call uses one.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from typing import Any, Self

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.systems.adapters import files
from tapetum.systems.adapters.addresses import Passed, example_for, observe, places, site_at
from tapetum.systems.adapters.config import SECTIONS, AdapterConfig, Site, check_name
from tapetum.systems.adapters.layers import Adapter, make_adapter
from tapetum.systems.adapters.weaving import (
    Proof,
    TrunkChanged,
    frozen_copy,
    merged,
    obstacle,
    prove,
    tensors_of,
    trunk_hash,
    weave,
)

Preset = str | AdapterConfig | Sequence[str | Site]
"""The name of a preset, a config, or a list of addresses or sites."""


_IN_USE = "adapter in use"
"""In place of a name, which has no blank."""
_HERE: ContextVar[Mapping[int, str | None]] = ContextVar("adapters chosen in this thread or task", default={})  # noqa: B039


class AdapterSet(nn.Module):
    """The adapters of one name, one at each site."""

    def __init__(self, adapters: Mapping[Site, Adapter]):
        super().__init__()
        self.sites = tuple(adapters)
        for site, adapter in adapters.items():
            self.add_module(site.address.replace(".", "/") or "pooled", adapter)

    def at_sites(self) -> dict[Site, Adapter]:
        return dict(zip(self.sites, self._modules.values(), strict=True))  # pyright: ignore[reportReturnType]


class Adapted(nn.Module):
    """A trunk with a bank of adapters. It is called like the trunk and has the trunk's methods (`prepare`, `classify`, ...).

    Its parameters, its state dict and its modules are only those of the adapters: nothing done with them (an optimiser with
    weight decay, `train()`, `requires_grad_`, an initialisation) affects the trunk. All methods except `add` and `remove` are
    thread-safe; a call uses the adapter that was selected when it began.
    """

    def __init__(self, trunk: nn.Module, example: Any = None, strict: int = 0):
        super().__init__()
        if isinstance(trunk, Adapted):
            raise BadInput("this trunk has adapters already; give it another by adapted.add(name)")
        self.strict = strict
        self.adapters = nn.ModuleDict()
        self._steps = 0
        self.trunk_sha256 = trunk_hash(trunk)
        """Of weights and buffers, as they were when the adapters were attached."""
        self._example = example_for(trunk) if example is None else example
        frozen = frozen_copy(trunk)
        self._hidden: tuple[nn.Module, nn.Module] = (trunk, frozen)
        """The trunk and its frozen copy, in a tuple so that they are no modules of this one."""
        self._passed: dict[str, Passed] = observe(frozen_copy(trunk), self._example)
        self._woven: dict[str, nn.Module] = {}
        self._in_use: str | None = None
        self.training = trunk.training

    @property
    def trunk(self) -> nn.Module:
        """Get the original trunk: the same object, unchanged."""
        return self._hidden[0]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._woven)

    @property
    def in_use(self) -> str | None:
        """Get the name of the adapter that a call would use now; None: the trunk alone."""
        return _HERE.get().get(id(self), self._in_use)

    def add(self, name: str, preset: Preset = "bottom-middle-top", seed: int = 0) -> None:
        """Add an adapter, which changes nothing until trained, and is not used before `use(name)`.

        `preset` is one of `tapetum.systems.adapters.config.PRESETS`, a config, or a list of addresses; `seed` is for its
        initial weights. Raises BadInput if the name is taken, or no adapter fits at a site.
        """
        if check_name(name) in self._woven:
            raise BadInput(f"there is an adapter {name!r} already; remove it, or choose another name")
        config = _config(preset)
        frozen, like = self._hidden[1], self._like()
        sites = () if isinstance(preset, str | AdapterConfig) else [entry for entry in preset if isinstance(entry, Site)]
        sites = sites or [site_at(frozen, place, self._passed, config) for place in places(frozen, config, self._example)]
        generator = torch.Generator().manual_seed(seed)
        near_zero = config.std if config.init == "near_zero" else None
        made = AdapterSet({site: make_adapter(site, generator, near_zero) for site in sites}).to(like.device, like.dtype)
        woven = weave(frozen, made.at_sites())
        self.adapters[name] = made.train(self.training)
        self._woven[name] = woven

    def _like(self) -> Tensor:
        return next((p for p in self._hidden[1].parameters() if p.is_floating_point()), torch.zeros(()))

    def remove(self, name: str) -> None:
        """Remove an adapter. If it was in use, the trunk alone is used."""
        self.network(name)
        if self._in_use == name:
            self._in_use = None
        del self._woven[name], self.adapters[name]

    def use(self, name: str | None) -> None:
        """Use this adapter from now on, in all threads; None: the trunk alone. Raises BadInput for an unknown name."""
        self.network(name)
        self._in_use = name

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Use another adapter inside the block, only in this thread or task; the previous one is restored afterwards."""
        self.network(name)
        token = _HERE.set({**_HERE.get(), id(self): name})
        try:
            yield
        finally:
            _HERE.reset(token)

    def off(self) -> Any:
        """Use the trunk alone inside the block, only in this thread or task: `with adapted.off(): ...`."""
        return self.using(None)

    def network(self, name: str | None) -> nn.Module:
        """Get the network with this adapter as a separate module, or for None the frozen trunk. This is only a look-up.

        It shares all weights with this object. Raises BadInput for an unknown name.
        """
        if name is None:
            return self._hidden[1]
        if name not in self._woven:
            raise BadInput(f"there is no adapter {name!r}; there are {', '.join(self._woven) or 'none'}")
        return self._woven[name]

    def forward(self, *args: Any, adapter: str | None = _IN_USE, **kwargs: Any) -> Any:
        """Call the trunk with the adapter in use, or with the one that is named; None: the trunk alone."""
        if self.strict and self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self._steps += 1
            if self._steps % self.strict == 0 and trunk_hash(self.trunk) != self.trunk_sha256:
                raise TrunkChanged(f"the trunk has changed by call {self._steps} of training; nothing may write to it")
        return self.network(self.in_use if adapter == _IN_USE else adapter)(*args, **kwargs)

    def adapter_parameters(self, name: str | None = None) -> list[nn.Parameter]:
        """List the parameters of the adapter in use, or of another by name; none if none is in use."""
        name = self.in_use if name is None else name
        if name is None:
            return []
        self.network(name)
        return list(self.adapters[name].parameters())

    def train_only(self, name: str) -> Self:
        """Use one adapter and train only it; the others keep their weights, and lose gradients. Returns itself."""
        self.use(name)
        for other, made in self.adapters.items():
            made.requires_grad_(other == name)
            if other != name:
                made.zero_grad(set_to_none=True)  # an optimiser with weight decay moves even what has a gradient of 0
        return self

    def sites(self, name: str) -> tuple[Site, ...]:
        return tuple(self.at_sites(name))

    def at_sites(self, name: str) -> dict[Site, Adapter]:
        self.network(name)
        return self.adapters[name].at_sites()  # pyright: ignore[reportCallIssue]

    def summary(self, name: str | None = None) -> list[Site]:
        """List the sites of a name, or of the adapter in use, from the trunk's input to its output."""
        name = self.in_use if name is None else name
        return sorted(self.sites(name) if name else (), key=lambda site: SECTIONS.index(site.section))

    def export(self, name: str | None = None) -> nn.Module:
        """Copy the network with an adapter baked in, by default the one in use: a plain module, for torch.export or ONNX.

        Its state dict is the trunk's plus `ADDRESS.adapter.LAYER`. It shares no memory with this object.
        """
        return copy.deepcopy(self.network(self.in_use if name is None else name))

    def can_merge(self, name: str | None = None) -> bool:
        """Check whether an adapter can be folded into the weights exactly; see `tapetum.systems.adapters.weaving`."""
        name = self.in_use if name is None else name
        return name is not None and not any(obstacle(self._hidden[1], site) for site in self.sites(name))

    def merge(self, name: str | None = None) -> nn.Module:
        """Copy the trunk with an adapter folded into its weights: a new network, as fast as the trunk.

        Raises BadInput, with the reason, if that is not exact.
        """
        name = self.in_use if name is None else name
        if name is None:
            raise BadInput("no adapter is in use; name the one to merge")
        return merged(self.trunk, self.at_sites(name))

    def save(self, path: str | PathLike[str], name: str | None = None, **options: Any) -> None:
        """Write an adapter, by default the one in use, to a file; see `systems.adapters.files.save` for more options."""
        files.save(self, path, name, **options)

    def load(self, path: str | PathLike[str], name: str | None = None, *, force: bool = False) -> str:
        """Add the adapter in a file, by its own name or another, and give that. Raises BadInput for one of another trunk."""
        stored = files.add(self, path, name, force=force)
        return stored.name if name is None else name

    def verify(self, *inputs: Any) -> Proof:
        """Prove that the trunk is unchanged since adapters were attached: weights, buffers and outputs.

        Outputs are those of `inputs`, by default random numbers of the example's shape. Raises TrunkChanged if a bit differs.
        """
        return prove(self.trunk, self._hidden[1], self.trunk_sha256, inputs or self._random(), self.network(None))

    def _random(self) -> tuple[Any, ...]:
        like, generator = self._like(), torch.Generator().manual_seed(0)

        def random(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if not value.is_floating_point():
                return value.to(like.device)
            return torch.randn(value.shape, generator=generator).to(like.device, like.dtype)

        example = self._example if isinstance(self._example, tuple) else (self._example,)
        return tuple(map(random, example))

    def detach(self) -> nn.Module:
        """Get the trunk back: the same object, whose modules, modes, hooks and weights were never touched."""
        return self.trunk

    def __getattr__(self, name: str) -> Any:
        """Fall back to attributes of the network with the adapter in use."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "_hidden" not in self.__dict__:
                raise
        return getattr(self.network(self.in_use), name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or round adapters and trunk: the original trunk stays unchanged, replaced by a new frozen copy."""
        super()._apply(fn, recurse)
        trunk, frozen = self._hidden
        originals = tensors_of(trunk)

        def changed(name: str, tensor: Tensor) -> Tensor:
            new = fn(tensor)
            return new if new.dtype == tensor.dtype else originals[name].detach().to(new.device, new.dtype)

        self._hidden = (trunk, frozen_copy(frozen, changed))
        self._weave_all()
        return self

    def _weave_all(self) -> None:
        self._woven = {name: weave(self._hidden[1], made.at_sites()) for name, made in self.adapters.items()}  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_woven"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._weave_all()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy the adapters; the trunk, which never changes, is shared."""
        memo |= {id(module): module for module in self._hidden}
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__setstate__({key: copy.deepcopy(value, memo) for key, value in self.__getstate__().items()})
        return made


def attach(
    trunk: nn.Module,
    preset: Preset = "bottom-middle-top",
    name: str = "default",
    seed: int = 0,
    *,
    example: Any = None,
    strict: int = 0,
) -> Adapted:
    """Attach adapters to a trunk and use them. Initially the result gives exactly the trunk's output.

    The trunk is an encoder, a model of timm or torchvision of a known family, or any module with addresses; then `example` is
    an input of it, one image or a tuple of arguments. `preset` is one of `tapetum.systems.adapters.config.PRESETS`, an
    `AdapterConfig`, or a list of addresses ("blocks.3.mlp"). After `strict` training calls (0: never) the trunk is hashed
    again; a change raises TrunkChanged. Raises BadInput for a trunk of no known family, or if no adapter fits at an address.
    """
    adapted = Adapted(trunk, example, strict)
    adapted.add(name, preset, seed)
    adapted.use(name)
    return adapted


def _config(preset: Preset) -> AdapterConfig:
    if isinstance(preset, AdapterConfig):
        return preset
    if isinstance(preset, str):
        return AdapterConfig(preset=preset)
    addresses = tuple(entry.address if isinstance(entry, Site) else entry for entry in preset)
    if not addresses:
        raise BadInput("the list of addresses is empty; name a module, such as blocks.3.mlp")
    return AdapterConfig(addresses=addresses)
