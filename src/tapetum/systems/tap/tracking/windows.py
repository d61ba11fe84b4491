"""Tracking of long videos in windows, so that memory does not grow with their length, and the choice of window lengths.

TAPIR matches a point in each frame separately, by the features of its query, which are reused in every window: appearance does
not drift. Neighbouring windows overlap, to give the refinement a past and a future:

    frames    0 . . . . . . . . . . . . . . . . . . T
    window 0  [- - - - - - -|- -]
    window 1            [- -|- - - - - -|- -]              | cut: the middle of an overlap. Each frame's answer comes from the
    window 2                        [- -|- - - - - - -]      window in which it is farther from the edge.

A causal network needs no overlap: its mixer's state is carried over, and the result is exactly that of one pass.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.stages import stage
from tapetum.layers.sampling import constant
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.model import Tapir, places_of
from tapetum.systems.tap.second_pass import average_visible_features
from tapetum.systems.tap.tracking.clicks import share_features, share_places
from tapetum.systems.tap.tracking.cues import TrackCues, network_cues
from tapetum.systems.tap.types import FeatureGrids, QueryFeatures, Size, State

MATCHED_AT_A_TIME = 8
FeaturesOf = Callable[[int, int], FeatureGrids]


@dataclass(frozen=True)
class Window:
    """Frames begin..end-1, of which begin..cut-1 are shared with the window before and better seen there."""

    begin: int
    end: int
    cut: int


def plan(frames: int, window: int, overlap: int) -> list[Window]:
    """Plan windows of `window` frames that share at least `overlap`; the last one is moved back to end with the video, or is
    shorter without overlap, since a causal network must not see a frame twice."""
    if overlap == 0:
        return [Window(begin, min(begin + window, frames), begin) for begin in range(0, frames, window)]
    begins = [0]
    while begins[-1] + window < frames:
        begins.append(min(begins[-1] + window - overlap, frames - window))
    ends = [min(begin + window, frames) for begin in begins]
    cuts = [0, *((begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False))]
    return [Window(*bounds) for bounds in zip(begins, ends, cuts, strict=True)]


class Reel:
    """Features of a moving section of a video, in one reused buffer."""

    def __init__(self, features_of: FeaturesOf, chunk: int, capacity: int, half: bool = False):
        """Call `features_of` with `chunk` frames at a time; a section has at most `capacity` frames, in float16 with `half`
        above FEATURE_BYTES."""
        self._features_of, self.chunk, self._capacity, self._half = features_of, chunk, capacity, half
        self._buffer: FeatureGrids | None = None
        self._begin = self.end = 0

    def show(self, begin: int, end: int) -> FeatureGrids:
        """Compute features of frames begin..end-1, where begin never decreases. They are valid until the next call."""
        reused = max(0, self.end - begin)
        if self._buffer is not None and reused and begin > self._begin:
            for maps in self._buffer.maps:
                for place in range(reused):
                    maps[:, place] = maps[:, begin - self._begin + place]
        for first in range(begin + reused, end, self.chunk):
            last = min(first + self.chunk, end)
            part = self._features_of(first, last)
            if self._buffer is None:
                size = sum(maps[:, 0].nbytes for maps in part.maps) * self._capacity
                self._buffer = part.blank(self._capacity, self._half and size > FEATURE_BYTES)
            for maps, new in zip(self._buffer.maps, part.maps, strict=True):
                maps[:, first - begin : last - begin] = new
        assert self._buffer is not None
        self._begin, self.end = begin, end
        return self._buffer.frames(0, end - begin)


_STEP = 12
_SHARE = 0.2
"""Maximum share of the time spent on parts."""


@dataclass(kw_only=True)
class Parts:
    """Tracks of the beginning of a window while the features of its other frames are being computed."""

    model: Tapir
    queries: Float[Tensor, "n 3"]
    numbers: Int[Tensor, " n"] | None
    frames: int
    tell: Callable[[Float[Tensor, "n t 2"], Float[Tensor, "n t"]], None]
    """Hears positions and confidences in all frames, NaN where none are known yet."""

    def __post_init__(self) -> None:
        self._next = 0.0
        self.xy = torch.full((len(self.queries), self.frames, 2), torch.nan)
        self.confidence = torch.full((len(self.queries), self.frames), torch.nan)

    def track(self, reel: Reel, points: QueryFeatures, window: Window, state: State | None = None) -> None:
        """Track through more and more of a window, in one pass each, as long as that takes little of the time."""
        batch, step = self.queries[None].to(points.initial.device), -(-_STEP // reel.chunk) * reel.chunk
        for end in range(max(window.begin, reel.end) + step, window.end, step):
            features, begun = reel.show(window.begin, end), time.monotonic()
            if begun < self._next:
                continue
            known = places_of(batch, end - window.begin, window.begin)
            known = known if self.numbers is None else share_places(known, self.numbers)
            out = self.model.trajectories(features, points, known, state=state, query_chunk=64, frame_chunk=MATCHED_AT_A_TIME)
            new = slice(window.cut - window.begin, None)
            self.put(slice(window.cut, end), out.tracks[0, :, new].float().cpu(), out.confidence[0, :, new].cpu())
            self._next = time.monotonic() + (time.monotonic() - begun) / _SHARE

    def put(self, frames: slice, xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"]) -> None:
        """Take over what is known of some frames."""
        self.xy[:, frames], self.confidence[:, frames] = xy, confidence
        self.tell(self.xy, self.confidence)


def track_in_windows(
    model: Tapir,
    reel: Reel,
    points: QueryFeatures,
    queries: Float[Tensor, "n 3"],
    windows: list[Window],
    numbers: Int[Tensor, " n"] | None,
    query_chunk: int | None,
    second_pass: bool,
    parts: Parts | None = None,
    cues: TrackCues | None = None,
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Track points window by window: positions and confidences in all frames, on the CPU.

    `points` are the features of `queries`, (t, x, y) in raster pixels of the video; a t below 0 is in no frame of it. With
    `numbers`, queries of one number are clicks of one point. With `second_pass`, each window is tracked twice. Cues are
    collected in `cues`.
    """
    frames = windows[-1].end
    # Filled, so that the system gives their memory now or never: all that grows with the length of the video.
    xy, confidence = torch.full((len(queries), frames, 2), torch.nan), torch.full((len(queries), frames), torch.nan)
    query_batch = queries[None].to(points.initial.device)
    state: State | None = None
    for window in windows:
        if parts is not None:
            parts.track(reel, points, window, state)
        features = reel.show(window.begin, window.end)
        known = places_of(query_batch, window.end - window.begin, window.begin)
        if numbers is not None:
            known = share_places(known, numbers)
        chunks = {"query_chunk": query_chunk, "frame_chunk": MATCHED_AT_A_TIME, "peaks": cues is not None}
        with stage("refine"):
            first = out = model.trajectories(features, points, known, state=state, keep_state=model.config.causal, **chunks)
            if second_pass:
                query_frame = query_batch[..., 0].round() - window.begin
                sought = average_visible_features(model, features, points, out, query_frame, query_chunk)
                sought = sought if numbers is None else share_features(sought, numbers)
                out = model.trajectories(features, sought, known, **chunks)
            if cues is not None:
                local = query_batch - constant([window.begin, 0, 0], query_batch)
                measured = network_cues(model, features, (first, out), local, cues.pixel)
                cues.network[:, window.cut : window.end] = measured[:, window.cut - window.begin :].half().cpu()
        state = out.state
        here, new = slice(window.cut, window.end), slice(window.cut - window.begin, None)
        xy[:, here] = out.tracks[0, :, new].float().cpu()
        confidence[:, here] = out.confidence[0, :, new].cpu()
        if parts is not None:
            parts.put(here, xy[:, here], confidence[:, here])
    return xy, confidence


