"""The training task of TAPNext, and its losses: bins of the coordinates, their mean, and visibility.

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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from safetensors.torch import load_file
from torch import Tensor, nn

from tapetum.core.reading import no_pipe
from tapetum.layers.sampling import constant, scale_xy
from tapetum.systems.tapnext import tracker
from tapetum.systems.tapnext.config import TapNextConfig
from tapetum.systems.tapnext.layers import embed_positions
from tapetum.systems.tapnext.model import TapNext, TapNextPredictions
from tapetum.systems.tapnext.recipes import TapNextRun
from tapetum.tracks.training.clips import ClipDataset, TrackedClip
from tapetum.tracks.training.data import FEW_CLIPS, PAPER, TapSample, TapSamples
from tapetum.tracks.training.recipes import ClipPhase
from tapetum.tracks.training.tracker_task import Terms, TrackerTask, add_terms, describe_phase, huber, mean_terms
from tapetum.train import StepContext, Task

COORDINATE_WEIGHT, POSITION_WEIGHT, VISIBLE_WEIGHT = 1.0, 0.1, 1.0
HUBER_DELTA = 1.0


@dataclass(frozen=True)
class TrackTargets:
    """Tracks as targets, with what of them counts."""

    xy: Float[Tensor, "b q t 2"]
    """Raster pixels of the network's `image_size`, clipped to it: 0 to its sides less 1, as in the public file."""
    visible: Bool[Tensor, "b q t"]
    located: Float[Tensor, "b q t"]
    known: Float[Tensor, "b q t"]


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

    Points that are `occluded` are hidden or outside of the image; those inside weigh `occluded_weight` in the terms of
    position. `as_public` weighs as the public file does in fact.
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
    bins, xy, visible = one.logits.shape[-1], targets.xy, targets.visible
    label = (xy - 0.5).clamp(0, bins - 1).round().long()
    entropy = F.cross_entropy(one.logits.float().flatten(0, -2), label.flatten(), reduction="none").unflatten(0, label.shape)
    coordinates = entropy.sum(-1)  # of both axes
    distance = ((one.image_xy.float() - xy).square().sum(-1) + 1e-12).sqrt()
    position = huber(distance, HUBER_DELTA)
    visibility = F.binary_cross_entropy_with_logits(one.visible_logits.float(), visible.float(), reduction="none")
    everywhere = torch.ones_like(targets.known)
    return {
        "coordinates": COORDINATE_WEIGHT * _mean(coordinates, everywhere if as_public else targets.located),
        "position": POSITION_WEIGHT * _mean(position, targets.located),
        "visibility": VISIBLE_WEIGHT * _mean(visibility, targets.known),
    }


def _mean(loss: Float[Tensor, "b q t"], weight: Float[Tensor, "b q t"]) -> Float[Tensor, ""]:
    """Mean over what counts; 0 where nothing does."""
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)


_NOT_LEARNED = "preset", "name", "phases", "steps", "batch_size", "size", "cache", "checks", "data"
"""Fields of `TapNextRun` that do not decide what a phase learns, or are in it."""


class TapNextTask(TrackerTask, Task):
    """One phase of a run: a network, clips, the losses of the paper."""

    def __init__(
        self,
        run: TapNextRun,
        phase: ClipPhase,
        config: TapNextConfig,
        clips: ClipDataset,
        checks: Callable[[], Sequence[TrackedClip]],
        start: Path | None,
    ):
        super().__init__(phase.size, phase.points)
        self.run, self.phase, self.config, self.clips, self.start = run, phase, config, clips, start
        self.scored_size, self.checks = config.image_size[0], checks

    def model(self) -> nn.Module:
        """Make the network, with the weights of the previous phase, or of `TapNextRun.start`, if there are any."""
        network = TapNext(self.config)
        if self.run.sine_positions:
            place_patches(network)
        if self.start is not None:
            network.load_state_dict(load_file(no_pipe(self.start)))
        elif self.run.start is not None:
            network.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return network

    def dataset(self) -> TapSamples:
        run, phase = self.run, self.phase
        return TapSamples(
            self.clips,
            size=phase.size,
            points=phase.points,
            seed=run.seed,
            frames=phase.frames,
            first=phase.first,
            alterations=replace(
                FEW_CLIPS if run.data is None else PAPER, motion=phase.motion, roll=run.roll, homography=run.homography
            ),
        )

    def loss(self, model: nn.Module, batch: TapSample, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of clips with exact tracks, as the run weighs layers, hidden points and frames."""
        run = self.run
        return compute_clip_loss(
            cast(TapNext, model), batch, layers=run.layers, occluded_weight=run.occluded_weight, as_public=run.public_losses
        )

    def track(
        self, model: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        device = next(model.parameters()).device
        predictions = model(video.to(device), queries.to(device))
        return predictions.xy[0], predictions.visible_logits[0].sigmoid()

    def describe(self) -> Mapping[str, Any]:
        return {**describe_phase(self.run, self.phase, _NOT_LEARNED), "clips": len(self.clips)}


def compute_clip_loss(
    network: TapNext,
    batch: TapSample,
    *,
    layers: Literal["all", "last"] = "all",
    occluded_weight: float = 0.0,
    as_public: bool = False,
) -> tuple[Tensor, Mapping[str, float | Tensor]]:
    """Average the losses of the layers, and compute the fractions of accurately placed and correctly occluded points."""
    video_size, image_size = (batch.video.shape[2], batch.video.shape[3]), network.config.image_size
    every = network.predict_layers(batch.video, batch.queries)
    targets = make_targets(
        batch.queries, batch.xy, batch.occluded, video_size, image_size, occluded_weight=occluded_weight, as_public=as_public
    )
    terms = tracking_losses(every if layers == "all" else every[-1:], targets, as_public=as_public)
    total, logs = add_terms(terms)
    with torch.no_grad():
        last, known = every[-1], batch.queries[..., :1].round() < torch.arange(batch.xy.shape[2], device=batch.xy.device)
        error = (last.image_xy - scale_xy(batch.xy, video_size, image_size)).norm(dim=-1)
        parts = {"within_8px": error < 8, "within_2px": error < 2, "visible_accuracy": last.visible != batch.occluded}
        for name, right in parts.items():
            of = known if name == "visible_accuracy" else known & ~batch.occluded
            logs[name] = _mean(right.float(), of.float())
    return total, logs


def place_patches(network: TapNext) -> None:
    """Set the embedded positions of patches to those of queries at their centres, so that a query finds its patch at once."""
    config = network.config
    rows, columns = ((torch.arange(count) + 0.5) * patch for count, patch in zip(config.grid, config.patch_size, strict=True))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    with torch.no_grad():
        network.position_embedding.copy_(embed_positions(torch.stack([x, y], -1), config.image_size, config.width))
