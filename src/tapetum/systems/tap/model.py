"""TAPIR: track any point, first by matching every frame alone, then by refining the whole track.

Source: TAPIR (arXiv 2306.08637); BootsTAPIR (arXiv 2402.00847) is the same network with a deeper pyramid and five extra
convolution blocks; the causal ("online") variants pad their temporal convolutions on the past only.

    video --backbone--> features --+--> query features (trilinear samples at the queries)
                                   |        |
                                   +--> Matching: position, occlusion and expected-distance logits per frame
                                   |        |
                                   +--> (local correlations, features, logits) -> Mixer -> corrections, 4 times per resolution

Differs from the public PyTorch code, deliberately: non-square maps are sampled correctly; a refinement resolution above the
video's own size is actually used; the soft-argmax is not detached; no argument is modified in place; queries are (t, x, y).
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log2

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.layers.sampling import resize_frames, sample_video, scale_xy
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.layers import Backbone, Mixer, backbone_in_chunks
from tapetum.systems.tap.matching import Matching, local_correlation, peak_share
from tapetum.systems.tap.types import (
    BlockState,
    FeatureGrids,
    QueryFeatures,
    Size,
    State,
    TrackEstimate,
    Trajectories,
    join_trajectories,
    map_tensors,
    select_state,
)


def default_resolutions(video_size: Size, base: Size) -> list[Size]:
    """List refinement resolutions, multiples of 8 pixels: from `base` to the video's own size, if larger, in steps of at most a
    factor two.

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


def places_of(queries: Float[Tensor, "b n 3"], frames: int, begin: int = 0) -> Float[Tensor, "b n t 2"]:
    """Compute the places of queries (t, x, y) at the frame nearest to t, NaN at all others of `frames` from `begin` on."""
    is_query = queries[..., :1].round() == torch.arange(begin, begin + frames, device=queries.device)
    return torch.where(is_query[..., None], queries[:, :, None, 1:].float(), torch.nan)


