"""Export of a tracker for other runtimes: torch.export (.pt2) and ONNX (.onnx).

Sizes (frames, height and width, points) are fixed at export. Images are float32 in -1..1, channels last; queries are (t, x, y)
in raster pixels. All sampling is done by gathering cells, so that no program needs 5-D resampling.

    clip    video (1, t, h, w, 3), queries (1, n, 3) -> tracks (1, n, t, 2), occlusion (1, n, t), expected_dist (1, n, t)

A causal network can also be exported as two programs, for frames that arrive one by one:

    start   frame (1, 1, h, w, 3), points (1, n, 2) -> matched (1, n, c), hires (r, 1, n, ch), lowres (r, 1, n, c)
    step    frame, query_xy (1, n, 2), matched, hires, lowres, narrow (i, b, n, 2, w), wide (i, b, n, 2, w*e)
                -> tracks (1, n, 1, 2), occlusion, expected_dist (1, n, 1), narrow, wide

for r resolutions, i refinement iterations in total and b mixer blocks. `query_xy` holds the points in the frame of their query,
and NaN in all others; `narrow` and `wide` are zeros before the first frame. occlusion and expected_dist are logits: a point is
visible where sigmoid(-occlusion) * sigmoid(-expected_dist) > 0.5.

A program runs both passes of a network that has two (`tap.second_pass`). It leaves out the alignment of patches
(`tap.tracking.polish`), which the bundled networks do in `tapetum track`; `left_out` reports this for a tracker.
"""

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.tap.second_pass import track_with_fixed_shapes
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.systems.tap.types import QueryFeatures, Size, State
from tapetum.tracks.programs import Program, Wrapped, check_sizes, spread_queries

POLISH = "polish"
"""What `left_out` calls the alignment of patches."""


class _Clip(Wrapped):
    def forward(self, video: Tensor, queries: Tensor) -> tuple[Tensor, ...]:
        out = track_with_fixed_shapes(self.model, video, queries)
        return out.tracks, out.occlusion, out.expected_dist


class _Start(Wrapped):
    def forward(self, frame: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        queries = torch.cat([torch.zeros_like(points[..., :1]), points], -1)
        features_at_points = self.model.query_features(self.model.features(frame), queries)
        hires, lowres = zip(*features_at_points.levels, strict=True)
        return features_at_points.initial, torch.stack(hires), torch.stack(lowres)


class _Step(Wrapped):
    def forward(
        self, frame: Tensor, query_xy: Tensor, matched: Tensor, hires: Tensor, lowres: Tensor, narrow: Tensor, wide: Tensor
    ) -> tuple[Tensor, ...]:
        points = QueryFeatures(matched, tuple(zip(hires.unbind(), lowres.unbind(), strict=True)))
        state: State = tuple(
            tuple(zip(a.unbind(), b.unbind(), strict=True)) for a, b in zip(narrow.unbind(), wide.unbind(), strict=True)
        )
        features = self.model.features(frame)
        known = query_xy[:, :, None]
        out = self.model.trajectories(features, points, known, query_chunk=None, state=state, keep_state=True)
        assert out.state is not None
        after = [torch.stack([torch.stack([block[k] for block in blocks]) for blocks in out.state]) for k in (0, 1)]
        return out.tracks, out.occlusion, out.expected_dist, *after


def left_out(tracker: TapirTracker, *, online: bool = False) -> tuple[str, ...]:
    """List what the tracker does but its exported program does not: `POLISH`, or nothing."""
    return (POLISH,) if tracker.model.config.polish else ()


def clip_program(tracker: TapirTracker, *, frames: int, size: Size, points: int) -> Program:
    """Make the program that tracks `points` points through `frames` frames of (height, width) `size`."""
    check_sizes(tracker.model, frames, size, points)
    video = torch.zeros(1, frames, *size, 3)
    return Program(
        _Clip(tracker.model),
        {"video": video, "queries": spread_queries(size, points)},
        ("tracks", "occlusion", "expected_dist"),
    )


def online_programs(tracker: TapirTracker, *, size: Size, points: int) -> tuple[Program, Program]:
    """Make the programs `start` and `step` of a causal tracker; raises BadInput for any other."""
    check_sizes(tracker.model, 1, size, points)
    config = tracker.model.config
    if not config.causal:
        raise BadInput("this network looks at past and future; frames one by one need a causal one, such as causal-tapir-nano")
    frame = torch.zeros(1, 1, *size, 3)
    start = Program(
        _Start(tracker.model), {"frame": frame, "points": spread_queries(size, points)[..., 1:]}, ("matched", "hires", "lowres")
    )
    resolutions = len(tracker.model.refinements(size))
    state_shape = (resolutions * config.iterations, config.mixer_blocks, points, 2)
    inputs = {
        "frame": frame,
        "query_xy": torch.full((1, points, 2), torch.nan),
        "matched": torch.zeros(1, points, config.lowres_dim),
        "hires": torch.zeros(resolutions, 1, points, config.hires_dim),
        "lowres": torch.zeros(resolutions, 1, points, config.lowres_dim),
        "narrow": torch.zeros(*state_shape, config.mixer_width),
        "wide": torch.zeros(*state_shape, config.mixer_width * config.mixer_expansion),
    }
    outputs = ("tracks", "occlusion", "expected_dist", "narrow_after", "wide_after")
    return start, Program(_Step(tracker.model), inputs, outputs)
