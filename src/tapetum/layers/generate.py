"""Writing token by token, over anything that gives the logits of the next one: greedy, drawn, best of n, beam search.

Sources: nucleus (arXiv 1904.09751). The rules are those of big_vision's PaliGemma:

- nucleus p: tokens whose logit is at least that of the token at which the sorted probabilities reach p;
- best of n: the text of the highest sum of log-probabilities, that of its end included;
- beam search: see `tapetum.layers.beams`;
- forbidden tokens are never chosen, but log-probabilities are those that the model gives without that.

Differs from it: a text that is drawn depends on (seed, its number) and on no other text; tokens are drawn with one number each,
by where it falls among the sums of probabilities.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.beams import beam_search
from tapetum.layers.generate_config import Choice
from tapetum.layers.generate_steps import Generated, Steps, banned_ids, beginnings


@dataclass(frozen=True)
class Written:
    """What one step wrote; None for rows that had ended before."""

    tokens: tuple[int | None, ...]
    """End tokens among them."""
    log_probabilities: tuple[float | None, ...]


def write(
    steps: Steps,
    max_new_tokens: int,
    ends: Collection[int],
    how: Choice | None = None,
    *,
    forced: Sequence[Sequence[int]] | None = None,
    forbidden: Collection[int] = (),
    numbers: Sequence[int] | None = None,
    on_step: Callable[[Written], object] | None = None,
) -> list[Generated]:
    """Write a text for each row.

    Args:
        steps: the rows.
        max_new_tokens: at most, forced ones and the end included.
        ends: tokens of which any ends a text.
        how: tokens are chosen.
        forced: for each row the ids with which it begins; they belong to the result.
        forbidden: ids that are never chosen.
        numbers: of the texts, on which what is drawn depends; their places in the batch by default.
        on_step: called with what each step wrote; not with beams or the best of several.

    Raises:
        BadInput: settings that don't go together.
    """
    how = Choice() if how is None else how
    if on_step is not None and (how.beams > 1 or how.best_of > 1):
        raise BadInput("beams, and the best of several, are known at the end only; give neither with on_step")
    if how.beams > 1:
        return beam_search(steps, max_new_tokens, ends, how.beams, forced=forced, forbidden=forbidden)
    copies = how.best_of
    if copies > 1:
        rows = torch.arange(steps.logits.shape[0], device=steps.logits.device)
        numbers = rows.tolist() if numbers is None else numbers
        numbers = [number + (copy << 40) for number in numbers for copy in range(copies)]  # the first copy draws as one alone
        forced = None if forced is None else [begin for begin in forced for _ in range(copies)]
        steps.reorder(rows.repeat_interleave(copies))
    texts = _Texts(steps.logits.shape[0])
    for written in stream(steps, max_new_tokens, ends, how, forced=forced, forbidden=forbidden, numbers=numbers):
        texts.add(written)
        if on_step is not None:
            on_step(written)
    found = texts.finished(ends)
    groups = [found[first : first + copies] for first in range(0, len(found), copies)]
    return [max(group, key=lambda text: text.score) for group in groups]


class _Texts:
    """Collects what steps write."""

    def __init__(self, rows: int):
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self.log_probabilities: list[list[float]] = [[] for _ in range(rows)]

    def add(self, written: Written) -> None:
        for row, (token, value) in enumerate(zip(written.tokens, written.log_probabilities, strict=True)):
            if token is not None and value is not None:
                self.ids[row].append(token)
                self.log_probabilities[row].append(value)

    def finished(self, ends: Collection[int]) -> list[Generated]:
        texts = []
        for ids, values in zip(self.ids, self.log_probabilities, strict=True):
            ended = bool(ids) and ids[-1] in ends
            texts.append(Generated(tuple(ids[:-1] if ended else ids), tuple(values), ended))
        return texts


def greedy(steps: Steps, max_new_tokens: int, ends: Collection[int]) -> list[list[int]]:
    """Take the likeliest token each time, until one of `ends`, which is left out, or so many tokens; no log-probabilities."""
    found: list[list[int]] = [[] for _ in range(steps.logits.shape[0])]
    for written in stream(steps, max_new_tokens, ends, probabilities=False):
        for row, token in enumerate(written.tokens):
            if token is not None and token not in ends:
                found[row].append(token)
    return found


@torch.no_grad()
def stream(
    steps: Steps,
    max_new_tokens: int,
    ends: Collection[int],
    how: Choice | None = None,
    *,
    forced: Sequence[Sequence[int]] | None = None,
    forbidden: Collection[int] = (),
    numbers: Sequence[int] | None = None,
    probabilities: bool = True,
) -> Iterator[Written]:
    """Write step by step, as `write` does without beams and copies; yields each step before the next is computed.

    Without `probabilities`, those of a step are None.
    """
    how = Choice() if how is None else how
    logits = steps.logits
    batch = logits.shape[0]
    begin = beginnings(forced, batch, logits.shape[1])
    banned = banned_ids(forbidden, logits)
    numbers = range(batch) if numbers is None else numbers
    if len(numbers) != batch:
        raise BadInput(f"there are {len(numbers)} numbers for {batch} texts; give one a text")
    draws = [_draws(how.seed, number) for number in numbers] if how.temperature > 0 else None
    open_rows = [True] * batch
    for place in range(max_new_tokens):
        chosen = _choose(logits if banned is None else logits.index_fill(1, banned, -torch.inf), how, draws)
        for row in range(batch):
            if open_rows[row] and place < len(begin[row]):
                chosen[row] = begin[row][place]
        told = chosen.tolist()
        values: list[float] | list[None] = [None] * batch
        if probabilities:
            values = logits.float().log_softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
        tokens = tuple(token if live else None for token, live in zip(told, open_rows, strict=True))
        yield Written(tokens, tuple(value if live else None for value, live in zip(values, open_rows, strict=True)))
        open_rows = [live and token not in ends for live, token in zip(open_rows, told, strict=True)]
        if not any(open_rows) or place + 1 == max_new_tokens:
            return
        logits = steps.step(chosen)


def _draws(seed: int, number: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def _choose(logits: Float[Tensor, "b v"], how: Choice, draws: list[torch.Generator] | None) -> Int[Tensor, " b"]:
    if draws is None:
        return likeliest(logits)
    sums = nucleus(logits.double() / how.temperature, how.nucleus).softmax(-1).cumsum(-1)
    at = torch.stack([torch.rand((), generator=draw, dtype=torch.float64) for draw in draws]).to(sums.device)
    return torch.searchsorted(sums, (at * sums[:, -1])[:, None], right=True)[:, 0].clamp_max(logits.shape[1] - 1)


def likeliest(logits: Float[Tensor, "b v"]) -> Int[Tensor, " b"]:
    """Find the first of the largest of each row; on a CPU with numpy, which is five times as fast there as torch (2.13)."""
    if logits.device.type != "cpu":
        return logits.argmax(-1)
    return torch.from_numpy(logits.detach().float().numpy().argmax(-1))


def nucleus(logits: Float[Tensor, "b v"], part: float) -> Float[Tensor, "b v"]:
    """Leave the likeliest tokens that together have this probability; the logits of others become -inf.

    >>> logits = torch.tensor([[0.1, 0.6, 0.3]]).log()
    >>> nucleus(logits, 0.7).exp()
    tensor([[0.0000, 0.6000, 0.3000]])
    """
    if part >= 1:
        return logits
    ordered = logits.sort(-1, descending=True).values
    last = (ordered.softmax(-1).cumsum(-1) < part).sum(-1, keepdim=True).clamp_max(logits.shape[-1] - 1)
    return logits.masked_fill(logits < ordered.gather(-1, last), -torch.inf)
