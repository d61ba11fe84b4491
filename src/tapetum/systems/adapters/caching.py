"""Features below the lowest adapter, computed once per image: they do not change while adapters are trained.

    image -> stem -> block 0 ... block k-1 | block k with the lowest adapter -> ... -> pooled vector
                                             ^ recorded

The rest is the same network, whose blocks before k pass their input on, and whose block k takes the recorded features instead
of its input; a blank image goes through the remaining beginning. With a bottom adapter there is nothing to record.
"""

from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.data.samples import Shuffle
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.addresses import chain
from tapetum.systems.adapters.images import ShuffledExamples
from tapetum.systems.adapters.layers import Adapter
from tapetum.systems.adapters.weaving import renewed

_AT_A_TIME = 32


class _Enough(Exception):
    """Raised once the features are recorded."""


class _PassOn(nn.Module):
    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return x


class _Resume(nn.Module):
    """A block that takes the recorded features as input."""

    def __init__(self, block: nn.Module, holder: list[Tensor]):
        super().__init__()
        self.block, self._holder = block, holder

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.block(self._holder[0], *args, **kwargs)


class Below:
    """The part of an adapted encoder below the lowest adapter in use, and what follows it."""

    def __init__(self, bank: Adapted):
        self.bank, name = bank, bank.in_use
        self.blocks = chain(bank.trunk)
        self.sites = bank.sites(name) if name else ()
        self.first = self._first()
        """Number of the block with the lowest adapter; that of all blocks where only the pooled vector has one."""
        self._holder: list[Tensor] = []
        self._woven: nn.Module | None = None
        self._rest: nn.Module = _PassOn()

    @property
    def possible(self) -> bool:
        """Check whether there is anything to record."""
        return self.first is not None

    def _first(self) -> int | None:
        numbers = [len(self.blocks)]
        for site in self.sites:
            if site.where == "pooled":
                continue
            inside = [i for i, block in enumerate(self.blocks) if f"{site.address}.".startswith(f"{block}.")]
            if not inside:
                return None
            numbers += inside
        return min(numbers) if self.blocks else None

    @torch.no_grad()
    def record(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b ..."]:
        """Compute the input of the block with the lowest adapter, or the pooled vector, for prepared images."""
        assert self.first is not None
        frozen = self.bank.network(None)
        if self.first == len(self.blocks):
            return frozen(images).pooled
        kept: list[Tensor] = []

        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            kept.append(args[0])
            raise _Enough

        block = self.blocks[self.first]
        stopping = renewed(frozen, [block])
        stopping.get_submodule(block).register_forward_pre_hook(keep)
        with suppress(_Enough):
            stopping(images)
        return kept[0]

    def resume(self, recorded: Float[Tensor, "b ..."], size: tuple[int, int]) -> Float[Tensor, "b e"]:
        """Compute the pooled vectors of images of `size` (rows, columns) from their `record`."""
        assert self.first is not None
        if self.first == len(self.blocks):
            for adapter in self._adapters():
                recorded = adapter(recorded, recorded)
            return recorded
        self._holder[:] = [recorded]
        return self._network()(recorded.new_zeros(1, 3, *size)).pooled

    def _adapters(self) -> list[Adapter]:
        name = self.bank.in_use
        return list(self.bank.at_sites(name).values()) if name else []

    def _network(self) -> nn.Module:
        """The rest of the network; rebuilt after the bank has moved to another device, which weaves it again."""
        woven = self.bank.network(self.bank.in_use)
        if self._woven is not woven:
            assert self.first is not None
            self._woven = woven
            self._rest = renewed(woven, self.blocks[: self.first + 1])
            for i, name in enumerate(self.blocks[: self.first + 1]):
                parent, _, leaf = name.rpartition(".")
                module = _Resume(woven.get_submodule(name), self._holder) if i == self.first else _PassOn()
                self._rest.get_submodule(parent)._modules[leaf] = module
        return self._rest


class Recorded(Dataset):
    """Examples whose images are replaced by the features below the lowest adapter, recorded with their neighbours at first use:
    batches are the same in every run."""

    def __init__(self, examples: ShuffledExamples, below: Below, shown: int):
        """`shown` is the number used in the whole run; if not all will be used, each is recorded alone."""
        self.examples, self.below = examples, below
        self._together = _AT_A_TIME if shown >= len(examples) else 1
        self._kept: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Load sample `number` of the stream."""
        k = Shuffle(len(self), self.examples.seed)(number)
        if k not in self._kept:
            first = k - k % self._together
            numbers = range(first, min(first + self._together, len(self)))
            examples = [self.examples.plain(i) for i in numbers]
            recorded = self.below.record(torch.stack([example.pop("image") for example in examples]))
            for i, example, one in zip(numbers, examples, recorded, strict=True):
                self._kept[i] = {**example, "recorded": one.clone()}
        return self._kept[k]
