"""What writes token by token: what it asks of a model, what it gives, and what is forced or forbidden."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput


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


@dataclass(frozen=True)
class Generated:
    """A text as tokens."""

    ids: tuple[int, ...]
    """Without the token that ended it."""
    log_probabilities: tuple[float, ...]
    """Of each of the ids, then of the end where there is one."""
    ended: bool
    """By an end token; else there was no more room."""

    @property
    def score(self) -> float:
        """Log-probability of the whole."""
        return math.fsum(self.log_probabilities)


def beginnings(forced: Sequence[Sequence[int]] | None, batch: int, vocabulary: int) -> Sequence[Sequence[int]]:
    """Give what each text begins with. Raises BadInput where that is not one a text, or of unknown ids."""
    begin = [()] * batch if forced is None else forced
    if len(begin) != batch or any(not 0 <= token < vocabulary for ids in begin for token in ids):
        raise BadInput(
            f"there are {len(begin)} forced beginnings for {batch} texts, of ids of which some may be unknown; give one a text,"
            f" of ids 0..{vocabulary - 1}"
        )
    return begin


def banned_ids(forbidden: Collection[int], logits: Tensor) -> Tensor | None:
    """Give the forbidden ids that there are. Raises BadInput where that is all."""
    ids = sorted(token for token in set(forbidden) if 0 <= token < logits.shape[1])
    if len(ids) == logits.shape[1]:
        raise BadInput("every token is forbidden; leave one")
    return torch.tensor(ids, device=logits.device) if ids else None
