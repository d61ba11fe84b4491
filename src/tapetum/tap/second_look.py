"""A second look at a clip, with what a point looked like wherever the first look saw it.

Not a part of TAPIR, which seeks a point with the features of its query alone. Those know it from one side, in one light and at
one size. Where the first look sees the point, the features there know it from others; so their mean, each weighing as much as
the tracker is sure of it and the query's own 1, seeks it once more:

    query --features--> first look --> frames in which it is visible --mean of their features--> second look

That is so for the coarse features (stride 8), which tell where a point is at all. The fine ones (stride 4) stay the query's:
places are not exact, so a mean of these would blur. The features of the clip are the same, so only matching and refinement are
done twice. Where the first look was wrong, wrong features take part, but few against many. What it brings is in docs/log.md; a
third look, with what the second saw, was worse.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.tap.model import Tapir
from tapetum.tap.types import Features, QueryFeatures, Trajectories

VISIBLE = 0.5
"""Confidence of the first look above which its places take part."""


def seen_features(
    model: Tapir,
    features: Features,
    points: QueryFeatures,
    first: Trajectories,
    asked: Float[Tensor, "1 n"],
    chunk: int | None = None,
) -> QueryFeatures:
    """What to seek points with in a second look at a clip, one to a batch.

    Args:
        features: of the clip.
        points: of the queries, with which `first` was found.
        first: the first look.
        asked: the frame nearest to each query, counted in this clip; outside of 0..t-1 where it is none of the clip's.
        chunk: points worked on at a time, which bounds memory.
    """
    count, frames = first.tracks.shape[1:3]
    size = first.tracks.new_tensor([features.video_size[1], features.video_size[0]])
    inside = ((first.tracks >= 0) & (first.tracks <= size)).all(-1)
    counts = inside & (first.confidence > VISIBLE)
    counts &= torch.arange(frames, device=asked.device) != asked[..., None]  # the query has its own features
    weight = torch.where(counts, first.confidence, 0.0)

    def mean(some: slice) -> QueryFeatures:
        row, frame = weight[0, some].nonzero(as_tuple=True)
        share = weight[0, some][row, frame]
        places = torch.cat([frame[:, None].float(), first.tracks[0, some][row, frame].float()], 1)
        whole = 1 + weight[0, some].sum(-1, keepdim=True)
        own = points.select(some)
        mixed = own.map(
            lambda own, seen: own[0].float().index_add(0, row, seen[0].float() * share[:, None]).div(whole)[None].to(own),
            model.query_features(features, places[None]),
        )
        levels = zip(own.levels, mixed.levels, strict=True)
        return QueryFeatures(mixed.initial, tuple((fine, coarse) for (fine, _), (_, coarse) in levels))

    step = chunk or max(count, 1)
    parts = [mean(slice(begin, begin + step)) for begin in range(0, max(count, 1), step)]
    return parts[0].beside(*parts[1:])
