"""Export of TAPNext for other runtimes: torch.export (.pt2) and ONNX (.onnx).

Sizes are fixed at export: frames, height and width (those the network was trained for), points. Images are float32 in -1..1,
channels last; queries are (t, x, y) in raster pixels. visible_logits are above 0 where a point is visible.

    clip    video (1, t, h, w, 3), queries (1, n, 3) -> tracks (1, n, t, 2), visible_logits (1, n, t)

Before a query's frame its output is meaningless (`left_out`). When frames arrive one by one, the first has no past and a
separate program, with all queries, for d blocks, and tokens of patches first:

    start   frame (1, 1, h, w, 3), points (1, n, 2) -> tracks (1, n, 1, 2), visible_logits (1, n, 1), hidden, conv
    step    frame, hidden (d, 1, tokens, c), conv (d, 1, taps - 1, tokens, c) -> the same, of which hidden_after, conv_after
"""

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.tapnext.layers import RecurrentState
from tapetum.systems.tapnext.model import TapNext, TapNextState
from tapetum.systems.tapnext.tracker import TapNextTracker
from tapetum.tracks.programs import Program, Wrapped, check_sizes, spread_queries

_PREDICTED = "tracks", "visible_logits"


class _Clip(Wrapped):
    def forward(self, video: Tensor, queries: Tensor) -> tuple[Tensor, ...]:
        out = self.model(video, queries)
        return out.xy, out.visible_logits


class _Start(Wrapped):
    def forward(self, frame: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        queries = torch.cat([torch.zeros_like(points[..., :1]), points], -1)
        state = self.model.start(queries, self.model.config.video_size)
        return _step(self.model, state, frame)


class _Step(Wrapped):
    def __init__(self, model: TapNext, points: int):
        super().__init__(model)
        self.points = points

    def forward(self, frame: Tensor, hidden: Tensor, conv: Tensor) -> tuple[Tensor, ...]:
        blocks = tuple(RecurrentState(*pair) for pair in zip(hidden.unbind(), conv.unbind(), strict=True))
        times = torch.zeros(1, self.points, dtype=torch.long)
        embeddings = torch.zeros(1, self.points, self.model.config.width)  # of queries, whose frame is over
        state = TapNextState(self.model.config.video_size, 1, times, embeddings, blocks)
        return _step(self.model, state, frame)


def _step(model: TapNext, state: TapNextState, frame: Tensor) -> tuple[Tensor, ...]:
    after, out = model.step(state, frame)
    hidden = torch.stack([block.hidden for block in after.blocks])
    return out.xy, out.visible_logits, hidden, torch.stack([block.conv for block in after.blocks])


def left_out(tracker: TapNextTracker, *, live: bool = False) -> tuple[str, ...]:
    """List what the tracker does but its exported program does not: nothing if `live`."""
    return () if live else ("frames before that of a query",)


def clip_program(tracker: TapNextTracker, *, frames: int, size: tuple[int, int], points: int) -> Program:
    """Make the program that tracks `points` points through `frames` frames of (height, width) `size`, which must be the trained
    one."""
    _check(tracker, frames, size, points)
    inputs = {"video": torch.zeros(1, frames, *size, 3), "queries": spread_queries(size, points)}
    return Program(_Clip(tracker.model), inputs, _PREDICTED)


def live_programs(tracker: TapNextTracker, *, size: tuple[int, int], points: int) -> tuple[Program, Program]:
    """Make the programs `start` and `step` for frames that arrive one by one; raises BadInput as `clip_program`."""
    _check(tracker, 1, size, points)
    frame, first = torch.zeros(1, 1, *size, 3), spread_queries(size, points)
    state = tracker.model.start(first, size)
    start = Program(_Start(tracker.model), {"frame": frame, "points": first[..., 1:]}, (*_PREDICTED, "hidden", "conv"))
    inputs = {
        "frame": frame,
        "hidden": torch.stack([block.hidden for block in state.blocks]),
        "conv": torch.stack([block.conv for block in state.blocks]).detach(),
    }
    step = Program(_Step(tracker.model, points), inputs, (*_PREDICTED, "hidden_after", "conv_after"))
    return start, step


def _check(tracker: TapNextTracker, frames: int, size: tuple[int, int], points: int) -> None:
    check_sizes(tracker.model, frames, size, points)
    if size != (trained := tracker.model.config.video_size):
        raise BadInput(f"images of {size[1]}x{size[0]} were asked for; this network was trained for {trained[1]}x{trained[0]}")