FEATURE_BYTES = 1 << 30
"""Features of at most this size are held at a time, if no window is asked for; more are stored in float16 where allowed."""
ACTIVATION_BYTES = 1 << 24
"""Most that the frames, or the largest activation, of the image network may take in float32, if nothing else is asked for."""
LEAST_WINDOW = 48
"""Frames; a window is not made shorter than this to save memory."""
MOST_OVERLAP = 24
"""Frames that two windows share, if nothing else is asked for."""


def plan_windows(
    config: TapirConfig, resolutions: tuple[Size, ...], frames: int, half: bool, window: int | None, overlap: int | None
) -> list[Window]:
    """Plan the requested windows, or as long ones as memory allows; a causal network needs no overlap. Raises BadInput for
    windows that have no frame of their own, or share none where they must."""
    window = window or affordable(config, resolutions, frames, half)
    if overlap is None:
        overlap = min(MOST_OVERLAP, window // 3)
    if window < 1 or not 0 <= overlap < window or (overlap == 0 and not config.causal and window < frames):
        raise BadInput(f"windows of {window} frames that share {overlap}: give a window above an overlap above 0")
    return plan(frames, window, 0 if config.causal else overlap)


def affordable(config: TapirConfig, resolutions: tuple[Size, ...], frames: int, half: bool) -> int:
    """Count the frames whose features fit in FEATURE_BYTES: in float32 if all `frames` do, else in float16 if `half`."""
    cells = sum(height * width for height, width in {config.initial_resolution, *resolutions})
    each = cells * (4 * config.hires_dim + 2 * config.lowres_dim) // 16
    fit = FEATURE_BYTES // each
    return max(LEAST_WINDOW, 2 * fit if half and frames > fit else fit)


def frames_at_a_time(config: TapirConfig, resolutions: tuple[Size, ...], size: Size) -> int:
    """Count the frames that fit in ACTIVATION_BYTES, as float32, before they are resized and after the stem (stride 2)."""
    pixels = max(height * width for height, width in {config.initial_resolution, *resolutions})
    return max(1, ACTIVATION_BYTES // max(pixels * config.stem_channels, 12 * size[0] * size[1]))
