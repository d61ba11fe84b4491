"""Types passed between the stages of TAPIR. Shapes: b clips, n points, t frames, c channels."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.tracks.patches import map_tensors

Size = tuple[int, int]
BlockState = tuple[Float[Tensor, "s 2 c"], Float[Tensor, "s 2 c*e"]]
"""The last two inputs of both temporal convolutions of a mixer block, for s = b * n sequences; of the second one copy of all
channels after the other."""
State = tuple[tuple[BlockState, ...], ...]
"""State of a causal model: the mixer's state for every refinement iteration, [b * n, 2, c] tensors."""


@dataclass(frozen=True)
class FeatureGrids:
    video_size: Size
    """Height and width of the video in pixels: the raster of queries and tracks."""
    resolutions: tuple[Size, ...]
    """Height and width of each refinement."""
    initial: Float[Tensor, "b t h w c"]
    """The stride-8 maps at the initial resolution, for matching."""
    pyramids: tuple[tuple[Float[Tensor, "b t h w c"], ...], ...]
    """For each refinement: stride 4, stride 8, and further maps that are averages over 2x2 cells of the one before."""

    def frames(self, begin: int, end: int) -> "FeatureGrids":
        return map_tensors(lambda maps: maps[:, begin:end], self)

    def clip(self, k: int) -> "FeatureGrids":
        """Select the features of clip `k` of a batch, as a batch of one."""
        return map_tensors(lambda maps: maps[k : k + 1], self)

    def blank(self, frames: int, half: bool = False) -> "FeatureGrids":
        """Allocate features of `frames` frames of the same video; maps shared here are shared there.

        `half`: store float32 maps in float16, which rounds values, none above 1, by at most 0.0003.
        """
        dtypes = {id(maps): torch.float16 if half and maps.dtype == torch.float32 else maps.dtype for maps in self.maps}
        new = {id(x): x.new_empty(x.shape[0], frames, *x.shape[2:], dtype=dtypes[id(x)]) for x in self.maps}
        return map_tensors(lambda maps: new[id(maps)], self)

    @property
    def maps(self) -> tuple[Float[Tensor, "b t h w c"], ...]:
        every = (self.initial, *(maps for pyramid in self.pyramids for maps in pyramid))
        return tuple({id(maps): maps for maps in every}.values())


@dataclass(frozen=True)
class QueryFeatures:
    """Features at the queries, which identify the points and may come from another video."""

    initial: Float[Tensor, "b n c"]
    """Stride 8, initial resolution."""
    levels: tuple[tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]], ...]
    """For each refinement: stride 4 and stride 8."""

    def select(self, index: Tensor | slice) -> "QueryFeatures":
        return map_tensors(lambda x: x[:, index], self)

    def beside(self, *others: "QueryFeatures") -> "QueryFeatures":
        """Join these points, and then others."""
        return map_tensors(lambda *x: torch.cat(x, 1), self, *others)


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
        """Compute the probability that a point is visible and accurately placed; the paper calls it visible above 0.5."""
        return torch.sigmoid(-self.occlusion.float()) * torch.sigmoid(-self.expected_dist.float())


@dataclass(frozen=True)
class Trajectories(TrackEstimate):
    """The final estimate (the mean of the last iterates of all resolutions), with what led to it."""

    unrefined: tuple[TrackEstimate, ...] = ()
    """All iterates but the last: matching first, then every refinement iteration."""
    state: State | None = field(default=None, repr=False)
    """State after the last frame, if requested from a causal model."""
    heatmap: Float[Tensor, "b n t h w"] | None = field(default=None, repr=False)
    """Matching logits of every cell, from a model in training."""
    peak: Float[Tensor, "b n t"] | None = field(default=None, repr=False)
    """Logarithm of the share of matching's probability on the disc around its maximum, if requested."""


def join_trajectories(parts: list[Trajectories], batch: int) -> Trajectories:
    """Concatenate chunks of queries."""
    states = [part.state for part in parts if part.state is not None]
    joined = map_tensors(lambda *x: torch.cat(x, 1), *(replace(part, state=None) for part in parts))
    return replace(joined, state=join_states(states, batch) if states else None)


def select_state(state: State, index: Tensor | slice, count: int) -> State:
    """Select the state of some of `count` points."""
    return map_tensors(lambda x: x.unflatten(0, (-1, count))[:, index].flatten(0, 1), state)


def join_states(states: Sequence[State], batch: int) -> State:
    """Join the states of several groups of points."""
    return map_tensors(lambda *x: torch.cat([part.unflatten(0, (batch, -1)) for part in x], 1).flatten(0, 1), *states)
