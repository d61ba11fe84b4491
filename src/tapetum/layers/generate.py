"""Text generation, token by token, from any next-token logits: greedy, sampled, best of n, beam search.

Nucleus sampling: arXiv 1904.09751. The rules are those of big_vision's PaliGemma:

- nucleus p: tokens whose logit is at least that of the token at which the sorted probabilities reach p;
- best of n: the text with the highest sum of log-probabilities, including that of its end;
- forbidden tokens are never chosen, but log-probabilities are the model's own, without that restriction.

Beam search: each step first lets every live text end, and keeps the best finished one so far, by sums of log-probabilities,
not divided by lengths. Then each live text continues with its likeliest tokens except the end, and the n best stay live. The
search ends when no live text is as likely as the best finished one, which is the result. If no text could end (its end is
forbidden, or its forced beginning too long), the likeliest live text is returned.

    live:       ab .. ac .. bb        best that ended: a$
                 |     |     |
    end:        ab$   ac$   bb$       best of these and a$
    continue:   aba abb  aca acc  bbb ...     the 3 likeliest of all live on

Differs from it: a sampled text depends on (seed, its number) and on no other text; one random number selects each token,
by its place among the cumulative probabilities.
"""

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Settings of how tokens are chosen; by default always the likeliest one."""

    temperature: float = 0.0
    """Logits are divided by it before a token is drawn; 0 takes the likeliest (greedy)."""
    nucleus: float = 1.0
    """Draw among the likeliest tokens that together have this probability (arXiv 1904.09751)."""
    best_of: int = 1
    """Draw this many texts and keep the likeliest."""
    beams: int = 1
    """Texts that a beam search follows; 1 is none."""
    seed: int = 0
    """Of what is drawn, together with the number of the text."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.nucleus <= 1 or self.best_of < 1 or self.beams < 1:
            raise BadInput(
                f"tokens are chosen with temperature {self.temperature}, nucleus {self.nucleus}, best of {self.best_of} and"
                f" {self.beams} beams; give 0 or more, above 0 up to 1, and 1 or more"
            )
        if self.temperature == 0 and (self.nucleus < 1 or self.best_of > 1):
            raise BadInput(
                "a nucleus, and the best of several, want tokens that are drawn; give a temperature above 0, such as 1"
            )
        if self.beams > 1 and self.temperature > 0:
            raise BadInput(f"a search with {self.beams} beams draws nothing; leave the temperature at 0, or the beams at 1")


