"""The training task of TAPNext: its losses on a batch of clips with exact tracks, and scores on held-out clips."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from tapetum.core.reading import no_pipe
from tapetum.layers.sampling import scale_xy
from tapetum.systems.tapnext import tracker
from tapetum.systems.tapnext.config import TapNextConfig
from tapetum.systems.tapnext.model import TapNext
from tapetum.systems.tapnext.positions import embed_positions
from tapetum.systems.tapnext.training.losses import make_targets, tracking_losses
from tapetum.systems.tapnext.training.recipes import TapNextRun
from tapetum.tracks.training.clips import ClipDataset, TrackedClip
from tapetum.tracks.training.data import FEW_CLIPS, PAPER, TapSample, TapSamples
from tapetum.tracks.training.recipes import ClipPhase
from tapetum.tracks.training.tracker_task import TrackerTask, add_terms, describe_phase
from tapetum.train import StepContext, Task

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
        """Open augmented samples of the clips."""
        run, phase = self.run, self.phase
        return TapSamples(
            self.clips,
            size=phase.size,
            points=phase.points,
            seed=run.seed,
            frames=phase.frames,
            first=phase.first,
            alterations=replace(FEW_CLIPS if run.data is None else PAPER, motion=phase.motion),
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
        """Track points forwards: positions, and the probability of being visible."""
        device = next(model.parameters()).device
        predictions = model(video.to(device), queries.to(device))
        return predictions.xy[0], predictions.visible_logits[0].sigmoid()

    def describe(self) -> Mapping[str, Any]:
        """Collect everything that determines the result."""
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
    total, logs = add_terms(tracking_losses(every if layers == "all" else every[-1:], targets, as_public=as_public))
    with torch.no_grad():
        last, known = every[-1], batch.queries[..., :1].round() < torch.arange(batch.xy.shape[2], device=batch.xy.device)
        error = (last.image_xy - scale_xy(batch.xy, video_size, image_size)).norm(dim=-1)
        logs["within_8px"] = _share(error < 8, known & ~batch.occluded)
        logs["within_2px"] = _share(error < 2, known & ~batch.occluded)
        logs["visible_accuracy"] = _share(last.visible != batch.occluded, known)
    return total, logs


def place_patches(network: TapNext) -> None:
    """Set the embedded positions of patches to those of queries at their centres, so that a query finds its patch at once."""
    config = network.config
    rows, columns = ((torch.arange(count) + 0.5) * patch for count, patch in zip(config.grid, config.patch_size, strict=True))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    with torch.no_grad():
        network.position_embedding.copy_(embed_positions(torch.stack([x, y], -1), config.image_size, config.width))


def _share(which: Tensor, of: Tensor) -> Tensor:
    return (which & of).float().sum() / of.float().sum().clamp(min=1)
