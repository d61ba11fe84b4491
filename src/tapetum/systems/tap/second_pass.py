"""A second pass over a clip, with query features averaged over the frames in which the first pass saw the point.

Not part of TAPIR, whose query features describe a point from one side, in one light and at one size:

    query --features--> first pass --> frames in which it is visible --mean of their features--> second pass

Each frame's features are weighted by the tracker's confidence, the query's own by 1. Only the coarse features (stride 8), which
matching relies on, are averaged; the fine ones (stride 4) stay the query's, since positions are not exact and a mean would
blur. Only matching and refinement run twice. For the gain see docs/log; a third pass was worse.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.sampling import constant
from tapetum.systems.tap.model import Tapir, places_of
from tapetum.systems.tap.types import FeatureGrids, QueryFeatures, TrackEstimate, Trajectories
from tapetum.tracks.patches import map_tensors

VISIBLE = 0.5
"""Confidence of the first pass above which its positions take part."""


def track_passes(
    model: nn.Module,
    video: Float[Tensor, "b t h w 3"],
    queries: Float[Tensor, "b n 3"],
    fixed_shapes: bool = False,
    **chunks: Any,
) -> tuple[Trajectories, ...]:
    """Run a `Tapir` or a compatible callable, with a second pass if its config asks for one; returns all passes.

    `video` is in -1..1, `queries` are (t, x, y) in its raster pixels; `chunks` are those of `Tapir.trajectories`. Gradients
    pass through the averaged features alone. With `fixed_shapes`, for export, features are read at all positions of the first
    pass.
    """
    if not isinstance(model, Tapir) or not model.config.second_pass:
        return (model(video, queries, **chunks),)
    features = model.features(video)
    points, known = model.query_features(features, queries), places_of(queries, video.shape[1])
    first = model.trajectories(features, points, known, **chunks)
    if fixed_shapes:
        weight = _weights(features, first.tracks.float(), first.confidence, queries[..., 0].round())  # b n t
        averaged = average_with_fixed_shapes(model, features, points, first.tracks.float(), weight)
    else:
        averaged = average_visible_features(model, features, points, first, queries[..., 0].round())
    return first, model.trajectories(features, averaged, known, **chunks)


def average_with_fixed_shapes(
    model: Tapir,
    features: FeatureGrids,
    points: QueryFeatures,
    tracks: Float[Tensor, "b n t 2"],
    weight: Float[Tensor, "b n t"],
) -> QueryFeatures:
    """Average the features of points with those at all positions of their tracks by `weight`; 0 is read at the image's corner.

    The result's coarse features are averages; the fine ones are those of `points`, whose weight is 1.
    """
    time = torch.arange(weight.shape[2], device=weight.device).expand_as(weight)
    places = torch.cat([time[..., None].float(), torch.where(weight[..., None] > 0, tracks, 0.0)], -1)  # b n t 3

    def mean(own: Tensor, along: Tensor) -> Tensor:
        total = (along.float().unflatten(1, weight.shape[1:]) * weight[..., None]).sum(2)  # b n c
        return ((own.float() + total) / (1 + weight.sum(-1, keepdim=True))).to(own)

    return _with_fine(map_tensors(mean, points, model.query_features(features, places.flatten(1, 2))), points)


def average_visible_features(
    model: Tapir,
    features: FeatureGrids,
    points: QueryFeatures,
    first: TrackEstimate,
    query_frame: Float[Tensor, "b n"],
    chunk: int | None = None,
) -> QueryFeatures:
    """Average the features of points over their queries and the frames in which the first pass saw them.

    `query_frame` is the frame nearest to each query, counted in this clip, or outside of it. `chunk` points are worked on at a
    time. On a CPU features are read only there; elsewhere at all positions, since the host would have to wait for their number.
    """
    tracks, confidence = first.tracks.detach().float(), first.confidence.detach()
    clips, count, _ = confidence.shape
    weight = _weights(features, tracks, confidence, query_frame)

    def mean(clip: int, part: slice) -> QueryFeatures:
        row, frame = weight[clip, part].nonzero(as_tuple=True)
        each = weight[clip, part][row, frame]
        places = torch.cat([frame[:, None].float(), tracks[clip, part][row, frame]], 1)
        total = 1 + weight[clip, part].sum(-1, keepdim=True)
        own = map_tensors(lambda x: x[clip : clip + 1, part], points)
        mixed = map_tensors(
            lambda own, along: own[0].float().index_add(0, row, along[0].float() * each[:, None]).div(total)[None].to(own),
            own,
            model.query_features(features.clip(clip), places[None]),
        )
        return _with_fine(mixed, own)

    step = chunk or max(count, 1)
    slices = [slice(begin, begin + step) for begin in range(0, max(count, 1), step)]
    if tracks.device.type != "cpu":
        chunks = [
            average_with_fixed_shapes(model, features, points.select(part), tracks[:, part], weight[:, part]) for part in slices
        ]
        return chunks[0].beside(*chunks[1:])
    parts = [[mean(clip, part) for part in slices] for clip in range(clips)]
    whole = [chunks[0].beside(*chunks[1:]) for chunks in parts]
    return map_tensors(lambda *x: torch.cat(x), *whole)


def _weights(
    features: FeatureGrids,
    tracks: Float[Tensor, "b n t 2"],
    confidence: Float[Tensor, "b n t"],
    query_frame: Float[Tensor, "b n"],
) -> Float[Tensor, "b n t"]:
    """Confidence of each position of the first pass that is averaged, and 0 elsewhere."""
    size = constant([features.video_size[1], features.video_size[0]], tracks)
    counts = ((tracks >= 0) & (tracks <= size)).all(-1) & (confidence > VISIBLE)
    counts &= torch.arange(tracks.shape[2], device=query_frame.device) != query_frame[..., None]  # the query has its own
    return torch.where(counts, confidence, 0.0)


def _with_fine(coarse: QueryFeatures, fine: QueryFeatures) -> QueryFeatures:
    levels = zip(fine.levels, coarse.levels, strict=True)
    return QueryFeatures(coarse.initial, tuple((hires, lowres) for (hires, _), (_, lowres) in levels))
