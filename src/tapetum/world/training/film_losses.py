"""Losses of the stage films: for questions and for words about moments, over all processes of a run. No paper has them.

moments of a film x the options of its questions     the right one of each question
moments of all films x texts of all films            a text finds one of its moments, a moment one of its texts
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.layers.patches import sine_1d
from tapetum.layers.precision import unrounded
from tapetum.train.contrastive import similarities, unit_rows
from tapetum.train.gather import all_gather


def option_loss(
    moments: Float[Tensor, "b m e"],
    options: Float[Tensor, "b q k e"],
    scale: float | Float[Tensor, ""],
    valid: Bool[Tensor, "b q"],
) -> Float[Tensor, ""]:
    """Compute the cross entropy of choosing the first of k options, averaged over this process's questions.

    The logit of an option is the logarithm of the sum of exp(scale * cosine) over the moments of its film: the soft maximum by
    which `streaming.similarity_scores` chooses. Rows of zeros stand for no moment; `valid` marks which of the q questions
    exist.
    """
    moments, options = unit_rows(moments), unit_rows(options)
    with unrounded(moments):
        logits = scale * torch.einsum("bme,bqke->bqkm", moments, options)
    logits = logits.masked_fill(~moments.any(-1)[:, None, None], -torch.inf).logsumexp(-1)
    return -logits.log_softmax(-1)[..., 0][valid].mean()


def moment_text_loss(
    moments: Float[Tensor, "b m e"],
    texts: Float[Tensor, "b k e"],
    inside: Bool[Tensor, "b k m"],
    scale: float | Float[Tensor, ""],
    names: Int[Tensor, "b k"],
) -> Float[Tensor, ""]:
    """Compute the cross entropies of texts retrieving a moment of theirs among all films', and of moments a text, halved.

    A text may span several moments, any of which is correct; so are those of equal texts. Moments without a text are wrong for
    all.

    Args:
        moments: of this process's films; rows of zeros stand for none.
        texts: the events of each film.
        inside: the moments of its film in which each happens; none: the text does not exist.
        scale: inverse of the temperature.
        names: numbers of which those of equal texts are equal.

    A task that uses it says `joint_batch = True`.
    """
    moments, texts = unit_rows(moments), unit_rows(texts)
    every_moment, every_text, every_name = all_gather(moments), all_gather(texts), all_gather(names)
    every_inside = all_gather(inside.byte()).bool()
    present, every_present = inside.any(2), every_inside.any(2)
    same = (names[:, :, None, None] == every_name) & present[:, :, None, None] & every_present  # (b, k, B, K)
    right = torch.einsum("bkcj,cjm->bkcm", same.float(), every_inside.float()).flatten(2) > 0  # (b, k, B m)
    logits = scale * similarities(texts.flatten(0, 1), every_moment.flatten(0, 1)).unflatten(0, texts.shape[:2])
    logits = logits.masked_fill(~every_moment.any(-1).flatten(), -torch.inf)
    by_text = _any_right(logits[present], right[present]).mean()
    back = torch.einsum("bkm,bkcj->bmcj", inside.float(), same.float()).flatten(2) > 0  # (b, m, B K)
    logits = scale * similarities(moments.flatten(0, 1), every_text.flatten(0, 1)).unflatten(0, moments.shape[:2])
    logits, named = logits.masked_fill(~every_present.flatten(), -torch.inf), inside.any(1)
    by_moment = _any_right(logits[named], back[named]).mean()
    return (by_text + by_moment) / 2


def _any_right(logits: Tensor, right: Tensor) -> Tensor:
    """The negative log-probability, along the last axis, of all correct entries together."""
    return logits.logsumexp(-1) - logits.masked_fill(~right, -torch.inf).logsumexp(-1)


@torch.no_grad()
def add_time_codes(positions: Float[Tensor, "slots rows columns d"], deviation: float = 0.2) -> bool:
    """Add sines of time to a table that is (nearly) equal in all time steps, as after inflation; returns whether it was.

    Such a network cannot tell the order of events. `deviation` is that of the codes; positions of the bundled networks have
    0.7.
    """
    if (positions - positions.mean(0)).std() > 0.02 * positions.std():
        return False
    slots, width = len(positions), positions.shape[-1]
    codes = sine_1d(torch.arange(slots), width // 2 * 2, wavelength=2.0 * slots) * 2**0.5 * deviation
    positions[..., : codes.shape[1]] += codes[:, None, None].to(positions)
    return True
