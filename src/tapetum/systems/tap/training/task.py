"""The training task of TAPIR: the losses of a batch of clips with exact tracks.

Source: TAPIR (arXiv 2306.08637, section 3.3).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from tapetum.core.reading import no_pipe
from tapetum.systems.tap import weights
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.network.second_pass import track_passes
from tapetum.systems.tap.training.losses import matching_loss, tracking_losses
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.tracker_task import TrackerTask, add_terms, mean_terms
from tapetum.train import StepContext, Task
from tapetum.train.launch import is_main


class TrackingTask(TrackerTask, Task):
    """A Tapir network on square clips; subclasses provide the network and the clips.

    `matching_weight` is that of `matching_loss`, which is not in the papers. With `refine_with_gradient`, queries are processed
    in chunks of that size in random order, and the refinement learns from the first chunk alone.
    """

    def __init__(self, size: int, points: int, *, matching_weight: float = 0.0, refine_with_gradient: int | None = None):
        super().__init__(size, points)
        self.matching_weight, self.refine_with_gradient = matching_weight, refine_with_gradient

    def loss(self, model: nn.Module, batch: TapSample, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Sum the losses of all iterates, and compute the fractions of accurately placed and correctly occluded points.

        With two passes, the loss is the mean over both; the fractions are those of the second.
        """
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
