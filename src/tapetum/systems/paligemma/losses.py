"""The loss on the suffix.

Source: PaliGemma (arXiv 2407.07726, 3.2) and its public code. Only the suffix and its end token are learned; what was given
(images, prefix) is not. Which positions of the decoder's input carry a loss, and what each is to say:

    input    i i i  BOS  p  p  \\n   s1   s2   s3
    target                    s1   s2   s3   EOS  .  .           . padding: no loss
             no loss          loss on what the suffix says

The reference takes the mean over an example's tokens first and then over examples, so that a token of a long answer counts less
than one of a short answer; transformers takes the mean over all tokens of the batch. Both are here by name, and `roots` between
them: an example counts as the root of its tokens.

A place may be missed by little or by much, which the cross-entropy does not know: with `Nearby` the target of a place is spread
over its neighbours, a normal distribution around it (not in the reference).

Label smoothing s gives the right token 1 - s and each other one s / (V - 1). Torch's `label_smoothing`, which gives s / V to
all, is the same with s' = s V / (V - 1).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.config import LOCATIONS
from tapetum.systems.paligemma.recipes import POWERS, Mean


@dataclass(frozen=True)
class Nearby:
    """Places near the right one are nearly right."""

    first: int
    """Id of the first place; the others follow it."""
    spread: float
    """Deviation of the target, in places."""

    def losses(self, given: Float[Tensor, "n v"], suffix: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Compute the cross-entropy of log-probabilities of places; all of `suffix` are places."""
        places = torch.arange(LOCATIONS, device=suffix.device)
        apart = (places - (suffix - self.first)[:, None]) / self.spread
        target = (-apart.square() / 2).softmax(-1)
        return -(target * given[:, self.first : self.first + LOCATIONS]).sum(-1)


def token_losses(
    logits: Float[Tensor, "*s v"],
    suffix: Int[Tensor, "*s"],
    smoothing: float = 0.0,
    vocabulary: int | None = None,
    nearby: Nearby | None = None,
) -> Float[Tensor, "*s"]:
    """Compute the cross-entropy of each token in float32; that of padding means nothing.

    Args:
        logits: row k predicts suffix token k, as `PaliGemma.logits` gives them.
        suffix: ids, padded with 0 on the right.
        smoothing: share of the target that is spread over all other tokens.
        vocabulary: rows that are tokens; those from it on, which files of Hugging Face have, are left out.
        nearby: spreads the targets of places, in which case nothing else is smoothed there.
    """
    if not 0 <= smoothing < 1:
        raise BadInput(f"smoothing is {smoothing}; it is 0 or more, and below 1")
    logits = logits[..., :vocabulary].float()
    given = logits.log_softmax(-1)
    right = given.gather(-1, suffix[..., None])[..., 0]
    losses = -right
    if smoothing:
        losses = -(1 - smoothing) * right - smoothing / (logits.shape[-1] - 1) * (given.sum(-1) - right)
    if nearby is not None:
        at = (suffix >= nearby.first) & (suffix < nearby.first + LOCATIONS)
        losses = losses.masked_scatter(at, nearby.losses(given[at], suffix[at]))
    return losses


def suffix_loss(
    logits: Float[Tensor, "b s v"],
    suffix: Int[Tensor, "b s"],
    *,
    mean: Mean = "examples",
    smoothing: float = 0.0,
    vocabulary: int | None = None,
    learned: Bool[Tensor, "b s"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the loss of a batch of suffixes.

    Args:
        logits: as for `token_losses`, as the three after it.
        suffix: ids.
        mean: examples, as the reference; tokens, as transformers; or roots.
        smoothing: of labels.
        vocabulary: rows that are tokens.
        learned: tokens that carry a loss; by default all but padding, which never does.
    """
    counted = suffix != 0 if learned is None else learned & (suffix != 0)
    losses = token_losses(logits, suffix, smoothing, vocabulary) * counted
    return averaged(losses, counted, mean)


def averaged(losses: Float[Tensor, "b s"], counted: Bool[Tensor, "b s"], mean: Mean = "examples") -> Float[Tensor, ""]:
    """Take the mean of losses over the tokens that are counted; an example of which none is counts as 0."""
    weights = token_weights(counted, mean)
    total = counted.shape[0] if mean == "examples" else weights.sum().clamp_min(1e-9)
    return (losses * weights).sum() / total


def token_weights(counted: Bool[Tensor, "b s"], mean: Mean) -> Float[Tensor, "b s"]:
    """Give what each token counts beside others: 1 over those of its example, 1, or 1 over the root."""
    if mean not in POWERS:
        raise BadInput(f"mean is {mean!r}; it is one of {', '.join(POWERS)}")
    return counted / counted.sum(1, keepdim=True).clamp_min(1) ** POWERS[mean]
