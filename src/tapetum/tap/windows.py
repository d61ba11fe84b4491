"""A long video in windows, so that memory does not grow with its length.

A network that sees both ways looks at overlapping windows. In a window every point is sought with the features of its own
query, wherever in the video that was asked: appearance does not drift. What is carried from one window to the next is where the
point was: in the frames that two windows share, the place found by the first stands in for matching in the second, as a query's
own place does. A point goes forward from the first window that holds its query, and then backward from the same window.

    frames    0 . . . . . . . . . . . . . . . . . . T
    window 0  [- - - - - - -|- -]
    window 1            [- -|- - - - - -|- -]              | cut: the middle of an overlap. Each frame's answer comes from the
    window 2                        [- -|- - - - - - -]      window in which it is farther from the edge.

A causal network needs no overlap: the state of its mixer is carried, and the result is that of one pass over the whole video.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.tap.model import Tapir
from tapetum.tap.types import Estimate, Features, QueryFeatures, State

FeaturesOf = Callable[[int, int], Features]
"""Features of frames begin..end-1 of a video."""


@dataclass(frozen=True)
class Window:
    """Frames begin..end-1, of which begin..cut-1 are shared with the window before and better seen there."""

    begin: int
    end: int
    cut: int


def plan(frames: int, window: int, overlap: int) -> list[Window]:
    """Windows of `window` frames that share at least `overlap`; the last one is moved back to end with the video.

    >>> plan(10, 6, 2)
    [Window(begin=0, end=6, cut=0), Window(begin=4, end=10, cut=5)]
    """
    begins = [0]
    while begins[-1] + window < frames:
        begins.append(min(begins[-1] + window - overlap, frames - window))
    ends = [min(begin + window, frames) for begin in begins]
    cuts = [0, *((begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False))]
    return [Window(*bounds) for bounds in zip(begins, ends, cuts, strict=True)]


def features_in_order(features_of: FeaturesOf, windows: list[Window]) -> Iterator[Features]:
    """Features of windows that rise or fall; what two neighbours share is computed once."""
    held: Features | None = None
    before = windows[0]
    for now in windows:
        if held is None or now.begin >= before.end or now.end <= before.begin:
            held = features_of(now.begin, now.end)
        elif now.begin >= before.begin:
            held = held.frames(now.begin - before.begin, before.end - before.begin)
            if now.end > before.end:
                held = held.then(features_of(before.end, now.end))
        else:
            held = features_of(now.begin, before.begin).then(held.frames(0, now.end - before.begin))
        before = now
        yield held


@dataclass
class _Found:
    """What is known of all points so far, filled in as windows are done."""

    xy: Float[Tensor, "n t 2"]
    occlusion: Float[Tensor, "n t"]
    expected_dist: Float[Tensor, "n t"]

    def write(self, points: Tensor, begin: int, end: int, offset: int, estimate: Estimate) -> None:
        """Put frames begin..end-1 of the video from an estimate whose first frame is `offset`."""
        frames = slice(begin - offset, end - offset)
        self.xy[points, begin:end] = estimate.tracks[0, :, frames].float().cpu()
        self.occlusion[points, begin:end] = estimate.occlusion[0, :, frames].float().cpu()
        self.expected_dist[points, begin:end] = estimate.expected_dist[0, :, frames].float().cpu()

    def places(self, points: Tensor, begin: int, end: int) -> Float[Tensor, "m t 2"]:
        """Places in frames begin..end-1 where the point was visible, NaN elsewhere."""
        visible = self.estimate.confidence[points, begin:end] > 0.5
        return torch.where(visible[..., None], self.xy[points, begin:end], torch.nan)

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.xy, self.occlusion, self.expected_dist)


def track_in_windows(
    model: Tapir,
    features_of: FeaturesOf,
    queries: Float[Tensor, "n 3"],
    points: QueryFeatures,
    windows: list[Window],
    *,
    query_chunk: int | None,
    frame_chunk: int | None,
    done: Callable[[int], None],
) -> Estimate:
    """Tracks through all windows, on the CPU, shapes [n, t, ...].

    `points` are the features of `queries`; `done` is told the number of frames that are finished with.
    """
    frames = windows[-1].end
    found = _Found(*(torch.zeros(len(queries), frames, *more) for more in ((2,), (), ())))
    asked = queries[:, 0].round().long()
    held = torch.full((len(queries), frames, 2), torch.nan)
    held[torch.arange(len(queries)), asked] = queries[:, 1:].float()
    device = points.initial.device
    home = torch.tensor([next(i for i, w in enumerate(windows) if w.begin <= t < w.end) for t in asked.tolist()])

    def run(features: Features, some: Tensor, window: Window, state: State | None = None):
        known = held[some, window.begin : window.end][None].to(device)
        return model.trajectories(
            features,
            points.select(some.to(device)),
            known,
            query_chunk=query_chunk,
            frame_chunk=frame_chunk,
            state=state,
            keep_state=model.config.causal,
        )

    state = None
    everyone = torch.arange(len(queries))
    for i, (window, features) in enumerate(zip(windows, features_in_order(features_of, windows), strict=True)):
        some = everyone if model.config.causal else everyone[home <= i]
        if len(some):
            out = run(features, some, window, state)
            state = out.state
            begins = torch.where(home[some] == i, window.begin, window.cut)
            for begin in begins.unique().tolist():
                here = begins == begin
                part = Estimate(out.tracks[:, here], out.occlusion[:, here], out.expected_dist[:, here])
                found.write(some[here], begin, window.end, window.begin, part)
            if i + 1 < len(windows) and not model.config.causal:
                _hold(held, found, some, windows[i + 1].begin, window.end)
        done(window.end)
    if model.config.causal or not (home > 0).any():
        return found.estimate

    backward = windows[: int(home.max()) + 1][::-1]
    for window, features in zip(backward[1:], features_in_order(features_of, backward[1:]), strict=True):
        i = windows.index(window)
        some = everyone[home > i]
        _hold(held, found, some, windows[i + 1].begin, window.end)
        out = run(features, some, window)
        found.write(some, window.begin, windows[i + 1].cut, window.begin, out)
    return found.estimate


def _hold(held: Tensor, found: _Found, points: Tensor, begin: int, end: int) -> None:
    """Let what was found in frames begin..end-1 stand in for matching there; a query's own place stays."""
    before = held[points, begin:end]
    held[points, begin:end] = torch.where(before.isnan(), found.places(points, begin, end), before)
