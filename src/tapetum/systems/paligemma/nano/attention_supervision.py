r"""Telling a decoder where to look while it writes places and masks, which images of `scenes/` know.

    detect cup \n  <loc> <loc> <loc> <loc> cup
               |     |     |     |
               '-----'-----'-----'-- each is to write the next place of the cup: two heads of the last block but one should
                                     look at the tokens of the image on which the cup is seen

Between a head that finds the thing and a layer that writes its place, neither is of use without the other, so at first neither
is learned: after 60 CPU minutes the boxes of the first `paligemma-nano` knew nothing of the side on which a thing is. What the
colour of a thing is, it had found out all the same, for colours are told of things that stand out too.

Differs from the paper, which has no such loss; nothing is different once the model is trained.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.encoders.decoder import Decoder, DecoderAttention, DecoderBlock
from tapetum.layers.attention import turn
from tapetum.layers.linear import linear
from tapetum.systems.paligemma.data import Pair
from tapetum.systems.paligemma.losses import Packed
from tapetum.systems.paligemma.tokens import Tokens

HEADS = 2
"""That are told where to look; the others are free."""
SHARE = 0.3
"""A thing is seen on tokens with this share of the most pixels that it has on any."""


@dataclass(frozen=True)
class Looks:
    """Where tokens of a packed batch should look."""

    at: Int[Tensor, "e t"]
    """Number of the spot, -1 where the token may look anywhere."""
    spots: Bool[Tensor, "s n"]
    """Tokens of an image."""


def spot(seen: Bool[np.ndarray, "h w"], patch: int) -> Bool[np.ndarray, " n"]:
    """Give the tokens of an image on which a thing is seen.

    >>> spot(np.eye(4, dtype=bool), 2).tolist()
    [True, False, False, True]
    """
    rows, columns = (side // patch for side in seen.shape)
    counts = seen[: rows * patch, : columns * patch].reshape(rows, patch, columns, patch).sum((1, 3)).ravel()
    return (counts > 0) & (counts >= SHARE * counts.max())


def looks_of(
    texts: Sequence[Sequence[Pair]], ids: Sequence[Any], packed: Packed, tokens: Tokens, patch: int, count: int
) -> Looks:
    """Find where each token should look.

    Args:
        texts: of each image.
        ids: which thing each pixel of each image shows, (h, w).
        packed: the same texts in numbers.
        tokens: made the numbers.
        patch: pixels along a side of an image's token.
        count: tokens of an image.
    """
    at = torch.full_like(packed.ids, -1)
    spots: list[np.ndarray] = []
    for example, pairs in enumerate(texts):
        ordered = [pair for long in (False, True) for pair in pairs if pair.long == long]
        for row, pair in enumerate(ordered, start=1):
            if not pair.about:
                continue
            first = len(spots)
            spots += [spot(ids[example] == thing, patch) for thing in pair.about]
            places = ((packed.row[example] == row) & (packed.target[example] > 0)).nonzero()[:, 0]
            told = _things_of(packed.target[example, places].tolist(), tokens)
            for place, thing in zip(places.tolist(), told, strict=True):
                if 0 <= thing < len(pair.about):
                    at[example, place] = first + thing
            if pair.kind == "region":  # which has its places in the prefix: the first word
                at[example, places[0]] = first
    table = np.stack(spots) if spots else np.zeros((0, count), bool)
    return Looks(at, torch.from_numpy(table))


def _things_of(targets: Sequence[int], tokens: Tokens) -> list[int]:
    """Which thing of a list each token belongs to; -1 for words."""
    found, places = [], 0
    for target in targets:
        if tokens.is_location(target):
            found.append(places // 4)
            places += 1
        else:
            found.append(places // 4 - 1 if tokens.is_segment(target) else -1)
    return found


def layer_of(decoder: Decoder) -> DecoderAttention:
    """Give the attention that is told where to look: of the last block but one, or of the only one."""
    block = decoder.blocks[max(len(decoder.blocks) - 2, 0)]
    return cast(DecoderAttention, cast(DecoderBlock, block).attention)


@contextmanager
def watched(attention: nn.Module) -> Iterator[dict[str, Any]]:
    """Keep what a layer of attention is given: x, angles and mask."""
    kept: dict[str, Any] = {}

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        kept.update(zip(("x", "angles", "mask"), given, strict=False))

    handle = attention.register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def looking_loss(
    attention: DecoderAttention, x: Float[Tensor, "e n d"], angles: tuple[Tensor, Tensor], mask: Tensor, looks: Looks
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Compute the mean of -log of the attention on the spots, and the mean attention on them.

    Args:
        attention: the layer.
        x: what it is given: an image's tokens, then texts.
        angles: of the positions.
        mask: what is added to its logits, (e, 1, n, n).
        looks: where tokens of the texts should look.
    """
    config, seen = attention.config, looks.spots.shape[1]
    example, place = (looks.at >= 0).nonzero(as_tuple=True)
    if not len(example):
        return x.sum() * 0, x.new_zeros(())
    joined = linear(x, attention.query_key_value).unflatten(-1, (-1, config.head_width)).transpose(1, 2)
    turned = turn(joined[:, : config.heads + config.key_value_heads], *angles)
    query, key = turned[:, :HEADS, seen:], turned[:, config.heads, None]
    logits = (query @ key.transpose(-1, -2)).float() * config.scale + mask[:, :, seen:].float()
    given = logits.log_softmax(-1)[example, :, place, :seen]
    found = given.masked_fill(~looks.spots[looks.at[example, place]][:, None], -torch.inf).logsumexp(-1)
    return -found.mean(), found.detach().exp().mean()
