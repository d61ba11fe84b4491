"""Units of weights that FSDP gathers together, and how often a micro-batch calls each, for `tapetum.account.cluster`.

Recorded in one forward pass, which may be on the device "meta": nothing is computed, and no process group is needed.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tapetum.account.cluster import Unit


def record_units(networks: Sequence[nn.Module], blocks: Sequence[nn.Module], loss: Callable[[], Tensor]) -> list[Unit]:
    """Record the units of networks, of which `blocks` are sharded by themselves, in a call of the loss of a micro-batch.

    The last unit is all that is in no block. Blocks lie beside each other, none in another.

    >>> with torch.device("meta"):
    ...     first, last, x = nn.Linear(3, 3), nn.Linear(3, 1), torch.empty(2, 3)
    >>> units = record_units([first, last], [first], lambda: last(first(first(x))).sum())
    >>> units[0].gathers, units[1].shapes
    (4, ((1, 3), (1,)))
    """
    calls: list[tuple[int, bool]] = []

    def note(number: int) -> Callable[..., None]:
        def call(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            learns = any(tensor.requires_grad for tensor in (*inputs, *block.parameters()))
            calls.append((number, learns and torch.is_grad_enabled()))

        return call

    hooks = [block.register_forward_pre_hook(note(number), with_kwargs=True) for number, block in enumerate(blocks)]
    try:
        loss()
    finally:
        for hook in hooks:
            hook.remove()
    in_vain = [before for (before, learnt), (_, learns) in pairwise(calls) if learns and not learnt]
    inside = {id(p) for block in blocks for p in block.parameters()}
    units = [
        _unit(
            list(block.parameters()),
            forwards=sum(called == number for called, _ in calls),
            backwards=sum(called == number for called, learns in calls if learns),
            in_vain=in_vain.count(number),
        )
        for number, block in enumerate(blocks)
    ]
    rest = [p for network in networks for p in network.parameters() if id(p) not in inside]
    return [*units, _unit(rest, outermost=True)]


def _unit(parameters: Sequence[nn.Parameter], **calls: Any) -> Unit:
    """Make the unit of weights, each once; single numbers are not sharded."""
    once = {id(p): p for p in parameters if p.dim() > 0}.values()
    learning = tuple(tuple(p.shape) for p in once if p.requires_grad)
    return Unit(shapes=tuple(tuple(p.shape) for p in once), learning=learning, **calls)
