"""TAPIR: track any point, first by matching every frame alone, then by refining the whole track.

Source: TAPIR (arXiv 2306.08637); BootsTAPIR (arXiv 2402.00847) is the same network with a deeper pyramid and five extra
convolution blocks; the causal ("online") variants pad their temporal convolutions on the past only.

    video --backbone--> features --+--> query features (trilinear samples at the queries)
                                   |        |
                                   +--> Matching: position, occlusion and expected-distance logits per frame
                                   |        |
                                   +--> (local correlations, features, logits) -> Mixer -> corrections, 4 times per resolution

Differs from the public PyTorch code, on purpose: non-square maps are sampled rightly; a refinement resolution above the
video's own size is really used; the soft-argmax is not detached; no argument is changed in place; queries are (t, x, y).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log2

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.blocks.sampling import resize_frames, sample_video, scale_xy
from tapetum.errors import BadInput
from tapetum.tap.backbone import Backbone, backbone_in_chunks
from tapetum.tap.config import TapirConfig
from tapetum.tap.correlation import local_correlation
from tapetum.tap.matching import Matching
from tapetum.tap.mixer import BlockState, Mixer

Size = tuple[int, int]
State = tuple[tuple[BlockState, ...], ...]
"""Of a causal model: the mixer's state for every refinement iteration, [b * n, 2, c] tensors."""


@dataclass(frozen=True)
class Features:
    """What the backbone says of a clip."""

    video_size: Size
    """Height and width of the video in pixels: the raster of queries and tracks."""
    resolutions: tuple[Size, ...]
    """Height and width of each refinement."""
    initial: Float[Tensor, "b t c h w"]
    """The stride-8 maps at the initial resolution, for matching."""
    pyramids: tuple[tuple[Float[Tensor, "b t c h w"], ...], ...]
    """For each refinement: stride 4, stride 8, and further maps that are averages over 2x2 cells of the one before."""

    def frames(self, begin: int, end: int) -> "Features":
        """The features of frames begin..end-1."""
        pyramids = tuple(tuple(maps[:, begin:end] for maps in pyramid) for pyramid in self.pyramids)
        return Features(self.video_size, self.resolutions, self.initial[:, begin:end], pyramids)


@dataclass(frozen=True)
class QueryFeatures:
    """What identifies the points: features at the queries, which may come from another video."""

    initial: Float[Tensor, "b n c"]
    """Stride 8, initial resolution."""
    levels: tuple[tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]], ...]
    """For each refinement: stride 4 and stride 8."""

    def select(self, index: Tensor | slice) -> "QueryFeatures":
        """The features of some of the points."""
        levels = tuple((hires[:, index], lowres[:, index]) for hires, lowres in self.levels)
        return QueryFeatures(self.initial[:, index], levels)


@dataclass(frozen=True)
class Estimate:
    """Where the points are, as one stage of the network sees it."""

    tracks: Float[Tensor, "b n t 2"]
    """(x, y) in raster pixels of the video."""
    occlusion: Float[Tensor, "b n t"]
    """Logit of the point being hidden or out of the picture."""
    expected_dist: Float[Tensor, "b n t"]
    """Logit of the position being wrong by more than 6 pixels (of a 256x256 picture)."""

    @property
    def confidence(self) -> Float[Tensor, "b n t"]:
        """Probability of being in sight and well placed; the paper calls a point visible above 0.5."""
        return torch.sigmoid(-self.occlusion.float()) * torch.sigmoid(-self.expected_dist.float())


@dataclass(frozen=True)
class Trajectories(Estimate):
    """The final estimate (the mean of the last iterates of all resolutions), with what led to it."""

    unrefined: tuple[Estimate, ...] = ()
    """All iterates but the last: matching first, then every refinement iteration."""
    state: State | None = field(default=None, repr=False)
    """Of a causal model that was asked for it: the state after the last frame."""


def default_resolutions(video_size: Size, base: Size) -> list[Size]:
    """Refinement resolutions for a video: from `base` to the video's own size in steps of at most a factor two.

    Each is a multiple of 8 pixels; a video no larger than `base` is refined at `base` only.

    >>> default_resolutions((480, 854), (256, 256))
    [(256, 256), (344, 464), (480, 848)]
    """
    count = ceil(max(log2(have / want) for have, want in zip(video_size, base, strict=True))) + 1
    if video_size == base or count <= 1:
        return [base]

    def between(have: int, want: int, level: int) -> int:
        return max(8, 8 * int(want * (have / want) ** (level / (count - 1)) / 8 + 1e-9))

    (height, width), (base_height, base_width) = video_size, base
    return [(between(height, base_height, i), between(width, base_width, i)) for i in range(count)]


