"""Losses of TAPNext: bins of the coordinates, their mean, and visibility.

Source: the loss files of google-deepmind/tapnet (`tapnext/losses.py`, `tapnext/torch_losses.py`) for the terms and weights:

    coordinates   cross entropy of each axis with the bin of the target, round(target - 0.5)              weight 1
    position      Huber (delta 1) on the distance between the mean of the bins and the target             weight 0.1
    visibility    cross entropy                                                                           weight 1

    frame              before the query   visible   hidden, inside the image   hidden, outside of it
    coordinates, position      0             1           occluded_weight                 0
    visibility                 0             1                  1                        1

Each term is a mean over what counts. TAPNext++ (arXiv 2604.10582) supervises hidden points with an `occluded_weight` of 0.2;
TAPNext does not. Targets are clipped to the image, all in pixels of the network's `image_size`, whatever the size of the video.

The public file differs from what its texts say, and `as_public` computes what it does: the cross entropy is averaged before it
meets its mask, so that hidden points and those before their query count in full; visibility counts before the query, and the
position of a visible point too. How the losses of the layers are weighted is not published: here they are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from tapetum.layers.sampling import constant, scale_xy
from tapetum.systems.tapnext.model import TapNextPredictions
from tapetum.tracks.training.tracker_task import Terms, huber, mean_terms

COORDINATE_WEIGHT, POSITION_WEIGHT, VISIBLE_WEIGHT = 1.0, 0.1, 1.0
"""Weights of the terms."""
HUBER_DELTA = 1.0
"""Pixels up to which the position loss is quadratic."""


@dataclass(frozen=True)
class TrackTargets:
    """Tracks as targets, with what of them counts."""

    xy: Float[Tensor, "b q t 2"]
    """Raster pixels of the network's `image_size`, clipped to it: 0 to its sides less 1, as in the public file."""
    visible: Bool[Tensor, "b q t"]
    located: Float[Tensor, "b q t"]
    """Weight of the terms of position."""
    known: Float[Tensor, "b q t"]
    """Weight of visibility."""


def make_targets(
    queries: Float[Tensor, "b q 3"],
    xy: Float[Tensor, "b q t 2"],
    occluded: Bool[Tensor, "b q t"],
    video_size: tuple[int, int],
    image_size: tuple[int, int],
    *,
    occluded_weight: float = 0.0,
    as_public: bool = False,
) -> TrackTargets:
    """Bring tracks, raster pixels of a video of (height, width) `video_size`, into pixels of `image_size`, and weigh them.

    Args:
        queries: (t, x, y) of each point.
        xy: true positions.
        occluded: where the point is hidden or outside of the image.
        video_size: height and width of the video.
        image_size: those of the network.
        occluded_weight: of hidden points inside the image in the terms of position.
        as_public: weigh as the public file does in fact.
    """
    scaled = scale_xy(xy.float(), video_size, image_size)
    side = constant([image_size[1], image_size[0]], scaled)
    inside = ((scaled >= 0) & (scaled < side)).all(-1)
    visible, frame = ~occluded, torch.arange(xy.shape[2], device=xy.device)
    known = (frame >= queries[..., :1].round()).float()
    located = torch.where(visible, 1.0, occluded_weight * inside.float())
    if as_public:
        known = torch.ones_like(known)
        located = visible.float()
    return TrackTargets(torch.minimum(scaled.clamp(min=0), side - 1), visible, located * known, known)


def tracking_losses(predictions: Sequence[TapNextPredictions], targets: TrackTargets, *, as_public: bool = False) -> Terms:
    """Average `coordinates`, `position` and `visibility` over the predictions of some layers; `as_public` as in
    `make_targets`."""
    return mean_terms([_layer_losses(one, targets, as_public) for one in predictions])


def _layer_losses(one: TapNextPredictions, targets: TrackTargets, as_public: bool) -> Terms:
    bins = one.logits.shape[-1]
    label = (targets.xy - 0.5).clamp(0, bins - 1).round().long()
    entropy = F.cross_entropy(one.logits.float().flatten(0, -2), label.flatten(), reduction="none").unflatten(0, label.shape)
    coordinates = entropy.sum(-1)  # of both axes
    distance = ((one.image_xy.float() - targets.xy).square().sum(-1) + 1e-12).sqrt()
    position = huber(distance, HUBER_DELTA)
    visibility = F.binary_cross_entropy_with_logits(one.visible_logits.float(), targets.visible.float(), reduction="none")
    everywhere = torch.ones_like(targets.known)
    return {
        "coordinates": COORDINATE_WEIGHT * _mean(coordinates, everywhere if as_public else targets.located),
        "position": POSITION_WEIGHT * _mean(position, targets.located),
        "visibility": VISIBLE_WEIGHT * _mean(visibility, targets.known),
    }


def _mean(loss: Float[Tensor, "*s"], weight: Float[Tensor, "*s"]) -> Float[Tensor, ""]:
    """Mean over what counts; 0 where nothing does."""
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)
