"""Beam search as in big_vision's PaliGemma.

Each step first lets every live text end, and keeps the best that ever ended: by sums of log-probabilities, not divided by
lengths. Then each live text goes on with its likeliest tokens but the end, and the n best live on. It is over when no live text
is as likely as the best that ended, which is the answer.

    live:   ab .. ac .. bb        ended so far, best: a$
             |     |     |
    end:    ab$   ac$   bb$       best of these and a$
    go on:  aba abb  aca acc  bbb ...     the 3 likeliest of all live on

A text that had no room to end (its end is forbidden, or its beginning too long) is given as it is.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from tapetum.layers.generate_steps import Generated, Steps, banned_ids, beginnings


@dataclass(frozen=True)
class _Live:
    """A text of a beam search that has not ended."""

    ids: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@torch.no_grad()
def beam_search(
    steps: Steps,
    max_new_tokens: int,
    ends: Collection[int],
    beams: int,
    *,
    forced: Sequence[Sequence[int]] | None = None,
    forbidden: Collection[int] = (),
) -> list[Generated]:
    """Follow the `beams` likeliest texts of each row; see `tapetum.layers.generate.write` for what is asked."""
    batch, vocabulary = steps.logits.shape
    begin, banned = beginnings(forced, batch, vocabulary), banned_ids(forbidden, steps.logits)
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