class Tapir(nn.Module):
    """The network; every size comes from its config. `tapetum.tap.build` and `tapetum.load` make one with weights."""

    def __init__(self, config: TapirConfig):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.matching = Matching(config)
        self.mixer = Mixer(config)

    def forward(
        self,
        video: Float[Tensor, "b t h w 3"],
        queries: Float[Tensor, "b n 3"],
        query_chunk: int | None = 64,
        refinement_resolutions: Sequence[Size] | None = None,
        frame_chunk: int | None = None,
    ) -> Trajectories:
        """Track `queries`, (t, x, y) in raster pixels, through `video`, values -1..1.

        `query_chunk` and `frame_chunk` bound memory and change nothing else.
        """
        features = self.features(video, refinement_resolutions, frame_chunk)
        return self.trajectories(features, self.query_features(features, queries), queries, query_chunk, frame_chunk)

    def features(
        self,
        video: Float[Tensor, "b t h w 3"],
        refinement_resolutions: Sequence[Size] | None = None,
        frame_chunk: int | None = None,
    ) -> Features:
        """Features of `video` (values -1..1) at the initial and all refinement resolutions.

        The default resolutions are those of `default_resolutions`. Raises BadInput for a resolution that is not a multiple
        of 8 pixels or too small for the pyramid.
        """
        batch, frames, height, width, _ = video.shape
        base = self.config.initial_resolution
        resolutions = refinement_resolutions or default_resolutions((height, width), base)
        resolutions = tuple((int(h), int(w)) for h, w in resolutions)
        pictures = video.flatten(0, 1).permute(0, 3, 1, 2)
        least = 8 << self.config.pyramid_level
        maps = {}
        for size in dict.fromkeys((base, *resolutions)):
            if min(size) < least or size[0] % 8 or size[1] % 8:
                raise BadInput(f"resolution {size[0]}x{size[1]}: both sides must be multiples of 8 and at least {least}")
            resized = resize_frames(pictures, size, self.config.antialias)
            pair = backbone_in_chunks(self.backbone, resized, frame_chunk)
            maps[size] = [part.unflatten(0, (batch, frames)) for part in pair]
        pyramids = []
        for size in resolutions:
            pyramid = list(maps[size])
            for _ in range(self.config.pyramid_level):
                pyramid.append(F.avg_pool2d(pyramid[-1].flatten(0, 1), 2).unflatten(0, (batch, frames)))
            pyramids.append(tuple(pyramid))
        return Features((height, width), resolutions, maps[base][1], tuple(pyramids))

    def query_features(self, features: Features, queries: Float[Tensor, "b n 3"]) -> QueryFeatures:
        """Features at `queries`, (t, x, y) in raster pixels of the video of `features`."""

        def sample(maps: Tensor) -> Tensor:
            place = scale_xy(queries[..., 1:].float(), features.video_size, (maps.shape[-2], maps.shape[-1]))
            return sample_video(maps, torch.cat([queries[..., :1].float(), place], -1))

        levels = tuple((sample(pyramid[0]), sample(pyramid[1])) for pyramid in features.pyramids)
        shared = features.pyramids[0][1] is features.initial
        return QueryFeatures(levels[0][1] if shared else sample(features.initial), levels)

    def trajectories(
        self,
        features: Features,
        query_features: QueryFeatures,
        queries: Float[Tensor, "b n 3"] | None = None,
        query_chunk: int | None = 64,
        frame_chunk: int | None = None,
        state: State | None = None,
        keep_state: bool = False,
    ) -> Trajectories:
        """Tracks of points through a clip.

        `queries` holds the points to the given place at the query's frame in the matching stage; None where the query
        features come from another clip. A causal model continues from `state`, and returns the new one with `keep_state`.
        """
        count = query_features.initial.shape[1]
        step = query_chunk or count
        parts = []
        for begin in range(0, max(count, 1), step):
            some = slice(begin, min(begin + step, count))
            parts.append(
                self._track(
                    features,
                    query_features.select(some),
                    None if queries is None else queries[:, some],
                    frame_chunk,
                    None if state is None else _select_state(state, some, count),
                    keep_state,
                )
            )
        return parts[0] if len(parts) == 1 else _join(parts, features.initial.shape[0])

    def _track(
        self,
        features: Features,
        points: QueryFeatures,
        queries: Tensor | None,
        frame_chunk: int | None,
        state: State | None,
        keep_state: bool,
    ) -> Trajectories:
        base = self.config.initial_resolution
        now = self._match(features, points.initial, queries, frame_chunk)
        iterates = [now]
        states = []
        for level, (size, pyramid) in enumerate(zip(features.resolutions, features.pyramids, strict=True)):
            now = Estimate(now.tracks, iterates[0].occlusion, iterates[0].expected_dist)
            vectors = torch.cat(points.levels[level], -1)[:, :, None]
            for i in range(self.config.iterations):
                before = state[level * self.config.iterations + i] if state else None
                now, vectors, after = self._refine(pyramid, size, now, vectors, before)
                iterates.append(now)
                states.append(after)
        seen = [
            Estimate(scale_xy(it.tracks, base, features.video_size), it.occlusion, it.expected_dist) for it in iterates
        ]
        last = seen[self.config.iterations :: self.config.iterations]
        final = last[0] if len(last) == 1 else _mean(last)
        kept = _own_state(states) if keep_state and self.config.causal else None
        return Trajectories(final.tracks, final.occlusion, final.expected_dist, tuple(seen[:-1]), kept)

    def _match(
        self, features: Features, vectors: Tensor, queries: Tensor | None, frame_chunk: int | None
    ) -> Estimate:
        """Stage 1; positions in pixels of the initial resolution."""
        base = self.config.initial_resolution
        maps = features.initial
        frames = maps.shape[1]
        parts = [self.matching(vectors, part) for part in maps.split(frame_chunk or frames, 1)]
        place, occlusion, expected_dist = (torch.cat(part, 2) for part in zip(*parts, strict=True))
        place = scale_xy(place, (maps.shape[-2], maps.shape[-1]), base)
        if queries is not None:
            known = scale_xy(queries[..., 1:].float(), features.video_size, base)[:, :, None]
            is_query = queries[..., :1].round() == torch.arange(frames, device=queries.device)
            place = torch.where(is_query[..., None], known, place)
        return Estimate(place, occlusion, expected_dist)

    def _refine(
        self,
        pyramid: tuple[Tensor, ...],
        size: Size,
        now: Estimate,
        vectors: Float[Tensor, "b n #t c"],
        state: tuple[BlockState, ...] | None,
    ) -> tuple[Estimate, Tensor, tuple[BlockState, ...] | None]:
        """One iteration at one resolution; the mixer's position output is in pixels of that resolution."""
        base = self.config.initial_resolution
        batch, count, frames = now.occlusion.shape
        hires, lowres = vectors.split([self.config.hires_dim, self.config.lowres_dim], -1)
        correlations = [
            local_correlation(
                hires if i == 0 else lowres, maps, scale_xy(now.tracks, base, (maps.shape[-2], maps.shape[-1]))
            )
            for i, maps in enumerate(pyramid)
        ]
        # The mixer has two slots for the position; the published weights were trained with zeros there.
        known = [torch.zeros_like(now.tracks), now.occlusion[..., None], now.expected_dist[..., None]]
        vectors = vectors.expand(-1, -1, frames, -1)
        out, state = self.mixer(torch.cat([*known, vectors, *correlations], -1).flatten(0, 1), state)
        move, occlusion, expected_dist, change = out.unflatten(0, (batch, count)).split(
            [2, 1, 1, vectors.shape[-1]], -1
        )
        after = Estimate(
            now.tracks + scale_xy(move, size, base),
            now.occlusion + occlusion[..., 0],
            now.expected_dist + expected_dist[..., 0],
        )
        return after, vectors + change, state


