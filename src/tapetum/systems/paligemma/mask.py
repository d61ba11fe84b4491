"""Who sees whom: the mask of a prefix language model (arXiv 2407.07726, figure 2).

    i images, b BOS, p prefix, n newline, s suffix, e end, . padding                        x: sees

                 keys                        full            keys                          causal
             i i i b p n . s s e .                       i i i b p n . s s e .
    query i  x x x x x x                        query i  x
          i  x x x x x x                              i  x x
          i  x x x x x x                              i  x x x
          b  x x x x x x                              b  x x x x
          p  x x x x x x                              p  x x x x x
          n  x x x x x x                              n  x x x x x x
          s  x x x x x x   x                          s  x x x x x x   x
          s  x x x x x x   x x                        s  x x x x x x   x x
          e  x x x x x x   x x x                      e  x x x x x x   x x x

Between them: `blocks`, images see images, the prefix sees both, the suffix is causal; `images`, images see each other,
prefix and suffix are causal. In both, what images see does not depend on the text: several texts may share it. Nobody sees
padding, which itself sees what is before it and matters to nobody.

In local blocks with a window of w, a query sees the keys of that many positions back, itself included; those of its own block
(all of the prefix, where it is `full`) it sees however far they are, as in transformers. big_vision knows no window.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tapetum.layers.transformer import step_mask


@dataclass(frozen=True)
class PrefixLmMask:
    """Where the tokens of a batch stand, and who sees whom."""

    positions: Int[Tensor, "b n"]
    """Of tokens in their example, from 0, padding not counted."""
    mask: Bool[Tensor, "b 1 n n"]
    local_mask: Bool[Tensor, "b 1 n n"] | None
    """For local blocks; None where there is no window."""


def prefix_lm_mask(
    valid: Bool[Tensor, "b n"],
    images: int,
    prefix: int,
    how: Literal["full", "blocks", "images", "causal"] = "full",
    window: int | None = None,
) -> PrefixLmMask:
    """Lay out `images` tokens of images, `prefix` of text, and the suffix, which is the rest.

    Args:
        valid: what is no padding.
        images: their tokens, first.
        prefix: tokens after them, padding at their end.
        how: see above.
        window: of local blocks.
    """
    steps = torch.ones_like(valid, dtype=torch.long)
    steps[:, : {"full": images + prefix, "blocks": images + prefix, "images": images, "causal": 0}[how]] = 0
    if how == "blocks":
        steps[:, images] = 1
    mask = step_mask(steps) & valid[:, None, None, :]
    positions = (valid.long().cumsum(1) - 1).clamp_min(0)
    local = None
    if window is not None:
        step = steps.cumsum(1)
        near = positions[:, :, None] - positions[:, None, :] < window
        local = mask & (near | (step[:, :, None] == step[:, None, :]))[:, None]
    return PrefixLmMask(positions, mask, local)
