"""TAPIR in self-training: its networks, and pseudo-labels with the losses on them.

Source: BootsTAP (arXiv 2402.00847, section 3) for the labels, the cycle and proximity; the teacher's final estimate, mapped to
the student's frames, supervises all iterates of the student. Polishing, confidence, the second pass and the matching loss are
ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from tapetum.systems.tap import weights
from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.samples import FootageSample
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.recipes import MATCHING_WEIGHT
from tapetum.systems.tap.second_pass import track_passes
from tapetum.systems.tap.task import compute_clip_loss, matching_loss, track_confidently, tracking_losses
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.tracking.cues import TrackCues, network_cues
from tapetum.systems.tap.tracking.error_model import ErrorModel
from tapetum.systems.tap.tracking.polish import SURELY_SEEN, polish_clip, polished
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.systems.tap.types import TrackEstimate, Trajectories
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.self_training import FootageTargets, PointEstimate, TrackerFamily
from tapetum.tracks.training.tracker_task import add_terms, mean_terms
from tapetum.train.optim import decay_groups

NO_DOUBT = 5.0
"""Size of the logits of what is beyond doubt."""


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels of a teacher for a clip, and where the student starts."""

    xy: Float[Tensor, "b n t 2"]
    """Raster pixels of the clean clip."""
    occluded: Bool[Tensor, "b n t"]
    sure: Bool[Tensor, "b n t"]
    """The teacher is confident, of seeing it there or of its being hidden."""
    usable: Bool[Tensor, "b n"]
    """The teacher surely sees the point somewhere, inside the image."""
    frame: Int[Tensor, "b n"]
    """Frame t2 of the student's query."""
    place: Float[Tensor, "b n 2"]
    """The student's query in the clean clip."""


def judged_estimate(
    errors: ErrorModel,
    network: Tapir,
    passes: tuple[Trajectories, ...],
    video: Float[Tensor, "1 t h w 3"],
    queries: Float[Tensor, "1 n 3"],
) -> TrackEstimate:
    """Polish a teacher's tracks of a clip, and where they are visible be as sure of them as an error model of its network is,
    without the cues of the way back."""
    frames, last = ((video[0].float() + 1) * 127.5).round().byte().cpu().numpy(), passes[-1]
    count, length, height, width = last.occlusion.shape[1], *frames.shape[:3]
    cues = TrackCues(count, length, (height, width))
    cues.network = network_cues(network, None, (passes[0], last), queries, cues.pixel).half().cpu()
    clicks, xy, confidence = queries[0].float().cpu(), last.tracks[0].float().cpu(), last.confidence[0].float().cpu()
    with torch.autocast("cpu", enabled=False):
        xy, confidence = polished(lambda begin, end: frames[begin:end], clicks, xy, confidence, cues=cues)
        _, chance = errors.predict(cues, xy.numpy(), confidence.numpy(), clicks.numpy())
    doubt = torch.from_numpy(chance).clamp(1e-4, 1 - 1e-4).logit().to(last.occlusion)[None]
    visible = (confidence > 0.5).to(doubt.device)[None]
    hidden = torch.where(visible, last.occlusion.clamp(max=-NO_DOUBT), last.occlusion)
    return TrackEstimate(xy.to(last.tracks)[None], hidden, torch.where(visible, doubt, last.expected_dist))


def polished_estimate(
    estimate: TrackEstimate, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]
) -> TrackEstimate:
    """Polish a teacher's tracks using the images, and make them fully confident where they agree well."""
    frames = ((video.float() + 1) * 127.5).round().byte()
    clips = zip(frames, queries, estimate.tracks.float(), estimate.confidence, strict=True)
    tracks, confidence = zip(*(_polish(*clip) for clip in clips), strict=True)
    agreed, place = torch.stack(confidence) > SURELY_SEEN, torch.stack(tracks).to(estimate.tracks)
    hidden, far = (logit.float() for logit in (estimate.occlusion, estimate.expected_dist))
    return TrackEstimate(place, *(torch.where(agreed, logit.clamp(max=-NO_DOUBT), logit).to(place) for logit in (hidden, far)))