class Tapir(nn.Module):
    """The network; every size comes from its config. `tapetum.systems.tap.build` and `tapetum.load` make one with weights."""

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
        refine_with_gradient: int | None = None,
        peaks: bool = False,
    ) -> Trajectories:
        """Track `queries`, (t, x, y) in raster pixels, through `video`, values -1..1.

        The chunks bound memory. As in the public code, refinement learns from the first `refine_with_gradient` queries only,
        matching from all. With `peaks` the result has `Trajectories.peak`.
        """
        features = self.features(video, refinement_resolutions, frame_chunk)
        points = self.query_features(features, queries)
        known = places_of(queries, video.shape[1])
        return self.trajectories(
            features,
            points,
            known,
            query_chunk=query_chunk,
            frame_chunk=frame_chunk,
            refine_with_gradient=refine_with_gradient,
            peaks=peaks,
        )

    def refinements(self, video_size: Size) -> list[Size]:
        """List the resolutions at which tracks are refined in a video of (height, width), unless others are requested."""
        least = self.config.refine_at_least or video_size
        most = self.config.refine_at_most or (max(video_size[0], least[0]), max(video_size[1], least[1]))
        size = (min(max(video_size[0], least[0]), most[0]), min(max(video_size[1], least[1]), most[1]))
        return default_resolutions(size, self.config.initial_resolution)

    def features(
        self,
        video: Float[Tensor, "b t h w 3"],
        refinement_resolutions: Sequence[Size] | None = None,
        frame_chunk: int | None = None,
    ) -> FeatureGrids:
        """Compute features of `video` (values -1..1) at the initial and all refinement resolutions, by default `refinements`.

        Raises BadInput for a resolution that is not a multiple of 8 pixels or too small for the pyramid.
        """
        batch, frames, height, width, _ = video.shape
        base = self.config.initial_resolution
        resolutions = tuple((int(h), int(w)) for h, w in refinement_resolutions or self.refinements((height, width)))
        images = video.flatten(0, 1).permute(0, 3, 1, 2)
        least = 8 << self.config.pyramid_level
        maps = {}
        for size in dict.fromkeys((base, *resolutions)):
            if min(size) < least or size[0] % 8 or size[1] % 8:
                raise BadInput(f"resolution {size[0]}x{size[1]}: both sides must be multiples of 8 and at least {least}")
            resized = resize_frames(images, size, self.config.antialias)
            pair = backbone_in_chunks(self.backbone, resized, frame_chunk)
            pyramid = list(pair)
            for _ in range(self.config.pyramid_level):
                pyramid.append(F.avg_pool2d(pyramid[-1], 2))
            maps[size] = tuple(part.permute(0, 2, 3, 1).contiguous().unflatten(0, (batch, frames)) for part in pyramid)
        return FeatureGrids((height, width), resolutions, maps[base][1], tuple(maps[size] for size in resolutions))

    def query_features(self, features: FeatureGrids, queries: Float[Tensor, "b n 3"]) -> QueryFeatures:
        """Sample features at `queries`, (t, x, y) in raster pixels of the video of `features`."""

        def sample(maps: Tensor) -> Tensor:
            place = scale_xy(queries[..., 1:].float(), features.video_size, (maps.shape[2], maps.shape[3]))
            return sample_video(maps, torch.cat([queries[..., :1].float(), place], -1))

        levels = tuple((sample(pyramid[0]), sample(pyramid[1])) for pyramid in features.pyramids)
        shared = features.resolutions[0] == self.config.initial_resolution
        return QueryFeatures(levels[0][1] if shared else sample(features.initial), levels)

    def trajectories(
        self,
        features: FeatureGrids,
        points: QueryFeatures,
        known: Float[Tensor, "b n t 2"] | None = None,
        *,
        query_chunk: int | None = 64,
        frame_chunk: int | None = None,
        state: State | None = None,
        keep_state: bool = False,
        refine_with_gradient: int | None = None,
        peaks: bool = False,
    ) -> Trajectories:
        """Track points through a clip.

        `known` are positions (x, y) in raster pixels that replace those of matching where they are not NaN (`places_of`). The
        chunks, of points and of frames matched, bound memory. A causal model takes the `state` at the end of an earlier clip,
        and gives its own with `keep_state`. Refinement passes gradients for `refine_with_gradient` points (in whole chunks;
        None: all). With `peaks`, `Trajectories.peak` is computed.
        """
        count = points.initial.shape[1]  # unknown while a program is exported, which works on all points at once
        parts = []
        for begin in range(0, max(count, 1), query_chunk) if query_chunk else [0]:
            part = slice(begin, min(begin + query_chunk, count) if query_chunk else count)
            before = None if state is None else select_state(state, part, count)
            known_part = None if known is None else known[:, part]
            now, heatmap, peak = self._match(features, points.initial[:, part], known_part, frame_chunk, peaks)
            learn = torch.is_grad_enabled() and (refine_with_gradient is None or begin < refine_with_gradient)
            tracked = self._refined(features, points.select(part), now, before, keep_state, learn)
            parts.append(replace(tracked, heatmap=heatmap, peak=peak))
        return parts[0] if len(parts) == 1 else join_trajectories(parts, features.initial.shape[0])

    def _refined(
        self,
        features: FeatureGrids,
        points: QueryFeatures,
        first: TrackEstimate,
        state: State | None,
        keep_state: bool,
        learn: bool,
    ) -> Trajectories:
        """All iterations at all resolutions, from the estimate of stage 1 (in pixels of the initial resolution)."""
        base, iterations = self.config.initial_resolution, self.config.iterations
        now = first
        iterates, states = [first], []
        with torch.set_grad_enabled(learn):
            for level, (size, pyramid) in enumerate(zip(features.resolutions, features.pyramids, strict=True)):
                now = TrackEstimate(now.tracks, first.occlusion, first.expected_dist)
                vectors = torch.cat(points.levels[level], -1)[:, :, None]
                for i in range(iterations):
                    before = state[level * iterations + i] if state else None
                    now, vectors, after = self._refine(pyramid, size, now, vectors, before)
                    iterates.append(now)
                    states.append(after)
        in_video = [
            TrackEstimate(scale_xy(it.tracks, base, features.video_size), it.occlusion, it.expected_dist) for it in iterates
        ]
        final = map_tensors(lambda *last: torch.stack(last).mean(0), *in_video[iterations::iterations])
        tracks = final.tracks if self.config.average_positions else in_video[-1].tracks
        kept = map_tensors(torch.clone, tuple(states)) if keep_state and self.config.causal else None
        return Trajectories(tracks, final.occlusion, final.expected_dist, tuple(in_video[:-1]), kept)

    def _match(
        self, features: FeatureGrids, vectors: Tensor, known: Tensor | None, frame_chunk: int | None, peaks: bool
    ) -> tuple[TrackEstimate, Tensor | None, Tensor | None]:
        """Stage 1; positions in pixels of the initial resolution; the logits of all cells in training; `peak` if asked for."""
        base, maps = self.config.initial_resolution, features.initial
        parts, shares = [], []
        for part in maps.split(frame_chunk or maps.shape[1], 1):
            *rest, heatmap = self.matching(vectors, part)
            shares += [peak_share(heatmap.flatten(0, 2)).view(heatmap.shape[:3])] if peaks else []
            parts.append((*rest, heatmap if self.training else None))
        place, occlusion, expected_dist = (torch.cat([part[k] for part in parts], 2) for k in range(3))
        heatmap = torch.cat([part[3] for part in parts], 2) if self.training else None
        place = scale_xy(place, (maps.shape[2], maps.shape[3]), base)
        if known is not None:
            known = scale_xy(known.float(), features.video_size, base)
            place = torch.where(known.isnan(), place, known)
        return TrackEstimate(place, occlusion, expected_dist), heatmap, torch.cat(shares, 2) if peaks else None

    def _refine(
        self,
        pyramid: tuple[Tensor, ...],
        size: Size,
        now: TrackEstimate,
        vectors: Float[Tensor, "b n #t c"],
        state: tuple[BlockState, ...] | None,
    ) -> tuple[TrackEstimate, Tensor, tuple[BlockState, ...] | None]:
        """One iteration at one resolution; the mixer's position output is in pixels of that resolution."""
        base = self.config.initial_resolution
        batch, count, frames = now.occlusion.shape
        hires, lowres = vectors.split([self.config.hires_dim, self.config.lowres_dim], -1)
        correlations = [
            local_correlation(hires if i == 0 else lowres, maps, scale_xy(now.tracks, base, (maps.shape[2], maps.shape[3])))
            for i, maps in enumerate(pyramid)
        ]
        # The mixer has two slots for the position; the published weights were trained with zeros there.
        known = [torch.zeros_like(now.tracks), now.occlusion[..., None], now.expected_dist[..., None]]
        vectors = vectors.expand(-1, -1, frames, -1)
        out, state = self.mixer(torch.cat([*known, vectors, *correlations], -1).flatten(0, 1), state)
        move, occlusion, expected_dist, change = out.unflatten(0, (batch, count)).split([2, 1, 1, vectors.shape[-1]], -1)
        after = TrackEstimate(
            now.tracks + scale_xy(move, size, base),
            now.occlusion + occlusion[..., 0],
            now.expected_dist + expected_dist[..., 0],
        )
        return after, vectors + change, state
