"""Writing token by token, over anything that gives the logits of the next one: greedy, drawn, best of n, beam search.

Sources: nucleus (arXiv 1904.09751). The rules are those of big_vision's PaliGemma:

- nucleus p: tokens whose logit is at least that of the token at which the sorted probabilities reach p;
- best of n: the text of the highest sum of log-probabilities, that of its end included;
- beam search: each step first lets every live text end, and keeps the best that ever ended (sums of log-probabilities, not
  divided by lengths); then each live text goes on with its likeliest tokens but the end, and the n best live on; it is over
  when no live text is as likely as the best that ended. The answer is the best that ended;
- forbidden tokens are never chosen, but log-probabilities are those that the model gives without that.

Differs from it: a text that is drawn depends on (seed, its number) and on no other text; tokens are drawn with one number each,
by where it falls among the sums of probabilities.
"""

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.blocks.generate_config import Choice
from tapetum.errors import BadInput


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


@dataclass(frozen=True)
class Moment:
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
    on_step: Callable[[Moment], object] | None = None,
) -> list[Generated]:
    """Write a text for each row.

    Args:
        steps: the rows.
        max_new_tokens: at most, forced ones and the end included.
        ends: tokens of which any ends a text.
        how: tokens are chosen.
        forced: for each row the ids with which it begins; they belong to the result.
        forbidden: ids that are never chosen.
        on_step: called with what each step wrote; not with beams or the best of several.

    Raises:
        BadInput: settings that don't go together.
    """
    how = Choice() if how is None else how
    if on_step is not None and (how.beams > 1 or how.best_of > 1):
        raise BadInput("beams, and the best of several, are known at the end only; give neither with on_step")
    if how.beams > 1:
        return _beam_search(steps, max_new_tokens, ends, how.beams, forced, forbidden)
    copies = how.best_of
    if copies > 1:
        rows = torch.arange(steps.logits.shape[0], device=steps.logits.device).repeat_interleave(copies)
        steps.reorder(rows)
        forced = None if forced is None else [begin for begin in forced for _ in range(copies)]
    texts = _Texts(steps.logits.shape[0])
    for moment in stream(steps, max_new_tokens, ends, how, forced=forced, forbidden=forbidden):
        texts.add(moment)
        if on_step is not None:
            on_step(moment)
    found = texts.finished(ends)
    groups = [found[first : first + copies] for first in range(0, len(found), copies)]
    return [max(group, key=lambda text: text.score) for group in groups]


class _Texts:
    """Collects what steps write."""

    def __init__(self, rows: int):
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self.log_probabilities: list[list[float]] = [[] for _ in range(rows)]

    def add(self, moment: Moment) -> None:
        for row, (token, value) in enumerate(zip(moment.tokens, moment.log_probabilities, strict=True)):
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
    for moment in stream(steps, max_new_tokens, ends, probabilities=False):
        for row, token in enumerate(moment.tokens):
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
    probabilities: bool = True,
) -> Iterator[Moment]:
    """Write step by step, as `write` does without beams and copies; yields each step before the next is computed."""
    how = Choice() if how is None else how
    logits = steps.logits
    batch = logits.shape[0]
    begin = _begin(forced, batch, logits.shape[1])
    banned = _banned(forbidden, logits)
    draws = [_draws(how.seed, row) for row in range(batch)] if how.temperature > 0 else None
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
        yield Moment(*(tuple(v if live else None for v, live in zip(x, open_rows, strict=True)) for x in (told, values)))
        open_rows = [live and token not in ends for live, token in zip(open_rows, told, strict=True)]
        if not any(open_rows) or place + 1 == max_new_tokens:
            return
        logits = steps.step(chosen)


def _begin(forced: Sequence[Sequence[int]] | None, batch: int, vocabulary: int) -> Sequence[Sequence[int]]:
    begin = [()] * batch if forced is None else forced
    if len(begin) != batch or any(not 0 <= token < vocabulary for ids in begin for token in ids):
        raise BadInput(
            f"there are {len(begin)} forced beginnings for {batch} texts, of ids of which some may be unknown; give one a text,"
            f" of ids 0..{vocabulary - 1}"
        )
    return begin


def _banned(forbidden: Collection[int], logits: Tensor) -> Tensor | None:
    ids = sorted(token for token in set(forbidden) if 0 <= token < logits.shape[1])
    if len(ids) == logits.shape[1]:
        raise BadInput("every token is forbidden; leave one")
    return torch.tensor(ids, device=logits.device) if ids else None


