"""Writing token by token, over anything that gives the logits of the next one."""

from collections.abc import Collection
from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor


class Steps(Protocol):
    """Texts in the making, one a row of a batch."""

    logits: Float[Tensor, "b v"]
    """Of the next token of each row."""

    def step(self, ids: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
        """Add a token to each row; gives the new `logits`."""
        ...

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Make row i what row `rows[i]` was; rows may be repeated or left out."""
        ...


def greedy(steps: Steps, max_new_tokens: int, ends: Collection[int]) -> list[list[int]]:
    """Take the likeliest token each time, until one of `ends`, which is left out, or so many tokens."""
    logits = steps.logits
    found: list[list[int]] = [[] for _ in range(logits.shape[0])]
    open_rows = set(range(len(found)))
    for count in range(1, max_new_tokens + 1):
        ids = logits.argmax(-1)
        for row, token in enumerate(ids.tolist()):
            if row in open_rows:
                if token in ends:
                    open_rows.remove(row)
                else:
                    found[row].append(token)
        if not open_rows or count == max_new_tokens:
            break
        logits = steps.step(ids)
    return found
