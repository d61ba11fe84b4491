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

from tapetum.tap.model import Tapir, places_of
from tapetum.tap.types import Estimate, Features, QueryFeatures, State, Trajectories

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

    Without overlap the last one is short instead, since a causal network must see no frame twice.

    >>> plan(10, 6, 2)
    [Window(begin=0, end=6, cut=0), Window(begin=4, end=10, cut=5)]
    >>> plan(10, 6, 0)
    [Window(begin=0, end=6, cut=0), Window(begin=6, end=10, cut=6)]
    """
    if overlap == 0:
        return [Window(begin, min(begin + window, frames), begin) for begin in range(0, frames, window)]
    begins = [0]
    while begins[-1] + window < frames:
        begins.append(min(begins[-1] + window - overlap, frames - window))
    ends = [min(begin + window, frames) for begin in begins]
    cuts = [0, *((begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False))]
    return [Window(*bounds) for bounds in zip(begins, ends, cuts, strict=True)]


def features_in_order(features_of: FeaturesOf, windows: list[Window]) -> Iterator[Features]:
    """Features of windows that rise or fall; what two neighbours share is computed once."""
    held, before = None, windows[0]
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


@dataclass(frozen=True)
class Found:
    """What is known of n points in all frames of a video, on the CPU; filled in while windows are done."""

    xy: Float[Tensor, "n t 2"]
    confidence: Float[Tensor, "n t"]

    def write(self, points: Tensor, window: Window, begin: int, end: int, estimate: Estimate) -> None:
        """Take frames begin..end-1 of the video from an estimate over `window`."""
        frames = slice(begin - window.begin, end - window.begin)
        self.xy[points, begin:end] = estimate.tracks[0, :, frames].float().cpu()
        self.confidence[points, begin:end] = estimate.confidence[0, :, frames].cpu()


@dataclass(frozen=True)
class Sweep:
    """Everything that stays the same from window to window."""

    model: Tapir
    points: QueryFeatures
    """Features of the queries, batch of one."""
    queries: Float[Tensor, "n 3"]
    """(t, x, y) in raster pixels of the video, on the CPU."""
    query_chunk: int | None
    frame_chunk: int | None

    def run(self, features_of: FeaturesOf, windows: list[Window], done: Callable[[int], None]) -> Found:
        """Tracks through all windows; `done` is told how many frames have been seen."""
        count, frames = len(self.queries), windows[-1].end
        found = Found(torch.zeros(count, frames, 2), torch.zeros(count, frames))
        known = places_of(self.queries[None], frames)[0]
        if self.model.config.causal:
            self._causal(features_of, windows, found, known, done)
        else:
            asked = self.queries[:, 0].round().tolist()
            home = torch.tensor([next(i for i, w in enumerate(windows) if w.begin <= t < w.end) for t in asked])
            self._forward(features_of, windows, home, found, known, done)
            self._backward(features_of, windows, home, found, known)
        return found

    def _causal(
        self, features_of: FeaturesOf, windows: list[Window], found: Found, known: Tensor, done: Callable[[int], None]
    ) -> None:
        state, everyone = None, torch.arange(len(self.queries))
        for window, features in zip(windows, features_in_order(features_of, windows), strict=True):
            out = self._trajectories(features, everyone, known[:, window.begin : window.end], state)
            state = out.state
            found.write(everyone, window, window.begin, window.end, out)
            done(window.end)

    def _forward(
        self,
        features_of: FeaturesOf,
        windows: list[Window],
        home: Tensor,
        found: Found,
        known: Tensor,
        done: Callable[[int], None],
    ) -> None:
        """From the window of each query to the end of the video."""
        for i, (window, features) in enumerate(zip(windows, features_in_order(features_of, windows), strict=True)):
            some = torch.nonzero(home <= i)[:, 0]
            if len(some):
                if i:
                    _hold(known, found, some[home[some] < i], window.begin, windows[i - 1].end)
                out = self._trajectories(features, some, known[some, window.begin : window.end])
                for begin, here in ((window.begin, home[some] == i), (window.cut, home[some] < i)):
                    part = Estimate(out.tracks[:, here], out.occlusion[:, here], out.expected_dist[:, here])
                    found.write(some[here], window, begin, window.end, part)
            done(window.end)

    def _backward(self, features_of: FeaturesOf, windows: list[Window], home: Tensor, found: Found, known: Tensor) -> None:
        """From the window of each query to the begin of the video; frames are read again."""
        order = windows[: int(home.max())][::-1]
        if not order:
            return
        for window, features in zip(order, features_in_order(features_of, order), strict=True):
            i = windows.index(window)
            some = torch.nonzero(home > i)[:, 0]
            _hold(known, found, some, windows[i + 1].begin, window.end)
            out = self._trajectories(features, some, known[some, window.begin : window.end])
            found.write(some, window, window.begin, windows[i + 1].cut, out)

    def _trajectories(self, features: Features, some: Tensor, known: Tensor, state: State | None = None) -> Trajectories:
        device = self.points.initial.device
        return self.model.trajectories(
            features,
            self.points.select(some.to(device)),
            known[None].to(device),
            query_chunk=self.query_chunk,
            frame_chunk=self.frame_chunk,
            state=state,
            keep_state=self.model.config.causal,
        )


def _hold(known: Tensor, found: Found, points: Tensor, begin: int, end: int) -> None:
    """Let what was found in frames begin..end-1 stand in for matching where it was visible; a query's place stays."""
    before = known[points, begin:end]
    visible = found.confidence[points, begin:end, None] > 0.5
    known[points, begin:end] = torch.where(before.isnan() & visible, found.xy[points, begin:end], before)
