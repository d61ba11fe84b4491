"""Pseudo-labels of a teacher's tracks: polished, mapped to the student's frames, and masked where they are unreliable.

Source: BootsTAP (arXiv 2402.00847, section 3) for the labels, the cycle and proximity. Polishing and confidence are ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.bootstrap.showings import FootageSample
from tapetum.systems.tap.network.types import TrackEstimate
from tapetum.systems.tap.tracking.polish import SURELY_SEEN, polish_clip, polished
from tapetum.tracks.training.self_training import PointEstimate, TrackerFamily

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
    """Make labels from the teacher's final estimate; the student's frame is drawn uniformly from those where the point is
    visible."""
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

    A `causal` student predicts nothing before its query's frame: those frames do not count, and a cycle that would end there is
    not checked.
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