def _mean(estimates: list[Estimate]) -> Estimate:
    fields = ([it.tracks for it in estimates], [it.occlusion for it in estimates], [it.expected_dist for it in estimates])
    return Estimate(*(torch.stack(field).mean(0) for field in fields))


def _concat(estimates: Sequence[Estimate]) -> Estimate:
    fields = ([it.tracks for it in estimates], [it.occlusion for it in estimates], [it.expected_dist for it in estimates])
    return Estimate(*(torch.cat(field, 1) for field in fields))


def _join(parts: list[Trajectories], batch: int) -> Trajectories:
    """Put chunks of queries side by side."""
    final = _concat(parts)
    unrefined = tuple(_concat(iterate) for iterate in zip(*(part.unrefined for part in parts), strict=True))
    states = [part.state for part in parts if part.state is not None]
    state = None
    if states:
        state = _map_states(
            lambda *chunks: torch.cat([chunk.unflatten(0, (batch, -1)) for chunk in chunks], 1).flatten(0, 1), *states
        )
    return Trajectories(final.tracks, final.occlusion, final.expected_dist, unrefined, state)


def _map_states(function, *states: State) -> State:
    """Apply `function` to the tensors that stand at the same place of every state."""
    return tuple(
        tuple(tuple(function(*tensors) for tensors in zip(*block, strict=True)) for block in zip(*step, strict=True))
        for step in zip(*states, strict=True)
    )


def _select_state(state: State, index: Tensor | slice, count: int) -> State:
    return _map_states(lambda x: x.unflatten(0, (-1, count))[:, index].flatten(0, 1), state)


def _own_state(states: list) -> State:
    """Copies, so that a kept state does not hold the clip's whole activations."""
    return _map_states(torch.clone, tuple(states))
