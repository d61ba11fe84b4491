"""The training task of TAPNext: its losses on a batch of clips with exact tracks, and scores on clips that are kept for it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
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
from tapetum.tracks.training.data import FEW_CLIPS, PAPER, Alterations, TapSample, TapSamples, collate
from tapetum.tracks.training.recipes import ClipPhase, drop_later
from tapetum.tracks.training.scores import score_clips
from tapetum.train import StepContext, Task

_NOT_LEARNED = "preset", "name", "phases", "steps", "batch_size", "size", "cache", "checks", "data"
"""Fields of `TapNextRun` that do not decide what a phase learns, or are in it."""


class TapNextTask(Task):
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
        self.run, self.phase, self.config, self.clips, self.start = run, phase, config, clips, start
        self._checks = checks

    def model(self) -> nn.Module:
        """Make the network, with the weights of the phase before, or of `TapNextRun.start`, if there are any."""
        network = TapNext(self.config)
        if self.run.sine_positions:
            place_patches(network)
        if self.start is not None:
            network.load_state_dict(load_file(no_pipe(self.start)))
        elif self.run.start is not None:
            network.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return network

    def dataset(self) -> TapSamples:
        """Open altered showings of the clips."""
        run, phase = self.run, self.phase
        return TapSamples(
            self.clips,
            size=phase.size,
            points=phase.points,
            seed=run.seed,
            frames=phase.frames,
            first=phase.first,
            alterations=self._alterations(),
        )

    def _alterations(self) -> Alterations:
        usual = FEW_CLIPS if self.run.data is None else PAPER
        return Alterations(crop=usual.crop, mirror=usual.mirror, reverse=usual.reverse, motion=self.phase.motion)

    def collate(self, items: Sequence[TapSample]) -> TapSample:
        """Collate samples to a batch."""
        return collate(items)

    def loss(self, model: nn.Module, batch: TapSample, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of clips with exact tracks, as the run weighs layers, hidden points and frames."""
        run = self.run
        return compute_clip_loss(
            cast(TapNext, model), batch, layers=run.layers, occluded_weight=run.occluded_weight, as_public=run.public_losses
        )

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Compute TAP-Vid scores (query-first), in pixels of the network's `image_size`, on the clips that are kept for it."""
        device = next(model.parameters()).device

        def track(
            video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
        ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
            made = model(video.to(device), queries.to(device))
            return made.xy[0], made.visible_logits[0].sigmoid()

        size, points = self.phase.size, self.phase.points
        return score_clips(track, self._checks(), size=size, points=points, scored_size=self.config.image_size[0])

    def describe(self) -> Mapping[str, Any]:
        """Collect all that decides what is learned; folders may move."""
        run = drop_later({k: v for k, v in asdict(self.run).items() if k not in _NOT_LEARNED})
        for outside in ("start", "textures", "episodes"):
            run[outside] = run[outside] and Path(run[outside]).name
        phase = {k: v for k, v in asdict(self.phase).items() if k != "micro_batch"}
        return json.loads(json.dumps({"run": run, "phase": phase, "clips": len(self.clips)}))


def compute_clip_loss(
    network: TapNext,
    batch: TapSample,
    *,
    layers: Literal["all", "last"] = "all",
    occluded_weight: float = 0.0,
    as_public: bool = False,
) -> tuple[Tensor, Mapping[str, float | Tensor]]:
    """Average the losses of the layers, and compute what fraction of points is well placed and rightly called hidden."""
    video_size, image_size = (batch.video.shape[2], batch.video.shape[3]), network.config.image_size
    every = network.predict_layers(batch.video, batch.queries)
    targets = make_targets(
        batch.queries,
        batch.xy,
        batch.occluded,
        video_size,
        image_size,
        occluded_weight=occluded_weight,
        as_public=as_public,
    )
    losses = tracking_losses(every if layers == "all" else every[-1:], targets, as_public=as_public)
    logs: dict[str, float | Tensor] = {
        "coordinates": losses.coordinates.detach(),
        "position": losses.position.detach(),
        "visibility": losses.visibility.detach(),
    }
    with torch.no_grad():
        last, known = every[-1], batch.queries[..., :1].round() < torch.arange(batch.xy.shape[2], device=batch.xy.device)
        error = (last.image_xy - scale_xy(batch.xy, video_size, image_size)).norm(dim=-1)
        logs["within_8px"] = _share(error < 8, known & ~batch.occluded)
        logs["within_2px"] = _share(error < 2, known & ~batch.occluded)
        logs["visible_accuracy"] = _share(last.visible != batch.occluded, known)
    return losses.total, logs


def place_patches(network: TapNext) -> None:
    """Set the embedded positions of patches to those of queries at their centres, so that a query finds its patch at once."""
    config = network.config
    rows, columns = ((torch.arange(count) + 0.5) * patch for count, patch in zip(config.grid, config.patch_size, strict=True))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    with torch.no_grad():
        network.position_embedding.copy_(embed_positions(torch.stack([x, y], -1), config.image_size, config.width))


def _share(which: Tensor, of: Tensor) -> Tensor:
    return (which & of).float().sum() / of.float().sum().clamp(min=1)
