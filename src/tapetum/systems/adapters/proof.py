"""Proof that a trunk is unchanged: its hash, and its outputs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import TapetumError
from tapetum.systems.adapters.weaving import frozen_copy, tensors_of, trunk_hash


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

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {"before": self.before, "now": self.now, "tensors": self.tensors, "outputs": self.outputs}


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
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from leaves(getattr(value, field.name))
