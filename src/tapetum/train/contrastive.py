"""Contrastive losses whose negatives come from all processes of a run.

Sources: InfoNCE (CPC, arXiv 1807.03748, eq. 4), CLIP (arXiv 2103.00020, figure 3), NT-Xent (SimCLR, arXiv 2002.05709, eq. 1),
the sigmoid loss (SigLIP, arXiv 2303.15343, eq. 1 and section 3.3).

    process 0   q_0 . [k_0 k_1]   -> mean over its own b rows        the mean over the processes, which a run minimises,
    process 1   q_1 . [k_0 k_1]   -> mean over its own b rows        is the loss of the joint batch of 2 b rows

Each process holds only its own rows of the similarity matrix, (b, world * b); for the sigmoid loss, which needs no sum over a
row, one block (b, b) at a time. Rows are normalised to unit length here. Tasks that use these must set `joint_batch = True`
(`tapetum.train.Task`).

Differs from the public code of CLIP: the gradient reaches the gathered keys in the processes that they come from, so nothing
is lost and no factor for the number of processes is needed.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tapetum.layers.precision import unrounded
from tapetum.train.gather import all_gather, shift
from tapetum.train.process_group import current_process_group


def info_nce(
    queries: Float[Tensor, "b d"],
    keys: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    groups: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the mean over this process's queries of the cross entropy of matching their own key among those of all processes.

    `scale` is the inverse of the temperature; CLIP learns it, as exp of a parameter. `groups` has a number per query: every key
    whose query has the same number is correct.

    >>> rows = torch.eye(4)
    >>> round(float(info_nce(rows, rows, scale=1.0)), 6) == round(float(torch.log(torch.tensor(1 + 3 / torch.e))), 6)
    True
    """
    queries, keys = unit_rows(queries), unit_rows(keys)
    logits = scale * similarities(queries, all_gather(keys))
    if groups is None:
        return F.cross_entropy(logits, own_rows(queries))
    alike = (groups[:, None] == all_gather(groups)).to(logits.dtype)
    return F.cross_entropy(logits, alike / alike.sum(1, keepdim=True))


def clip_loss(
    images: Float[Tensor, "b d"],
    texts: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    groups: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Average `info_nce` from images to texts and from texts to images."""
    return (info_nce(images, texts, scale, groups) + info_nce(texts, images, scale, groups)) / 2


def nt_xent(first: Float[Tensor, "b d"], second: Float[Tensor, "b d"], scale: float | Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Compute SimCLR's loss of two views: each row must match its other view among all rows of both, except itself."""
    first, second = unit_rows(first), unit_rows(second)
    every = all_gather(torch.stack([first, second], 1))  # (world * b, 2, d)
    own, losses = own_rows(first), []
    for view, rows in enumerate((first, second)):
        logits = scale * similarities(rows, every.flatten(0, 1))  # (b, world * b * 2)
        logits = logits.scatter(1, (2 * own + view)[:, None], -torch.inf)  # not itself
        losses.append(F.cross_entropy(logits, 2 * own + 1 - view))
    return torch.stack(losses).mean()


def siglip_loss(
    images: Float[Tensor, "b d"],
    texts: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
    groups: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute SigLIP's sigmoid loss: each pair of an image and a text from all processes is classified separately (eq. 1).

    A process's value is the sum over its own b images and all texts, divided by b. The texts go around the ring of processes,
    and each block of (b, b) logits is recomputed in the backward pass instead of stored (section 3.3).

    Args:
        images: embeddings of this process's images, of any length.
        texts: those of their texts.
        scale: factor on the cosines, exp(t') of a learned t'.
        bias: added to the scaled cosines, b of the paper.
        groups: a number per text; a text matches every image whose own text has the same number. None: only its own image.

    >>> rows = torch.eye(2)
    >>> round(float(siglip_loss(rows, rows, scale=0.0, bias=0.0)), 6) == round(2 * math.log(2), 6)
    True
    """
    images, texts = unit_rows(images), unit_rows(texts)
    own = own_rows(images) if groups is None else groups
    size, others, losses = current_process_group().size, own, []
    for step in range(size):
        if step:
            texts, others = shift(texts), shift(others)
        block = images, texts, scale, bias, own, others
        losses.append(_sigmoid_losses(*block) if size == 1 else checkpoint(_sigmoid_losses, *block, use_reentrant=False))
    return torch.stack(losses).sum() / len(images)


def _sigmoid_losses(
    images: Tensor, texts: Tensor, scale: float | Tensor, bias: float | Tensor, own: Tensor, others: Tensor
) -> Tensor:
    """Sum the binary cross entropies of a block of pairs; pairs with equal numbers match."""
    logits = scale * similarities(images, texts) + bias
    return -F.logsigmoid(torch.where(own[:, None] == others, logits, -logits)).sum()


def learned_scale(logarithm: Tensor) -> Float[Tensor, ""]:
    """Compute exp of a learned number, clamped so that the result is at most 100 (CLIP, section 2.5)."""
    with torch.no_grad():
        logarithm.clamp_(max=math.log(100))
    return logarithm.exp()


def similarities(rows: Tensor, every: Tensor) -> Tensor:
    """Compute the products of own rows with all rows in float32: in bfloat16, a similarity times 100 is wrong by 0.4."""
    with unrounded(rows):
        return rows @ every.T


def unit_rows(rows: Tensor) -> Tensor:
    """Normalise rows to length 1, in float32 or better."""
    return F.normalize(rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows, dim=-1)


def own_rows(rows: Tensor) -> Tensor:
    """Number this process's rows within those of all processes."""
    return current_process_group().rank * len(rows) + torch.arange(len(rows), device=rows.device)
