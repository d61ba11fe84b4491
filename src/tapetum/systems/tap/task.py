"""The training task of TAPIR, and its losses: position, occlusion, and the uncertainty of the position.

Source: TAP-Net (arXiv 2211.03726) for the first two, TAPIR (arXiv 2306.08637, section 3.3) for the third. Coordinates are
scaled to a 256x256 image first. Every iterate of the network is supervised with equal weight. Each term is a mean over all
points and frames, counting masked ones as zeros, so a clip with few visible points has little weight.

Differs from the papers: `matching_loss` is ours, and not part of `tracking_losses`.

`mask` and `rebalance` are for the pseudo-labels of BootsTAP (arXiv 2402.00847).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from safetensors.torch import load_file
from torch import Tensor, nn

from tapetum.core.reading import no_pipe
from tapetum.layers.sampling import constant, scale_xy
from tapetum.systems.tap import weights
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.second_pass import track_passes
from tapetum.systems.tap.types import TrackEstimate, Trajectories
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.tracker_task import Terms, TrackerTask, add_terms, huber, mean_terms
from tapetum.train import StepContext, Task
from tapetum.train.launch import is_main

SIZE = (256, 256)
"""Height and width of the image in whose pixels all distances of the losses are meant."""
HUBER_DELTA = 4.0
POSITION_WEIGHT = 0.05
"""Weight of the position term beside the two cross entropies."""
WRONG_BEYOND = 6.0
"""Pixels beyond which a position counts as wrong."""


def estimate_losses(
    estimate: TrackEstimate,
    xy: Float[Tensor, "b n t 2"],
    occluded: Bool[Tensor, "b n t"],
    video_size: tuple[int, int],
    *,
    mask: Float[Tensor, "b n t"] | None = None,
    rebalance: float = 0.0,
) -> Terms:
    """Compute the terms `position`, `occlusion` and `expected_dist` of one estimate.

    `xy` are true positions in raster pixels of a video of `video_size` (height, width), like the estimate's; where a point is
    `occluded`, only the occlusion term counts. `mask` weighs every entry in all terms; visible entries have weight 1 +
    `rebalance` in the occlusion term.
    """
    hidden = occluded.float()
    everywhere = torch.ones_like(hidden) if mask is None else mask.float()
    counted = (1 - hidden) * everywhere
    error = scale_xy(estimate.tracks.float() - xy.float(), video_size, SIZE)
    squared = error.square().sum(-1)
    position = POSITION_WEIGHT * (huber((squared + 1e-12).sqrt(), HUBER_DELTA) * counted).mean()
    weight = everywhere * (1 + rebalance * (1 - hidden))
    occlusion = F.binary_cross_entropy_with_logits(estimate.occlusion.float(), hidden, weight)
    wrong = (squared.detach() > WRONG_BEYOND**2).float()
    expected_dist = F.binary_cross_entropy_with_logits(estimate.expected_dist.float(), wrong, counted)
    return {"position": position, "occlusion": occlusion, "expected_dist": expected_dist}


def matching_loss(
    heatmap: Float[Tensor, "b n t h w"],
    xy: Float[Tensor, "b n t 2"],
    occluded: Bool[Tensor, "b n t"],
    video_size: tuple[int, int],
) -> Float[Tensor, ""]:
    """Compute the cross entropy between softmax(heat) over all cells and the true place, as bilinear weights of four cells;
    mean over all points and frames, hidden ones included as zeros.

    Not in the papers, whose position loss reaches matching only through a disc around the winning cell.
    """
    height, width = heatmap.shape[-2:]
    size = constant([width, height], xy, torch.long)
    at = scale_xy(xy.float(), video_size, (height, width)) - 0.5
    at = torch.minimum(at.clamp(min=0), size - 1.0)
    low = at.floor().minimum(size - 2.0).clamp(min=0)
    (right, down), (x, y) = (at - low).unbind(-1), low.long().unbind(-1)
    log_probability = heatmap.float().flatten(-2).log_softmax(-1)
    loss = torch.zeros_like(right)
    for dy, vertical in ((0, 1 - down), (1, down)):
        for dx, horizontal in ((0, 1 - right), (1, right)):
            cell = (y + dy).clamp(max=height - 1) * width + (x + dx).clamp(max=width - 1)
            loss = loss - vertical * horizontal * log_probability.gather(-1, cell[..., None])[..., 0]
    return (loss * ~occluded).mean()


def tracking_losses(
    prediction: Trajectories,
    xy: Float[Tensor, "b n t 2"],
    occluded: Bool[Tensor, "b n t"],
    video_size: tuple[int, int],
    *,
    mask: Float[Tensor, "b n t"] | None = None,
    rebalance: float = 0.0,
) -> Terms:
    """Sum the losses over the final estimate and all unrefined ones; arguments as in `estimate_losses`."""
    several = [
        estimate_losses(estimate, xy, occluded, video_size, mask=mask, rebalance=rebalance)
        for estimate in (prediction, *prediction.unrefined)
    ]
    return {name: reduce(add, [terms[name] for terms in several]) for name in several[0]}


class TrackingTask(TrackerTask, Task):
    """A Tapir network on square clips; subclasses provide the network and the clips. `matching_weight` is that of
    `matching_loss`. With `refine_with_gradient`, refinement learns from so many of the queries, in random order."""

    def __init__(self, size: int, points: int, *, matching_weight: float = 0.0, refine_with_gradient: int | None = None):
        super().__init__(size, points)
        self.matching_weight, self.refine_with_gradient = matching_weight, refine_with_gradient

    def loss(self, model: nn.Module, batch: TapSample, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Average the losses of all iterates over the passes, and compute the fractions of accurately placed and correctly
        occluded points."""
        return compute_clip_loss(model, batch, self.size, self.matching_weight, self.refine_with_gradient)

    def track(
        self, model: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Track points through one clip, in both passes of a network that has two."""
        return track_confidently(model, video, queries)


def compute_clip_loss(
    model: nn.Module, batch: TapSample, side: int, matching_weight: float = 0.0, refine_with_gradient: int | None = None
) -> tuple[Tensor, Mapping[str, float | Tensor]]:
    """Compute the loss of square clips of `side` pixels with exact tracks, and numbers to log; see `TrackingTask`."""
    learn, size = refine_with_gradient, (side, side)
    every = track_passes(model, batch.video, batch.queries, query_chunk=learn, refine_with_gradient=learn)
    out = every[-1]
    total, logs = add_terms(mean_terms([tracking_losses(one, batch.xy, batch.occluded, size) for one in every]))
    if matching_weight:
        heatmaps = [one.heatmap for one in every if one.heatmap is not None]
        matching = torch.stack([matching_loss(heatmap, batch.xy, batch.occluded, size) for heatmap in heatmaps]).mean()
        total = total + matching_weight * matching
        logs["matching"] = matching.detach()
    with torch.no_grad():
        near = ((out.tracks - batch.xy).norm(dim=-1) < 2) & ~batch.occluded
        logs["within_2px"] = near.sum() / (~batch.occluded).sum()
        logs["occlusion_accuracy"] = ((out.occlusion > 0) == batch.occluded).float().mean()
    return total, logs


def track_confidently(
    model: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Track points through one clip: gives positions, and the confidence that each is visible."""
    device = next(model.parameters()).device
    out = track_passes(model, video.to(device), queries.to(device))[-1]
    return out.tracks[0], out.confidence[0]


def at_size(config: TapirConfig, side: int) -> TapirConfig:
    """Make the config of a network for training on clips of `side` x `side` pixels."""
    return replace(config, initial_resolution=(side, side), refine_at_least=None, second_pass=False)


def save_finished(config: TapirConfig, state: Path, target: Path, dtype: torch.dtype) -> Path:
    """Save a checkpoint's tensors as a file of weights, written by the first process."""
    if is_main():
        model = Tapir(config)
        model.load_state_dict(load_file(no_pipe(state)))
        weights.save(model, target, dtype=dtype)
    return target
