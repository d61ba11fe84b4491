"""The contrastive loss of videos and texts, over all processes of a run.

    videos of all processes x texts of all processes     a video finds its texts, a text its video
    + for a video, its own wrong answers as columns      hard negatives (MC-ViT, arXiv 2402.05861, section 4.3: NExT-QA)

Source: MC-ViT, equation 8: the sum of both directions. A video may have several texts, all correct, and equal texts match each
other's videos. Rows are normalised to length 1.

Differs from the paper: half of the sum, so the value is CLIP's; several and equal texts are ours.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.precision import unrounded
from tapetum.train.contrastive import own_rows, similarities, unit_rows
from tapetum.train.gather import all_gather


def video_text_loss(
    videos: Float[Tensor, "b e"],
    texts: Float[Tensor, "b m e"],
    scale: float | Float[Tensor, ""],
    *,
    valid: Bool[Tensor, "b m"] | None = None,
    names: Int[Tensor, "b m"] | None = None,
    hard: Float[Tensor, "b k e"] | None = None,
    hard_valid: Bool[Tensor, "b k"] | None = None,
) -> Float[Tensor, ""]:
    """Compute half the cross entropies of video-to-text and text-to-video retrieval, averaged over own videos.

    Args:
        videos: vectors of this process's videos.
        texts: m texts of each.
        scale: inverse of the temperature.
        valid: which of the texts exist; all by default. A video has at least one.
        names: numbers that are equal for equal texts.
        hard: wrong texts of each video, negatives for this video only.
        hard_valid: which of these exist; all by default.

    A task that uses it says `joint_batch = True`. Raises BadInput for a video without text.
    """
    b, m = texts.shape[:2]
    if valid is None:
        valid = torch.ones(b, m, dtype=torch.bool, device=texts.device)
    elif not bool(valid.any(1).all()):
        raise BadInput("a video of the batch has no text; leave it out, or give it one")
    videos, texts = unit_rows(videos), unit_rows(texts)
    every_video, every_text, every_valid = all_gather(videos), all_gather(texts), all_gather(valid.byte()).bool()
    same = own_rows(videos)[:, None] == torch.arange(len(every_video), device=videos.device)  # (b, B)
    same = same[:, None, :, None].expand(b, m, -1, m)  # (b, m, B, m): of one video
    if names is not None:
        same = same | (names[:, :, None, None] == all_gather(names))
    same = same & valid[:, :, None, None] & every_valid
    logits = (scale * similarities(videos, every_text.flatten(0, 1))).masked_fill(~every_valid.flatten(), -torch.inf)
    positives = same.any(1).flatten(1)  # (b, B m)
    if hard is not None:
        worse = scale * _own_similarities(videos, unit_rows(hard))
        worse = worse if hard_valid is None else worse.masked_fill(~hard_valid, -torch.inf)
        logits = torch.cat([logits, worse], 1)
        positives = torch.cat([positives, torch.zeros_like(worse, dtype=torch.bool)], 1)
    forth = _cross_entropy(logits, positives).mean()
    logits = similarities(texts.flatten(0, 1), every_video).unflatten(0, (b, m))
    each = _cross_entropy(scale * logits, same.any(3) | ~valid[:, :, None]).masked_fill(~valid, 0.0)
    return (forth + (each.sum(1) / valid.sum(1)).mean()) / 2


def _own_similarities(videos: Tensor, hard: Tensor) -> Tensor:
    """The products of each video with its own wrong texts, (b, k)."""
    with unrounded(videos):
        return (hard @ videos[..., None])[..., 0]


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy along the last axis, with equal weight for all correct entries."""
    log_probabilities = logits.log_softmax(-1).masked_fill(~targets, 0.0)
    return -log_probabilities.sum(-1) / targets.sum(-1)
