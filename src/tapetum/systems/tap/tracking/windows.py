"""A long video in windows, so that memory does not grow with its length.

TAPIR seeks a point in every frame on its own, with the features of its query; only the refinement looks at neighbouring frames.
So the features of a query, taken once from its own frame, are carried to every window of the video, before and after it, and
appearance does not drift. Neighbouring windows overlap, to give the refinement a past and a future:

    frames    0 . . . . . . . . . . . . . . . . . . T
    window 0  [- - - - - - -|- -]
    window 1            [- -|- - - - - -|- -]              | cut: the middle of an overlap. Each frame's answer comes from the
    window 2                        [- -|- - - - - - -]      window in which it is farther from the edge.

Each window is looked at on its own, once or, with a second look, twice (`tapetum.systems.tap.network.second_look`).

A causal network needs no overlap: the state of its mixer is carried, and the result is exactly that of one pass.

What did not help: letting the places found in an overlap stand in for matching in the next window, as a query's own place does
in its frame. On synthetic clips of 96 frames that scored a little worse, while plain windows of 48 frames that share 16 scored
the same as one pass over the clip.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.systems.tap.network.model import Tapir, places_of
from tapetum.systems.tap.network.second_look import seen_features
from tapetum.systems.tap.network.types import FeatureGrids, QueryFeatures, State
from tapetum.systems.tap.tracking.clicks import share_looks, share_places

FeaturesOf = Callable[[int, int], FeatureGrids]
"""Computes the features of frames begin..end-1 of a video."""


@dataclass(frozen=True)
class Window:
    """Frames begin..end-1, of which begin..cut-1 are shared with the window before and better seen there."""

    begin: int
    end: int
    cut: int


def plan(frames: int, window: int, overlap: int) -> list[Window]:
    """Plan windows of `window` frames that share at least `overlap`; the last one is moved back to end with the video.

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


class Reel:
    """Features of a stretch of a video that moves on, in one piece of memory that is used again and again."""

    def __init__(self, features_of: FeaturesOf, chunk: int, room: int, half: bool = False):
        """`features_of` is asked for `chunk` frames at a time; a stretch is at most `room` frames long.

        `half` keeps float32 features in float16.
        """
        self._features_of, self._chunk, self._room, self._half = features_of, chunk, room, half
        self._held: FeatureGrids | None = None
        self._begin = self._end = 0

    def show(self, begin: int, end: int) -> FeatureGrids:
        """Return features of frames begin..end-1, where begin never falls. They last until the next call."""
        kept = max(0, self._end - begin)
        if self._held is not None and kept and begin > self._begin:
            for maps in self._held.maps:
                for place in range(kept):
                    maps[:, place] = maps[:, begin - self._begin + place]
        for first in range(begin + kept, end, self._chunk):
            last = min(first + self._chunk, end)
            part = self._features_of(first, last)
            if self._held is None:
                self._held = part.blank(self._room, self._half)
            for maps, new in zip(self._held.maps, part.maps, strict=True):
                maps[:, first - begin : last - begin] = new
        assert self._held is not None
        self._begin, self._end = begin, end
        return self._held.frames(0, end - begin)


def track_in_windows(
    model: Tapir,
    reel: Reel,
    points: QueryFeatures,
    queries: Float[Tensor, "n 3"],
    windows: list[Window],
    *,
    numbers: Int[Tensor, " n"] | None = None,
    query_chunk: int | None,
    frame_chunk: int | None,
    second_look: bool = False,
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Track points window by window: places and confidences in all frames, on the CPU.

    `points` are the features of `queries`, which are (t, x, y) in raster pixels of the video; a t below 0 says that no frame of
    it shows the place. With `numbers`, queries of one number are clicks of one point, and know of each other's places. With
    `second_look`, each window is looked at twice, the second time with what was seen in it.
    """
    frames = windows[-1].end
    # Filled, so that the system gives their memory now or never: all that grows with the length of the video.
    xy, confidence = torch.full((len(queries), frames, 2), torch.nan), torch.full((len(queries), frames), torch.nan)
    asked = queries[None].to(points.initial.device)
    state: State | None = None
    for window in windows:
        features = reel.show(window.begin, window.end)
        seek, known = points, places_of(asked, window.end - window.begin, window.begin)
        if numbers is not None:
            known = share_places(known, numbers)
        for again in range(1 + second_look):
            if again:
                seek = seen_features(model, features, points, out, asked[..., 0].round() - window.begin, query_chunk)
                seek = seek if numbers is None else share_looks(seek, numbers)
            out = model.trajectories(
                features,
                seek,
                known,
                query_chunk=query_chunk,
                frame_chunk=frame_chunk,
                state=state,
                keep_state=model.config.causal,
            )
        state = out.state
        here, new = slice(window.cut, window.end), slice(window.cut - window.begin, None)
        xy[:, here] = out.tracks[0, :, new].float().cpu()
        confidence[:, here] = out.confidence[0, :, new].cpu()
    return xy, confidence
