"""Parts of a model for the ledger, tracked by hooks on its modules' calls; models and losses need no code for it.

    with by_part({"encoder": model.encoder, "teacher": teacher}):
        count_flops(loss)               both engines divide their counts by these names

The innermost named module wins. Computation in a loss outside of all of them is `loss`; without names everything is `model`.
Backward passes are a separate part, `backward`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

UNNAMED = "model"
"""The part of everything where no parts are named."""
OUTSIDE = "loss"
"""The part of what is computed in no module that has a name: a table of similarities, k-means."""

_stacks: list[list[str]] = []
"""Names of the modules that are being called, outermost first, for each `by_part` that is open."""


def current() -> str:
    """Get the name of the part that is being computed."""
    return _stacks[-1][-1] if _stacks else UNNAMED


@contextmanager
def by_part(parts: Mapping[str, nn.Module]) -> Iterator[None]:
    """Attribute computation inside the block to `parts`; a module shared by two belongs to the later one.

    >>> import torch
    >>> layer = nn.Linear(2, 2)
    >>> hook = layer.register_forward_pre_hook(lambda *_: print(current()))
    >>> with by_part({"head": layer}):
    ...     print(current())
    ...     _ = layer(torch.zeros(1, 2))
    loss
    head
    """
    if not parts:
        yield
        return
    names = {id(module): name for name, part in parts.items() for module in part.modules()}
    stack = [OUTSIDE]
    enter = register_module_forward_pre_hook(lambda module, _: stack.append(names.get(id(module), stack[-1])))
    leave = register_module_forward_hook(lambda *_: _pop(stack), always_call=True)
    _stacks.append(stack)
    try:
        yield
    finally:
        _stacks.pop()
        enter.remove()
        leave.remove()


def _pop(stack: list[str]) -> Any:
    stack.pop()
