"""TAPIR in self-training: its networks, and its losses on pseudo-labels.

Source: BootsTAP (arXiv 2402.00847, section 3): the teacher's final estimate supervises all iterates of the student. The second
pass, polished labels and the matching loss are ours.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.systems.tap import weights
from tapetum.systems.tap.bootstrap.config import BootstrapRun
from tapetum.systems.tap.bootstrap.labels import invert_maps, polished_estimate, warp_tracks
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.network.second_pass import track_passes
from tapetum.systems.tap.network.types import TrackEstimate, Trajectories
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.systems.tap.training.losses import matching_loss, tracking_losses
from tapetum.systems.tap.training.recipes import MATCHING_WEIGHT
from tapetum.systems.tap.training.task import compute_clip_loss, track_confidently
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.self_training import FootageTargets, PointEstimate, TrackerFamily
from tapetum.tracks.training.tracker_task import add_terms, mean_terms
from tapetum.train.optim import decay_groups


class TapirFamily(TrackerFamily):
    """TAPIR's networks and losses, in the form a run expects."""

    causal = False

    def __init__(self, run: BootstrapRun, *, matching_weight: float = MATCHING_WEIGHT):
        self.run, self.matching_weight = run, matching_weight

    def start(self) -> Tapir:
        """Load the starting network of the run, with the blocks that the run adds."""
        run = self.run
        model = tracker.load(run.model).model
        if run.extra_convs is None or run.extra_convs == model.config.extra_convs:
            return model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            larger = Tapir(replace(model.config, extra_convs=run.extra_convs))
        known = model.state_dict()
        larger.load_state_dict({name: known.get(name, value) for name, value in larger.state_dict().items()})
        return larger

    def learner(self) -> nn.Module:
        """Make the starting network, refined only at the size of the clips."""
        model, run = self.start(), self.run
        config = replace(
            model.config,
            initial_resolution=(run.size, run.size),
            iterations=run.iterations or model.config.iterations,
            refine_at_least=None,
            second_pass=model.config.second_pass and run.settings.second_pass,
        )
        learner = Tapir(config)
        learner.load_state_dict(model.state_dict())
        return learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def clip_loss(self, network: nn.Module, batch: TapSample) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute TAPIR's losses on clips with exact tracks."""
        return compute_clip_loss(network, batch, self.run.size, self.matching_weight)

    def estimate(self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> PointEstimate:
        """Track points, with a second pass and polishing if the run asks for them."""
        estimate: TrackEstimate = track_passes(network, video, queries)[-1]
        if self.run.settings.polish:
            estimate = polished_estimate(estimate, video, queries)
        return _read(estimate)

    def predict(
        self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]
    ) -> tuple[Trajectories, ...]:
        """Track points in one pass or two."""
        return track_passes(network, video, queries)

    def final(self, predictions: tuple[Trajectories, ...]) -> PointEstimate:
        """Select the final estimate of the last pass."""
        return _read(predictions[-1])

    def footage_loss(
        self, network: nn.Module, predictions: tuple[Trajectories, ...], targets: FootageTargets
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Add up the losses of all iterates, in pixels of the clean clip."""
        size, settings = (targets.size, targets.size), self.run.settings
        truth = targets.xy, targets.occluded, size
        several = [
            tracking_losses(_unwarped(one, targets.maps), *truth, mask=targets.mask, rebalance=settings.rebalance)
            for one in predictions
        ]
        total, logs = add_terms(mean_terms(several))
        heatmaps = [one.heatmap for one in predictions if one.heatmap is not None]
        if settings.matching and self.matching_weight and heatmaps:
            ignored = targets.mask * ~targets.occluded == 0
            matching = torch.stack([matching_loss(heatmap, targets.warped_xy, ignored, size) for heatmap in heatmaps]).mean()
            total = total + self.matching_weight * matching
            logs["matching"] = matching.detach()
        return total, logs

    def track(
        self, network: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Compute positions and confidence, in two passes if the network has them."""
        return track_confidently(network, video, queries)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Group the parameters, so that the mixer learns more slowly."""
        assert isinstance(network, Tapir)
        mixer = {id(p) for p in network.mixer.parameters()}
        groups = []
        for group in decay_groups(network):
            for inside in (False, True):
                chosen = [p for p in group["params"] if (id(p) in mixer) == inside]
                groups.append({**group, "params": chosen, "lr_scale": self.run.mixer_lr if inside else 1.0})
        return [group for group in groups if group["params"]]

    def save(self, network: nn.Module, file: Path) -> None:
        """Write weights with the starting network's config, apart from extra blocks."""
        config, run = tracker.load(self.run.model).model.config, self.run
        final = Tapir(config if run.extra_convs is None else replace(config, extra_convs=run.extra_convs))
        final.load_state_dict(network.state_dict())
        weights.save(final, file)

    def load(self, name_or_path: str | Path, device: torch.device | None) -> TapirTracker:
        """Load a tracker."""
        return tracker.load(name_or_path, device)


def _read(estimate: TrackEstimate) -> PointEstimate:
    return PointEstimate(estimate.tracks, estimate.occlusion, estimate.expected_dist)


def _unwarped(one: Trajectories, maps: Float[Tensor, "b t 3 3"]) -> Trajectories:
    back = invert_maps(maps)

    def clean(estimate: TrackEstimate) -> TrackEstimate:
        return TrackEstimate(warp_tracks(back, estimate.tracks), estimate.occlusion, estimate.expected_dist)

    final, unrefined = clean(one), tuple(clean(estimate) for estimate in one.unrefined)
    return Trajectories(final.tracks, final.occlusion, final.expected_dist, unrefined)
