"""Losses of six ways to pre-train an encoder; the seventh, supervised, uses cross entropy.

Sources: SimCLR (arXiv 2002.05709, eq. 1), BYOL (2006.07733, eq. 2), DINO (2104.14294, eq. 3), MAE (2111.06377, section 3), CLIP
(2103.00020, figure 3), SigLIP (2303.15343, eq. 1). "Where Should I Spend My FLOPs?" (2209.15589) compares all but the last.

`simclr`, `clip` and `siglip` take negatives from all processes of a run (`tapetum.train.contrastive`); the others are means
over a process's own examples. Either way, the mean over processes, which a run minimises, is the loss of the joint batch. All
are computed in at least float32, regardless of autocast.

Differs from the papers: `byol` is minus the cosine, as in most code; BYOL's 2 - 2 cos is 2 + 2 * `byol`, with twice the slope.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.precision import unrounded
from tapetum.train.contrastive import clip_loss, nt_xent, siglip_loss
from tapetum.train.process_group import current_process_group

Views = Sequence[Float[Tensor, "b k"]] | Float[Tensor, "v b k"]
"""A network's outputs for each view of a batch."""


def simclr(z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """Compute NT-Xent: each projection must match the one of its other view, among all others of both views (eq. 1).

    Args:
        z1: projections of each image's first view, of any length.
        z2: those of the second.
        temperature: what the cosines are divided by.

    Raises:
        BadInput: there is only one image in total, so no negatives.
    """
    _check_negatives(z1)
    return nt_xent(z1, z2, 1 / temperature)


def clip(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    captions: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the mean of two cross entropies: images must match their texts, and texts their images.

    Args:
        image: embeddings of images, of any length.
        text: those of their texts.
        scale: what the cosines are multiplied by, the inverse of a temperature.
        captions: numbers of the texts; texts with the same number are all correct for each other's images, in equal parts.
            None: only an image's own row is correct.

    Raises:
        BadInput: there is only one pair in total, so no negatives.
    """
    _check_negatives(image)
    return clip_loss(image, text, scale, captions)


def siglip(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
    captions: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the sum of each image's binary cross entropies with all texts, averaged over images.

    Arguments are those of `clip`, and `bias`, which is added to the scaled cosines. Images with equal captions match each
    other's texts.
    """
    return siglip_loss(image, text, scale, bias, captions)


def byol(p: Float[Tensor, "b d"], z: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Compute minus the mean cosine of predictions and the target network's projections of the other view; one direction.

    The caller stops the gradient, by computing `z` without one.

    >>> rows = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    >>> float(byol(rows, rows * 2)), float(byol(rows, -rows))
    (-1.0, 1.0)
    """
    return -F.cosine_similarity(_precise(p), _precise(z), dim=-1).mean()


def dino(
    student_views: Views,
    teacher_views: Views,
    center: Float[Tensor, " k"],
    student_temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """Compute the mean cross entropy between the student's and the teacher's outputs, over all pairs of different views.

    Args:
        student_views: logits of each view, the teacher's views first, in the teacher's order.
        teacher_views: the teacher's logits of its (global) views, made without gradient.
        center: a running mean of the teacher's logits, subtracted from them.
        student_temperature: what the student's logits are divided by.
        teacher_temperature: what the teacher's logits are divided by, after centring.

    Raises:
        BadInput: fewer views of the student than of the teacher, or one of each.
    """
    students, teachers = len(student_views), len(teacher_views)
    if not 1 <= teachers <= students or students < 2:
        raise BadInput(
            f"DINO got {students} views of the student and {teachers} of the teacher; give the teacher's views, at least 1, "
            "to both, and 2 or more to the student"
        )
    log_probabilities = F.log_softmax(_precise(_stacked(student_views)) / student_temperature, dim=-1)
    targets = F.softmax((_precise(_stacked(teacher_views)) - center) / teacher_temperature, dim=-1)
    with unrounded(targets):
        # (teachers, students): minus the cross entropy (eq. 1), summed over images
        products = targets.flatten(1) @ log_probabilities.flatten(1).T
    # a pair of one view with itself is left out (eq. 3)
    return -(products.sum() - products.diagonal().sum()) / (teachers * (students - 1) * targets.shape[1])


def mae(
    prediction: Float[Tensor, "b n k"],
    target: Float[Tensor, "b n k"],
    hidden: Bool[Tensor, "b n"],
    normalise: bool,
) -> Float[Tensor, ""]:
    """Compute the mean squared error over the values of all hidden patches.

    Args:
        prediction: for every patch; those for visible patches are ignored.
        target: the values of every patch.
        hidden: True for patches that the encoder did not see.
        normalise: scale each patch's target to mean 0 and deviation 1, with variance over k - 1, plus 1e-6.
    """
    target = _precise(target)
    if normalise:
        variance, mean = torch.var_mean(target, -1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = (_precise(prediction) - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum().clamp(min=1)


def _check_negatives(rows: Tensor) -> None:
    if rows.shape[0] * current_process_group().size < 2:
        raise BadInput(f"a batch of {rows.shape[0]} has no negatives to tell an image from; give batch_size 2 or more")


def _stacked(views: Views) -> Tensor:
    return views if isinstance(views, Tensor) else torch.stack([*views])


def _precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