def _draws(seed: int, row: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed} {row}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def _choose(logits: Float[Tensor, "b v"], how: Choice, draws: list[torch.Generator] | None) -> Int[Tensor, " b"]:
    if draws is None:
        return logits.argmax(-1)
    sums = nucleus(logits.double() / how.temperature, how.nucleus).softmax(-1).cumsum(-1)
    at = torch.stack([torch.rand((), generator=draw, dtype=torch.float64) for draw in draws]).to(sums.device)
    return torch.searchsorted(sums, (at * sums[:, -1])[:, None], right=True)[:, 0].clamp_max(logits.shape[1] - 1)


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


@dataclass(frozen=True)
class _Live:
    """A text of a beam search that has not ended."""

    ids: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@torch.no_grad()
def _beam_search(
    steps: Steps,
    max_new_tokens: int,
    ends: Collection[int],
    beams: int,
    forced: Sequence[Sequence[int]] | None,
    forbidden: Collection[int],
) -> list[Generated]:
    batch, vocabulary = steps.logits.shape
    begin, banned = _begin(forced, batch, vocabulary), _banned(forbidden, steps.logits)
    ending = sorted(token for token in set(ends) if 0 <= token < vocabulary)
    live = [[_Live()] for _ in range(batch)]
    best: list[Generated | None] = [None] * batch
    width = 1  # rows of an example; all have as many, dead ones among them
    for place in range(max_new_tokens):
        values = steps.logits.float().log_softmax(-1)
        allowed = values if banned is None else values.index_fill(1, banned, -torch.inf)
        closing = values[:, ending].amax(1).tolist() if ending else []
        going = allowed.clone()
        going[:, ending] = -torch.inf
        top = going.topk(min(beams + 1, vocabulary), dim=1)
        top_values, top_ids = top.values.tolist(), top.indices.tolist()
        rows, tokens = [], []
        for example in range(batch):
            texts, first = live[example], example * width
            if place >= len(begin[example]):
                for i, text in enumerate(texts):
                    _close(best, example, text, closing[first + i] if closing else -math.inf)
                options = [
                    (sum(text.values) + value, i, token, value)
                    for i, text in enumerate(texts)
                    for value, token in zip(top_values[first + i], top_ids[first + i], strict=True)
                    if value > -math.inf
                ]
                kept = sorted(options, key=lambda option: -option[0])[:beams]
            else:
                token = begin[example][place]
                kept = [(0.0, i, token, float(values[first + i, token])) for i in range(len(texts))]
            live[example] = [_Live((*texts[i].ids, token), (*texts[i].values, value)) for _, i, token, value in kept]
            rows.append([first + i for _, i, _, _ in kept])
            tokens.append([token for _, _, token, _ in kept])
        done = (_is_over(texts, found) for texts, found in zip(live, best, strict=True))
        if place + 1 == max_new_tokens or all(done):
            break
        width = max(map(len, rows))
        _go_on(steps, rows, tokens, width)
    return [found or _unfinished(texts) for found, texts in zip(best, live, strict=True)]


def _close(best: list[Generated | None], example: int, text: _Live, value: float) -> None:
    closed = Generated(text.ids, (*text.values, value), True)
    held = best[example]
    if value > -math.inf and (held is None or closed.score > held.score):
        best[example] = closed


def _is_over(texts: list[_Live], best: Generated | None) -> bool:
    return not texts or (best is not None and max(sum(text.values) for text in texts) < best.score)


def _unfinished(texts: list[_Live]) -> Generated:
    """What a search gives that had no room for an end: the likeliest live text."""
    text = max(texts, key=lambda text: sum(text.values))
    return Generated(text.ids, text.values, False)


def _go_on(steps: Steps, rows: list[list[int]], tokens: list[list[int]], width: int) -> None:
    """Let row i of each example be what was kept as its i-th; an example with fewer repeats one, which nobody looks at."""
    device = steps.logits.device
    full = [(r + [r[0] if r else 0] * (width - len(r)), t + [0] * (width - len(t))) for r, t in zip(rows, tokens, strict=True)]
    steps.reorder(torch.tensor([row for part, _ in full for row in part], device=device))
    steps.step(torch.tensor([token for _, part in full for token in part], device=device))