class DecodingState(Protocol):
    """Texts that are being decoded, one per row of a batch."""

    logits: Float[Tensor, "b v"]
    """Of the next token of each row."""

    def step(self, ids: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
        """Append a token to each row, and return the new `logits`."""
        ...

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Replace row i by row `rows[i]`; rows may be repeated or omitted."""
        ...


@dataclass(frozen=True)
class Generated:
    """A generated text as tokens."""

    ids: tuple[int, ...]
    """Without the token that ended it."""
    log_probabilities: tuple[float, ...]
    """Of each of the ids, then of the end where there is one."""
    ended: bool
    """By an end token; else `max_new_tokens` was reached."""

    @property
    def score(self) -> float:
        """Log-probability of the whole text."""
        return math.fsum(self.log_probabilities)


@dataclass(frozen=True)
class StepTokens:
    """The tokens of one step; None for rows that had ended before."""

    tokens: tuple[int | None, ...]
    """End tokens among them."""
    log_probabilities: tuple[float | None, ...]


def generate(
    state: DecodingState,
    max_new_tokens: int,
    ends: Collection[int],
    sampling: SamplingConfig | None = None,
    *,
    forced: Sequence[Sequence[int]] | None = None,
    forbidden: Collection[int] = (),
    numbers: Sequence[int] | None = None,
    on_step: Callable[[StepTokens], object] | None = None,
) -> list[Generated]:
    """Generate a text for each row.

    Args:
        state: the rows.
        max_new_tokens: maximum, including forced tokens and the end.
        ends: tokens, any of which ends a text.
        sampling: how tokens are chosen; greedily by default.
        forced: for each row the ids with which it begins; they are part of the result.
        forbidden: ids that are never chosen.
        numbers: of the texts, which determine their random draws; by default their places in the batch.
        on_step: called with the tokens of each step; not with beams or the best of several.

    Raises:
        BadInput: incompatible settings.
    """
    sampling = SamplingConfig() if sampling is None else sampling
    if on_step is not None and (sampling.beams > 1 or sampling.best_of > 1):
        raise BadInput("beams, and the best of several, are known at the end only; give neither with on_step")
    if sampling.beams > 1:
        return beam_search(state, max_new_tokens, ends, sampling.beams, forced=forced, forbidden=forbidden)
    copies = sampling.best_of
    if copies > 1:
        rows = torch.arange(state.logits.shape[0], device=state.logits.device)
        numbers = rows.tolist() if numbers is None else numbers
        numbers = [number + (copy << 40) for number in numbers for copy in range(copies)]  # the first copy draws as one alone
        forced = None if forced is None else [begin for begin in forced for _ in range(copies)]
        state.reorder(rows.repeat_interleave(copies))
    count, steps = state.logits.shape[0], list[StepTokens]()
    for step in stream(state, max_new_tokens, ends, sampling, forced=forced, forbidden=forbidden, numbers=numbers):
        steps.append(step)
        if on_step is not None:
            on_step(step)
    results = [_text_of(steps, row, ends) for row in range(count)]
    groups = [results[first : first + copies] for first in range(0, len(results), copies)]
    return [max(group, key=lambda text: text.score) for group in groups]


def _text_of(steps: Sequence[StepTokens], row: int, ends: Collection[int]) -> Generated:
    ids = tuple(token for step in steps if (token := step.tokens[row]) is not None)
    values = tuple(value for step in steps if (value := step.log_probabilities[row]) is not None)
    ended = bool(ids) and ids[-1] in ends
    return Generated(ids[:-1] if ended else ids, values, ended)


def greedy(state: DecodingState, max_new_tokens: int, ends: Collection[int]) -> list[list[int]]:
    """Choose the likeliest token each time, up to one of `ends`, which is omitted, or `max_new_tokens`."""
    texts: list[list[int]] = [[] for _ in range(state.logits.shape[0])]
    for step in stream(state, max_new_tokens, ends, probabilities=False):
        for row, token in enumerate(step.tokens):
            if token is not None and token not in ends:
                texts[row].append(token)
    return texts


@torch.no_grad()
def stream(
    state: DecodingState,
    max_new_tokens: int,
    ends: Collection[int],
    sampling: SamplingConfig | None = None,
    *,
    forced: Sequence[Sequence[int]] | None = None,
    forbidden: Collection[int] = (),
    numbers: Sequence[int] | None = None,
    probabilities: bool = True,
) -> Iterator[StepTokens]:
    """Generate step by step, as `generate` does without beams and copies; yields each step before the next is computed.

    Without `probabilities`, those of a step are None.
    """
    sampling = SamplingConfig() if sampling is None else sampling
    logits = state.logits
    batch = logits.shape[0]
    begin = _forced_beginnings(forced, batch, logits.shape[1])
    excluded = _existing_ids(forbidden, logits)
    numbers = range(batch) if numbers is None else numbers
    if len(numbers) != batch:
        raise BadInput(f"there are {len(numbers)} numbers for {batch} texts; give one a text")
    generators = [_generator(sampling.seed, number) for number in numbers] if sampling.temperature > 0 else None
    open_rows = [True] * batch
    for place in range(max_new_tokens):
        chosen = _choose_tokens(
            logits if excluded is None else logits.index_fill(1, excluded, -torch.inf), sampling, generators
        )
        for row in range(batch):
            if open_rows[row] and place < len(begin[row]):
                chosen[row] = begin[row][place]
        ids = chosen.tolist()
        values: list[float] | list[None] = [None] * batch
        if probabilities:
            values = logits.float().log_softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
        tokens = tuple(token if live else None for token, live in zip(ids, open_rows, strict=True))
        yield StepTokens(tokens, tuple(value if live else None for value, live in zip(values, open_rows, strict=True)))
        open_rows = [live and token not in ends for live, token in zip(open_rows, ids, strict=True)]
        if not any(open_rows) or place + 1 == max_new_tokens:
            return
        logits = state.step(chosen)


def _generator(seed: int, number: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def _choose_tokens(
    logits: Float[Tensor, "b v"], sampling: SamplingConfig, generators: list[torch.Generator] | None
) -> Int[Tensor, " b"]:
    if generators is None:
        return likeliest(logits)
    sums = nucleus(logits.double() / sampling.temperature, sampling.nucleus).softmax(-1).cumsum(-1)
    at = torch.stack([torch.rand((), generator=draw, dtype=torch.float64) for draw in generators]).to(sums.device)
    return torch.searchsorted(sums, (at * sums[:, -1])[:, None], right=True)[:, 0].clamp_max(logits.shape[1] - 1)


def likeliest(logits: Float[Tensor, "b v"]) -> Int[Tensor, " b"]:
    """Find the first maximum of each row; on a CPU with numpy, which is five times as fast there as torch (2.13)."""
    if logits.device.type != "cpu":
        return logits.argmax(-1)
    return torch.from_numpy(logits.detach().float().numpy().argmax(-1))


def nucleus(logits: Float[Tensor, "b v"], part: float) -> Float[Tensor, "b v"]:
    """Keep the likeliest tokens that together have this probability; the other logits become -inf.

    >>> logits = torch.tensor([[0.1, 0.6, 0.3]]).log()
    >>> nucleus(logits, 0.7).exp()
    tensor([[0.0000, 0.6000, 0.3000]])
    """
    if part >= 1:
        return logits
    ordered = logits.sort(-1, descending=True).values
    last = (ordered.softmax(-1).cumsum(-1) < part).sum(-1, keepdim=True).clamp_max(logits.shape[-1] - 1)
    return logits.masked_fill(logits < ordered.gather(-1, last), -torch.inf)


@torch.no_grad()
def beam_search(
    state: DecodingState,
    max_new_tokens: int,
    ends: Collection[int],
    beams: int,
    *,
    forced: Sequence[Sequence[int]] | None = None,
    forbidden: Collection[int] = (),
) -> list[Generated]:
    """Search for the likeliest text of each row with `beams` live texts; arguments are those of `generate`."""
    batch, vocabulary = state.logits.shape
    begin, excluded = _forced_beginnings(forced, batch, vocabulary), _existing_ids(forbidden, state.logits)
    ending = sorted(token for token in set(ends) if 0 <= token < vocabulary)
    live = [[Generated((), (), False)] for _ in range(batch)]
    best: list[Generated | None] = [None] * batch
    width = 1  # rows of an example; all have as many, dead ones among them
    for place in range(max_new_tokens):
        values = state.logits.float().log_softmax(-1)
        allowed = values if excluded is None else values.index_fill(1, excluded, -torch.inf)
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
                    value, previous = closing[first + i] if closing else -math.inf, best[example]
                    closed = Generated(text.ids, (*text.log_probabilities, value), True)
                    if value > -math.inf and (previous is None or closed.score > previous.score):
                        best[example] = closed
                options = [
                    (text.score + value, i, token, value)
                    for i, text in enumerate(texts)
                    for value, token in zip(top_values[first + i], top_ids[first + i], strict=True)
                    if value > -math.inf
                ]
                kept = sorted(options, key=lambda option: -option[0])[:beams]
            else:
                token = begin[example][place]
                kept = [(0.0, i, token, float(values[first + i, token])) for i in range(len(texts))]
            live[example] = [
                Generated((*texts[i].ids, token), (*texts[i].log_probabilities, value), False) for _, i, token, value in kept
            ]
            rows.append([first + i for _, i, _, _ in kept])
            tokens.append([token for _, _, token, _ in kept])
        done = (
            not texts or (ended is not None and max(text.score for text in texts) < ended.score)
            for texts, ended in zip(live, best, strict=True)
        )
        if place + 1 == max_new_tokens or all(done):
            break
        width = max(map(len, rows))
        _continue_texts(state, rows, tokens, width)
    return [ended or max(texts, key=lambda text: text.score) for ended, texts in zip(best, live, strict=True)]


def _continue_texts(state: DecodingState, rows: list[list[int]], tokens: list[list[int]], width: int) -> None:
    """Make row i of each example its i-th live text; an example with fewer repeats one, which is ignored."""
    device = state.logits.device
    full = [(r + [r[0] if r else 0] * (width - len(r)), t + [0] * (width - len(t))) for r, t in zip(rows, tokens, strict=True)]
    state.reorder(torch.tensor([row for part, _ in full for row in part], device=device))
    state.step(torch.tensor([token for _, part in full for token in part], device=device))


def _forced_beginnings(forced: Sequence[Sequence[int]] | None, batch: int, vocabulary: int) -> Sequence[Sequence[int]]:
    """List the ids that each text begins with. Raises BadInput unless there is one list per text, with valid ids."""
    begin = [()] * batch if forced is None else forced
    if len(begin) != batch or any(not 0 <= token < vocabulary for ids in begin for token in ids):
        raise BadInput(
            f"there are {len(begin)} forced beginnings for {batch} texts, of ids of which some may be unknown; give one a"
            f" text, of ids 0..{vocabulary - 1}"
        )
    return begin


def _existing_ids(forbidden: Collection[int], logits: Tensor) -> Tensor | None:
    """Select the forbidden ids that exist. Raises BadInput if that forbids all."""
    ids = sorted(token for token in set(forbidden) if 0 <= token < logits.shape[1])
    if len(ids) == logits.shape[1]:
        raise BadInput("every token is forbidden; leave one")
    return torch.tensor(ids, device=logits.device) if ids else None
