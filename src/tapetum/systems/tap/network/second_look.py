"""A second look at a clip, with what a point looked like wherever the first look saw it.

Not a part of TAPIR, which seeks a point with the features of its query alone. Those know it from one side, in one light and at
one size. Where the first look sees the point, the features there know it from others; so their mean, each weighing as much as
the tracker is sure of it and the query's own 1, seeks it once more:

    query --features--> first look --> frames in which it is visible --mean of their features--> second look

That is so for the coarse features (stride 8), which tell where a point is at all. The fine ones (stride 4) stay the query's:
places are not exact, so a mean of these would blur. The features of the clip are the same, so only matching and refinement are
done twice. Where the first look was wrong, wrong features take part, but few against many. What it brings is in docs/log; a
third look, with what the second saw, was worse.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.systems.tap.network.model import Tapir, places_of
from tapetum.systems.tap.network.types import FeatureGrids, QueryFeatures, TrackEstimate, Trajectories

VISIBLE = 0.5
"""Confidence of the first look above which its places take part."""


def looks(
    model: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"], **chunks: Any
) -> tuple[Trajectories, ...]:
    """Run a `Tapir`, or what is called as one: at both looks if its config asks for a second, whose is the answer.

    `video` is in -1..1, `queries` are (t, x, y) in its raster pixels; `chunks` are those of `Tapir.trajectories`. Gradients
    pass through the features that are averaged, not through where the first look found them.
    """
    if not isinstance(model, Tapir) or not model.config.second_look:
        return (model(video, queries, **chunks),)
    features = model.features(video)
    points, known = model.query_features(features, queries), places_of(queries, video.shape[1])
    first = model.trajectories(features, points, known, **chunks)
    seek = seen_features(model, features, points, first, queries[..., 0].round())
    return first, model.trajectories(features, seek, known, **chunks)


def looks_of_fixed_shape(model: Tapir, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> Trajectories:
    """Do what `looks` does, and give the last look, by steps whose shapes do not depend on what is seen.

    For programs made of the network: features are read at all places of the first look, seen or not, which takes more time.
    """
    features = model.features(video)
    points, known = model.query_features(features, queries), places_of(queries, video.shape[1])
    first = model.trajectories(features, points, known, query_chunk=None)
    if not model.config.second_look:
        return first
    weight = _weights(features, first.tracks.float(), first.confidence, queries[..., 0].round())
    time = torch.arange(video.shape[1], device=video.device).expand_as(weight)
    places = torch.cat([time[..., None].float(), first.tracks.float()], -1)

    def mean(own: Tensor, seen: Tensor) -> Tensor:
        seen = torch.where(weight[..., None] > 0, seen.unflatten(1, weight.shape[1:]), 0.0)
        return (own + (seen * weight[..., None]).sum(2)) / (1 + weight.sum(-1, keepdim=True))

    mixed = points.map(mean, model.query_features(features, places.flatten(1, 2)))
    return model.trajectories(features, _coarse(points, mixed), known, query_chunk=None)


def seen_features(
    model: Tapir,
    features: FeatureGrids,
    points: QueryFeatures,
    first: TrackEstimate,
    asked: Float[Tensor, "b n"],
    chunk: int | None = None,
) -> QueryFeatures:
    """Mix what to seek points with in a second look at clips.

    Args:
        features: of the clips.
        points: of the queries, with which `first` was found.
        first: the first look.
        asked: the frame nearest to each query, counted in this clip; outside of 0..t-1 where it is none of the clip's.
        chunk: points worked on at a time, which bounds memory.
    """
    tracks, confidence = first.tracks.detach().float(), first.confidence.detach()
    clips, count, _ = confidence.shape
    weight = _weights(features, tracks, confidence, asked)

    def mean(clip: int, part: slice) -> QueryFeatures:
        row, frame = weight[clip, part].nonzero(as_tuple=True)
        given = weight[clip, part][row, frame]
        places = torch.cat([frame[:, None].float(), tracks[clip, part][row, frame]], 1)
        whole = 1 + weight[clip, part].sum(-1, keepdim=True)
        own = points.map(lambda x: x[clip : clip + 1, part])
        mixed = own.map(
            lambda own, seen: own[0].float().index_add(0, row, seen[0].float() * given[:, None]).div(whole)[None].to(own),
            model.query_features(features.clip(clip), places[None]),
        )
        return _coarse(own, mixed)

    step = chunk or max(count, 1)
    parts = [[mean(clip, slice(begin, begin + step)) for begin in range(0, max(count, 1), step)] for clip in range(clips)]
    whole = [chunks[0].beside(*chunks[1:]) for chunks in parts]
    return whole[0].map(lambda *x: torch.cat(x), *whole[1:])


def _weights(
    features: FeatureGrids, tracks: Float[Tensor, "b n t 2"], confidence: Float[Tensor, "b n t"], asked: Float[Tensor, "b n"]
) -> Float[Tensor, "b n t"]:
    """How much what is seen at each place of the first look weighs: 0 where it is not seen."""
    size = tracks.new_tensor([features.video_size[1], features.video_size[0]])
    counts = ((tracks >= 0) & (tracks <= size)).all(-1) & (confidence > VISIBLE)
    counts &= torch.arange(tracks.shape[2], device=asked.device) != asked[..., None]  # the query has its own features
    return torch.where(counts, confidence, 0.0)


def _coarse(own: QueryFeatures, mixed: QueryFeatures) -> QueryFeatures:
    """The coarse features of `mixed` with the fine ones of `own`."""
    levels = zip(own.levels, mixed.levels, strict=True)
    return QueryFeatures(mixed.initial, tuple((fine, coarse) for (fine, _), (_, coarse) in levels))
