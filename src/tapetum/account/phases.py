"""What part of a step is being computed, and products that no layer holds: what code says to whoever counts. Imports no torch.

    with phase("teacher"):          all that is counted inside, by either engine, is the teacher's
        wanted = teacher(images)

    tell(a, b)                      the closed form hears of a @ b, which is no layer's; the other engine sees it by itself

Without anyone who counts, both cost next to nothing. The innermost phase wins; backward passes are a phase of their own.

Names in use: student, teacher, discovery (Odin's), heads, decoder, text (CLIP's tower of texts), logits (a table of all against
all, such as SimCLR's N x N), and model for what nobody names.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

UNNAMED = "model"
"""The phase of what is in none."""

_names = [UNNAMED]
_listeners: "list[Callable[[Tensor, Tensor], None]]" = []


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Let what is computed inside the block be of this phase.

    >>> with phase("teacher"):
    ...     print(current())
    teacher
    """
    _names.append(name)
    try:
        yield
    finally:
        _names.pop()


def current() -> str:
    """Name the phase of this moment."""
    return _names[-1]


def tell(a: "Tensor", b: "Tensor") -> None:
    """Say that `a` (..., n, k) is multiplied by `b` (..., k, m) outside of any layer."""
    for listener in _listeners:
        listener(a, b)


@contextmanager
def listening(listener: "Callable[[Tensor, Tensor], None]") -> Iterator[None]:
    """Hear what is told inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
