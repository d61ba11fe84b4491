"""Types passed between the stages of TAPIR. Shapes: b clips, n points, t frames, c channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

Size = tuple[int, int]
BlockState = tuple[Float[Tensor, "s 2 c"], Float[Tensor, "s 2 c*e"]]
"""The last two inputs of both temporal convolutions of a mixer block, for s = b * n sequences; of the second one copy of all
channels after the other."""
State = tuple[tuple[BlockState, ...], ...]
"""State of a causal model: the mixer's state for every refinement iteration, [b * n, 2, c] tensors."""


@dataclass(frozen=True)
class FeatureGrids:
    """Features of a clip by the backbone."""

    video_size: Size
    """Height and width of the video in pixels: the raster of queries and tracks."""
    resolutions: tuple[Size, ...]
    """Height and width of each refinement."""
    initial: Float[Tensor, "b t h w c"]
    """The stride-8 maps at the initial resolution, for matching."""
    pyramids: tuple[tuple[Float[Tensor, "b t h w c"], ...], ...]
    """For each refinement: stride 4, stride 8, and further maps that are averages over 2x2 cells of the one before."""

    def frames(self, begin: int, end: int) -> "FeatureGrids":
        """Select the features of frames begin..end-1."""
        pyramids = tuple(tuple(maps[:, begin:end] for maps in pyramid) for pyramid in self.pyramids)
        return FeatureGrids(self.video_size, self.resolutions, self.initial[:, begin:end], pyramids)

    def clip(self, k: int) -> "FeatureGrids":
        """Select the features of clip `k` of a batch, as a batch of one."""
        pyramids = tuple(tuple(maps[k : k + 1] for maps in pyramid) for pyramid in self.pyramids)
        return FeatureGrids(self.video_size, self.resolutions, self.initial[k : k + 1], pyramids)

    def blank(self, frames: int, half: bool = False) -> "FeatureGrids":
        """Allocate features of so many frames of the same video; maps that are one here are one there.

        `half`: float32 maps are kept in float16, which rounds the numbers, none above 1, by at most 0.0003.
        """

        def kept(dtype: torch.dtype) -> torch.dtype:
            return torch.float16 if half and dtype == torch.float32 else dtype

        room = {id(maps): maps.new_empty(maps.shape[0], frames, *maps.shape[2:], dtype=kept(maps.dtype)) for maps in self.maps}
        pyramids = tuple(tuple(room[id(maps)] for maps in pyramid) for pyramid in self.pyramids)
        return FeatureGrids(self.video_size, self.resolutions, room[id(self.initial)], pyramids)

    @property
    def maps(self) -> tuple[Float[Tensor, "b t h w c"], ...]:
        """List all different maps."""
        every = (self.initial, *(maps for pyramid in self.pyramids for maps in pyramid))
        return tuple({id(maps): maps for maps in every}.values())


@dataclass(frozen=True)
class QueryFeatures:
    """Features at the queries, which identify the points and may come from another video."""

    initial: Float[Tensor, "b n c"]
    """Stride 8, initial resolution."""
    levels: tuple[tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]], ...]
    """For each refinement: stride 4 and stride 8."""

    def map(self, function: Callable[..., Tensor], *others: "QueryFeatures") -> "QueryFeatures":
        """Apply `function` to the tensors that stand at the same place of these and all others."""
        every = (self, *others)
        levels = tuple(
            (function(*(hires for hires, _ in level)), function(*(lowres for _, lowres in level)))
            for level in zip(*(points.levels for points in every), strict=True)
        )
        return QueryFeatures(function(*(points.initial for points in every)), levels)

    def select(self, index: Tensor | slice) -> "QueryFeatures":
        """Select the features of some of the points."""
        return self.map(lambda x: x[:, index])

    def beside(self, *others: "QueryFeatures") -> "QueryFeatures":
        """Join these points, and then others."""
        return self.map(lambda *x: torch.cat(x, 1), *others)


@dataclass(frozen=True)
class TrackEstimate:
    """Estimated tracks of one stage of the network."""

    tracks: Float[Tensor, "b n t 2"]
    """(x, y) in raster pixels of the video."""
    occlusion: Float[Tensor, "b n t"]
    """Logit of the point being hidden or out of the image."""
    expected_dist: Float[Tensor, "b n t"]
    """Logit of the position being wrong by more than 6 pixels (of a 256x256 image)."""

    @property
    def confidence(self) -> Float[Tensor, "b n t"]:
        """Compute the probability of being in sight and well placed; the paper calls a point visible above 0.5."""
        return torch.sigmoid(-self.occlusion.float()) * torch.sigmoid(-self.expected_dist.float())


@dataclass(frozen=True)
class Trajectories(TrackEstimate):
    """The final estimate (the mean of the last iterates of all resolutions), with what led to it."""

    unrefined: tuple[TrackEstimate, ...] = ()
    """All iterates but the last: matching first, then every refinement iteration."""
    state: State | None = field(default=None, repr=False)
    """From a causal model that was asked for it: the state after the last frame."""
    heatmap: Float[Tensor, "b n t h w"] | None = field(default=None, repr=False)
    """From a model in training: matching's logits of every cell being the place of the point."""


def reduce_estimates(function: Callable[[list[Tensor]], Tensor], estimates: Sequence[TrackEstimate]) -> TrackEstimate:
    """Apply `function` to the same field of every estimate."""
    return TrackEstimate(
        function([it.tracks for it in estimates]),
        function([it.occlusion for it in estimates]),
        function([it.expected_dist for it in estimates]),
    )


def join_trajectories(parts: list[Trajectories], batch: int) -> Trajectories:
    """Concatenate chunks of queries."""

    def beside(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors, 1)

    final = reduce_estimates(beside, parts)
    unrefined = tuple(reduce_estimates(beside, iterate) for iterate in zip(*(part.unrefined for part in parts), strict=True))
    states = [part.state for part in parts if part.state is not None]
    state = join_states(states, batch) if states else None
    heatmaps = [part.heatmap for part in parts if part.heatmap is not None]
    heatmap = torch.cat(heatmaps, 1) if heatmaps else None
    return Trajectories(final.tracks, final.occlusion, final.expected_dist, unrefined, state, heatmap)


def map_states(function: Callable[..., Tensor], *states: State) -> State:
    """Apply `function` to the tensors that stand at the same place of every state."""
    return tuple(
        tuple(
            (function(*(block[0] for block in blocks)), function(*(block[1] for block in blocks)))
            for blocks in zip(*steps, strict=True)
        )
        for steps in zip(*states, strict=True)
    )


def select_state(state: State, index: Tensor | slice, count: int) -> State:
    """Select the state of some of `count` points."""
    return map_states(lambda x: x.unflatten(0, (-1, count))[:, index].flatten(0, 1), state)


def join_states(states: Sequence[State], batch: int) -> State:
    """Join the states of several groups of points."""
    return map_states(lambda *x: torch.cat([part.unflatten(0, (batch, -1)) for part in x], 1).flatten(0, 1), *states)