def _polish(
    frames: UInt8[Tensor, "t h w 3"],
    queries: Float[Tensor, "n 3"],
    xy: Float[Tensor, "n t 2"],
    confidence: Float[Tensor, "n t"],
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    if frames.device.type != "cpu":
        return polish_clip(frames, queries, xy, confidence)
    images = frames.numpy()
    return polished(lambda begin, end: images[begin:end], queries, xy, confidence)


def teach(family: TrackerFamily, teacher: nn.Module, batch: FootageSample) -> PointEstimate:
    """Compute the teacher's tracks in the student's frames, clip by clip, since their lengths differ."""
    clips = []
    for video, length, frames, queries in zip(batch.video, batch.lengths, batch.frames, batch.queries, strict=True):
        video = video[None, :length]
        teacher_queries = torch.cat([frames[queries[:, :1].long()].to(queries), queries[:, 1:]], 1)[None]
        clips.append([part[:, :, frames] for part in family.estimate(teacher, video, teacher_queries)])
    return PointEstimate(*map(torch.cat, zip(*clips, strict=True)))


def pseudo_labels(estimate: PointEstimate, queries: Tensor, draw: Tensor, size: int, settings: Ingredients) -> PseudoLabels:
    """Make labels from the teacher's final estimate; the student's frame is drawn from those where the point is visible."""
    xy, occluded = estimate.tracks.float(), estimate.occlusion > 0
    hidden, far = estimate.occlusion.float().sigmoid(), estimate.expected_dist.float().sigmoid()
    sure = torch.maximum((1 - hidden) * (1 - far), hidden) >= settings.confident
    inside = ((xy >= 0) & (xy < size)).all(-1)
    usable = ~occluded & inside & sure
    if not settings.requery:
        return PseudoLabels(xy, occluded, sure, usable.any(-1), queries[..., 0].long(), queries[..., 1:])
    rank = (draw * usable.sum(-1)).long()  # among the seen frames, from 0 on
    frame = (usable & (usable.cumsum(-1) == rank[..., None] + 1)).float().argmax(-1)
    place = xy.gather(2, frame[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
    return PseudoLabels(xy, occluded, sure, usable.any(-1), frame, place)


def keep_mask(
    labels: PseudoLabels, student: PointEstimate, queries: Tensor, size: int, settings: Ingredients, *, causal: bool = False
) -> Float[Tensor, "b n t"]:
    """Compute the mask of entries that count in the loss, as set by `settings`; `student` is in pixels of the clean clip.

    A `causal` student predicts nothing before its query's frame: those frames, and a cycle that would end there, do not count.
    """
    first, frames = queries[..., 0].long(), torch.arange(labels.sure.shape[-1], device=labels.sure.device)
    kept = labels.usable[..., None] & labels.sure
    if causal:
        kept = kept & (frames >= labels.frame[..., None])
    if settings.cycle:
        back = student.tracks.gather(2, first[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
        near = (back - queries[..., 1:]).norm(dim=-1) * (256 / size) < settings.within
        visible = student.occlusion.gather(2, first[..., None])[..., 0] <= 0
        back_there = near & visible & (first >= labels.frame) if causal else near & visible
        kept = kept & back_there[..., None]
    if settings.proximity:
        nearer = (frames - first[..., None]).abs() < (frames - labels.frame[..., None]).abs()
        kept = kept & (nearer | (labels.frame == first)[..., None])
    return kept.float()


def warp_queries(
    maps: Float[Tensor, "b t 3 3"], frame: Int[Tensor, "b n"], place: Float[Tensor, "b n 2"]
) -> Float[Tensor, "b n 2"]:
    """Map positions, each by the map of its frame."""
    return _apply(maps.gather(1, frame[..., None, None].expand(-1, -1, 3, 3)), place)


def warp_tracks(maps: Float[Tensor, "b t 3 3"], tracks: Float[Tensor, "b n t 2"]) -> Float[Tensor, "b n t 2"]:
    """Map tracks, each frame by its map."""
    return _apply(maps[:, None], tracks.float())


def invert_maps(maps: Float[Tensor, "b t 3 3"]) -> Float[Tensor, "b t 3 3"]:
    """Compute the maps back to the clean clip, without checking that they exist, which would make the host wait."""
    return torch.linalg.inv_ex(maps).inverse


def _apply(maps: Tensor, places: Tensor) -> Tensor:
    """Written out: in a matrix product, autocast would round positions to bfloat16."""
    x, y = places.unbind(-1)
    return torch.stack([maps[..., i, 0] * x + maps[..., i, 1] * y + maps[..., i, 2] for i in range(2)], -1)


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
        return compute_clip_loss(network, batch, self.run.size, self.matching_weight)

    def estimate(self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> PointEstimate:
        """Track points, with a second pass and polishing if the run asks for them, and the error model of the start, if there
        is one."""
        settings = self.run.settings
        errors = self.errors if settings.polish and settings.confident else None
        if errors is not None and isinstance(network, Tapir):
            passes = track_passes(network, video, queries, peaks=True)
            return _read(judged_estimate(errors, network, passes, video, queries))
        estimate: TrackEstimate = track_passes(network, video, queries)[-1]
        if settings.polish:
            estimate = polished_estimate(estimate, video, queries)
        return _read(estimate)

    @cached_property
    def errors(self) -> ErrorModel | None:
        """Load the error model of the starting network, if it is one for networks as the run uses them."""
        start = tracker.load(self.run.model)
        same = self.run.settings.second_pass or not start.model.config.second_pass
        return start.error_model if same and start.error_model is not None and not start.error_model.few else None

    def predict(
        self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]
    ) -> tuple[Trajectories, ...]:
        """Track points in one pass or two."""
        return track_passes(network, video, queries)

    def final(self, predictions: tuple[Trajectories, ...]) -> PointEstimate:
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
        return tracker.load(name_or_path, device)


def _read(estimate: TrackEstimate) -> PointEstimate:
    return PointEstimate(estimate.tracks, estimate.occlusion, estimate.expected_dist)


def _unwarped(one: Trajectories, maps: Float[Tensor, "b t 3 3"]) -> Trajectories:
    back = invert_maps(maps)

    def clean(estimate: TrackEstimate) -> TrackEstimate:
        return TrackEstimate(warp_tracks(back, estimate.tracks), estimate.occlusion, estimate.expected_dist)

    final, unrefined = clean(one), tuple(clean(estimate) for estimate in one.unrefined)
    return Trajectories(final.tracks, final.occlusion, final.expected_dist, unrefined)
