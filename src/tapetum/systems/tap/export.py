"""Export of a tracker for other runtimes: torch.export (.pt2) and ONNX (.onnx).

Sizes (frames, height and width, points) are fixed at export. Images are float32 in -1..1, channels last; queries are (t, x, y)
in raster pixels; a point is visible where sigmoid(-occlusion) * sigmoid(-expected_dist) > 0.5.

    clip    video (1, t, h, w, 3), queries (1, n, 3) -> tracks (1, n, t, 2), occlusion (1, n, t), expected_dist (1, n, t)

A causal network can also be exported for frames one by one and any number of points (examples/live_cpp, examples/live_browser),
with i refinement iterations in total, b mixer blocks and their width w:

    live    frame (h, w, 3) uint8, query_xy (n, 2), features (n, c), state (n, i, b, 2, w*(1+e))
                -> xy (n, 2), confidence (n,), features_after, state_after

Each row is a point. Where `query_xy` is not NaN it is a new one, whose features and state may be anything. A program runs both
passes of a network that has two; it leaves out the alignment of patches (`left_out`).
"""

from itertools import chain

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.tap.second_pass import track_passes
from tapetum.systems.tap.tracking.follower import live_refinements
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.systems.tap.types import QueryFeatures, Size, State
from tapetum.tracks.programs import Program, Wrapped, check_sizes, spread_queries


class _Clip(Wrapped):
    def forward(self, video: Tensor, queries: Tensor) -> tuple[Tensor, ...]:
        out = track_passes(self.model, video, queries, fixed_shapes=True, query_chunk=None)[-1]
        return out.tracks, out.occlusion, out.expected_dist


class _Live(Wrapped):
    def forward(self, frame: Tensor, query_xy: Tensor, features: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        model, config = self.model, self.model.config
        resolutions = live_refinements(model, (frame.shape[0], frame.shape[1]))
        grids = model.features((frame.float() / 127.5 - 1)[None, None], resolutions)
        new = ~query_xy.isnan().any(-1, keepdim=True)
        queries = torch.cat([torch.zeros_like(query_xy[:, :1]), torch.where(new, query_xy, 0.0)], -1)
        here = model.query_features(grids, queries[None])
        features = torch.where(new, torch.cat([here.initial, *chain(*here.levels)], -1)[0], features)
        state = torch.where(new[..., None, None, None], 0.0, state)
        initial, *levels = features[None].split([vectors.shape[-1] for vectors in (here.initial, *chain(*here.levels))], -1)
        points = QueryFeatures(initial, tuple(zip(levels[::2], levels[1::2], strict=True)))
        width = config.mixer_width
        before: State = tuple(
            tuple((block[..., :width], block[..., width:]) for block in blocks.unbind(1)) for blocks in state.unbind(1)
        )
        known = query_xy[None, :, None]
        out = model.trajectories(grids, points, known, query_chunk=None, state=before, keep_state=True)
        assert out.state is not None
        after = torch.stack([torch.stack([torch.cat(block, -1) for block in blocks], 1) for blocks in out.state], 1)
        return out.tracks[0, :, 0], out.confidence[0, :, 0], features, after


def left_out(tracker: TapirTracker, *, live: bool = False) -> tuple[str, ...]:
    """List what the tracker does but its exported program does not: the alignment of patches, or nothing."""
    return ("polish",) if tracker.model.config.polish else ()


def clip_program(tracker: TapirTracker, *, frames: int, size: Size, points: int) -> Program:
    """Make the program that tracks `points` points through `frames` frames of (height, width) `size`."""
    check_sizes(tracker.model, frames, size, points)
    video = torch.zeros(1, frames, *size, 3)
    return Program(
        _Clip(tracker.model),
        {"video": video, "queries": spread_queries(size, points)},
        ("tracks", "occlusion", "expected_dist"),
    )


def live_program(tracker: TapirTracker, *, size: Size) -> Program:
    """Make the program `live` of a causal tracker, for any number of points; raises BadInput for any other."""
    config, points = tracker.model.config, 2
    check_sizes(tracker.model, 1, size, points)
    if not config.causal:
        raise BadInput("this network looks at past and future; frames one by one need a causal one, such as causal-tapir-nano")
    resolutions = len(live_refinements(tracker.model, size))
    widths = config.lowres_dim + resolutions * (config.hires_dim + config.lowres_dim)
    inputs = {
        "frame": torch.zeros(*size, 3, dtype=torch.uint8),
        "query_xy": spread_queries(size, points)[0, :, 1:],
        "features": torch.zeros(points, widths),
        "state": torch.zeros(
            points, resolutions * config.iterations, config.mixer_blocks, 2, config.mixer_width * (1 + config.mixer_expansion)
        ),
    }
    outputs = ("xy", "confidence", "features_after", "state_after")
    return Program(_Live(tracker.model), inputs, outputs, any_number=("query_xy", "features", "state"))
