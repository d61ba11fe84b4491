"""`attach`: a trunk with adapters, which calls like the trunk and leaves it bit for bit intact (arXiv 2304.06600)."""

import copy
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.systems.adapters import files
from tapetum.systems.adapters.bank import Bank, Preset
from tapetum.systems.adapters.config import SECTIONS
from tapetum.systems.adapters.merging import merged, obstacle
from tapetum.systems.adapters.proof import Proof, prove


@dataclass(frozen=True, kw_only=True)
class AdapterRow:
    """A line of `Adapted.summary`."""

    section: str
    address: str
    form: str
    parameters: int


class Adapted(Bank):
    """A trunk with adapters: a `Bank`, what it says of itself, and how it comes into files and out of them."""

    @property
    def trunk_sha256(self) -> str:
        """Compute SHA-256 of the trunk's weights and buffers, as they were when the adapters were attached."""
        return self._hash

    def summary(self, name: str | None = None) -> list[AdapterRow]:
        """List the adapters of a name, or of the one in use, from the trunk's input to its output."""
        name = self.in_use if name is None else name
        self.network(name)
        sites = self.sites(name) if name else ()
        rows = [
            AdapterRow(section=s.section, address=s.address or "pooled", form=s.form, parameters=s.parameters) for s in sites
        ]
        return sorted(rows, key=lambda row: SECTIONS.index(row.section))

    def export(self, name: str | None = None) -> nn.Module:
        """Copy the network with an adapter baked in, by default the one in use: a plain module, for torch.export or ONNX.

        Its state dict is the trunk's with `ADDRESS.adapter.LAYER` beside. It shares no memory with this object.
        """
        return copy.deepcopy(self.network(self.in_use if name is None else name))

    def can_merge(self, name: str | None = None) -> bool:
        """Check whether an adapter can be folded into the weights exactly; see `tapetum.systems.adapters.merging`."""
        name = self.in_use if name is None else name
        return name is not None and not any(obstacle(self._hidden[1], site) for site in self.sites(name))

    def merge(self, name: str | None = None) -> nn.Module:
        """Copy the trunk with an adapter folded into its weights: a new network, as fast as the trunk.

        Raises BadInput where that is not exact, saying why.
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
        """Prove that the trunk is what it was when adapters were attached: weights, buffers, and what it gives.

        Args:
            inputs: what the trunk is called with to compare what it gives; by default random numbers of the example's shape.

        Raises:
            TrunkChanged: one bit of a weight or buffer differs, or with adapters off the network gives something else.
        """
        return prove(self.trunk, self._hidden[1], self._hash, inputs or self._random(), self.network(None))

    def _random(self) -> tuple[Any, ...]:
        like = next((p for p in self._hidden[1].parameters() if p.is_floating_point()), torch.zeros(()))
        generator = torch.Generator().manual_seed(0)

        def random(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return value.to(like.device) if isinstance(value, Tensor) else value
            return torch.randn(value.shape, generator=generator).to(like.device, like.dtype)

        example = self._example if isinstance(self._example, tuple) else (self._example,)
        return tuple(map(random, example))

    def detach(self) -> nn.Module:
        """Get the trunk back: the very object that was given, whose modules, modes, hooks and weights were never touched."""
        return self.trunk


def attach(
    trunk: nn.Module,
    preset: Preset = "bottom-middle-top",
    name: str = "default",
    seed: int = 0,
    *,
    example: Any = None,
    strict: int = 0,
) -> Adapted:
    """Attach adapters to a trunk and use them. At first the result gives exactly what the trunk gives.

    Args:
        trunk: an encoder, a model of timm or torchvision of a known family, or any module together with addresses.
        preset: one of `tapetum.systems.adapters.config.PRESETS`, an `AdapterConfig`, or a list of addresses ("blocks.3.mlp").
        name: of the adapter.
        seed: of its first weights.
        example: what the trunk is called with, one image or a tuple of arguments, for trunks of no known family.
        strict: calls in training after which the trunk is hashed anew and a change raises TrunkChanged; 0: never.

    Raises:
        BadInput: the trunk is of no known family, or no adapter fits at an address.
    """
    adapted = Adapted(trunk, example, strict)
    adapted.add(name, preset, seed)
    adapted.use(name)
    return adapted
