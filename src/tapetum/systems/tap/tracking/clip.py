"""Tracking through one whole video, in windows if it is long, so that memory does not grow with its length.

TAPIR matches a point in each frame separately, by the features of its query; only the refinement uses neighbouring frames. So a
query's features, read once from its own frame, are reused in every window, and appearance does not drift. Neighbouring windows
overlap, to give the refinement a past and a future:

    frames    0 . . . . . . . . . . . . . . . . . . T
    window 0  [- - - - - - -|- -]
    window 1            [- -|- - - - - -|- -]              | cut: the middle of an overlap. Each frame's answer comes from the
    window 2                        [- -|- - - - - - -]      window in which it is farther from the edge.

A causal network needs no overlap: its mixer's state is carried over, and the result is exactly that of one pass. Replacing
matching in the next window by the positions found in the overlap scored slightly worse.

What `TapirTracker.track` does after checking its arguments:

    clicks' own frames -----> query features of each click -+    (from a reference, if there is one)
    frames, window by window -> grids of their features ----+--> positions, confidences --> polished --> clicks joined

A reference is another image or clip that shows the points. If its aspect ratio differs, it is padded at the right or lower
edge, so that nothing is stretched when both are resized for the network.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.stages import stage
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.model import Tapir, places_of
from tapetum.systems.tap.second_pass import average_visible_features
from tapetum.systems.tap.tracking.clicks import blend, first_of_each, share_features, share_places
from tapetum.systems.tap.tracking.polish import polished
from tapetum.systems.tap.types import FeatureGrids, QueryFeatures, Size, State
from tapetum.types import Tracks
from tapetum.video import Video, open_video

MATCHED_AT_A_TIME = 8
"""Frames in which a chunk of queries is matched at a time."""
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

    Without overlap the last one is shorter instead, since a causal network must not see a frame twice.

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
    """Features of a moving section of a video, in one reused buffer."""

    def __init__(self, features_of: FeaturesOf, chunk: int, capacity: int, half: bool = False):
        """`features_of` is called with `chunk` frames at a time; a section is at most `capacity` frames long.

        With `half`, float32 features of a section that take more than FEATURE_BYTES are stored in float16.
        """
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
"""Frames after which the tracks of a part are computed."""
_SHARE = 0.2
"""Of the time, that parts may take."""


@dataclass(kw_only=True)
class Parts:
    """Tracks of the beginning of a window while the features of its other frames are being computed."""

    model: Tapir
    queries: Float[Tensor, "n 3"]
    numbers: Int[Tensor, " n"] | None
    frames: int
    tell: Callable[[Float[Tensor, "n t 2"], Float[Tensor, "n t"]], None]
    """Hears positions and confidences in all frames, NaN where none are known yet."""
    _next: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Start without any."""
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
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Track points window by window: gives positions and confidences in all frames, on the CPU.

    `points` are the features of `queries`, which are (t, x, y) in raster pixels of the video; a t below 0 means that the
    position is in no frame of it. With `numbers`, queries of one number are clicks of one point, and share their positions.
    With `second_pass`, each window is tracked twice, the second time with features from the first.
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
        chunks = {"query_chunk": query_chunk, "frame_chunk": MATCHED_AT_A_TIME}
        with stage("refine"):
            out = model.trajectories(features, points, known, state=state, keep_state=model.config.causal, **chunks)
            if second_pass:
                query_frame = query_batch[..., 0].round() - window.begin
                sought = average_visible_features(model, features, points, out, query_frame, query_chunk)
                out = model.trajectories(
                    features, sought if numbers is None else share_features(sought, numbers), known, **chunks
                )
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
"""So many frames go through the image network at a time that neither they nor its largest activation, in float32, take more,
if nothing else is asked for."""
LEAST_WINDOW = 48
"""Frames; a window is not made shorter than this to save memory."""
MOST_OVERLAP = 24
"""Frames that two windows share, if nothing else is asked for."""


def plan_windows(
    config: TapirConfig, resolutions: tuple[Size, ...], frames: int, half: bool, window: int | None, overlap: int | None
) -> list[Window]:
    """Plan the requested windows, or windows as long as memory allows; a causal network needs no overlap.

    Raises BadInput for windows that have no frame of their own, or share none where they must.
    """
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


MOST = 8.0
"""How many times as large a reference may become by being made longer."""


class Reference:
    """An image or clip that shows points, of any size, for a video of (height, width) `size`."""

    def __init__(self, source: Any, size: Size):
        """`source` is what `open_video` takes, or one image, uint8 (h, w, 3).

        Raises BadInput if its shape is too different.
        """
        if isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[-1] == 3:
            source = source[None]
        self.video = open_video(source)
        self.size: Size = (self.video.height, self.video.width)
        self.padded = padded_size(self.size, size)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.video)

    def frames(self, begin: int, end: int) -> UInt8[np.ndarray, "t h w 3"]:
        """Read frames begin..end-1, extended to `padded` by repeating their edge."""
        images = self.video[begin:end]
        down, right = (padded - size for padded, size in zip(self.padded, self.size, strict=True))
        return np.pad(images, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge") if down or right else images


def padded_size(size: Size, like: Size) -> Size:
    """Compute the smallest height and width, at least `size`, whose ratio is that of `like`, up to rounding.

    Raises BadInput if that would be more than MOST times as large.

    >>> padded_size((100, 100), (480, 640)), padded_size((480, 640), (200, 200)), padded_size((240, 320), (480, 640))
    ((100, 133), (640, 640), (240, 320))
    """
    (height, width), (tall, wide) = size, like
    padded = max(height, round(width * tall / wide)), max(width, round(height * wide / tall))
    if padded[0] * padded[1] > MOST * height * width:
        raise BadInput(f"the reference has {width}x{height} pixels, the video {wide}x{tall}; cut it to a more similar shape")
    return padded


def most_confident_places(xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"]) -> Float[Tensor, "n 3"]:
    """Find (t, x, y) of each point in the frame of its highest confidence."""
    best = confidence.argmax(1)
    return torch.cat([best[:, None].to(xy), xy[torch.arange(len(xy)), best]], 1)


@dataclass(frozen=True, kw_only=True)
class VideoTracking:
    """A video, and how its points are tracked; see `TapirTracker.track` for what is not documented here."""

    model: Tapir
    compute: Callable[[np.ndarray], FeatureGrids]
    """Computes features of frames, uint8 (t, h, w, 3)."""
    video: Video
    reference: Reference | None
    clicks: Float[Tensor, "k 3"]
    """(t, x, y) in the video, or in the reference."""
    numbers: Int[Tensor, " k"] | None
    """The point that each click is of; None where each is one of its own."""
    windows: list[Window]
    frame_chunk: int
    query_chunk: int | None
    half: bool
    """Keep features in float16 where they are many."""
    second_pass: bool
    polish: bool
    progress: Callable[[int, int], None] | None = field(compare=False)
    partial: Callable[[np.ndarray, np.ndarray], None] | None = field(default=None, compare=False)
    held: dict[Any, Any] | None = field(default=None, compare=False)
    sizes: tuple[Size, ...] = ()
    """Of the features."""

    def track(self) -> Tracks:
        """Track all points through the whole video."""
        if self.reference is not None:
            return self._tracks_from_reference(*self._track_reference_points(self.reference))
        xy, confidence = self._track_clicks()
        if self.polish:
            xy, confidence = polished(self._frames, self.clicks, xy, confidence, self._device)
        places, sure, clicked = self._joined(xy, confidence)
        clicks = self.clicks if self.numbers is None else self.clicks[first_of_each(self.numbers)]
        return Tracks(xy=places, visible=sure > 0.5, confidence=sure, queries=clicks.numpy(), clicked=clicked)

    def _joined(self, xy: Float[Tensor, "k t 2"], confidence: Float[Tensor, "k t"]) -> tuple[Any, Any, Any]:
        """Join the tracks of the clicks of each point: positions, confidences, which frames were clicked."""
        if self.numbers is None:
            return xy.numpy(), confidence.numpy(), None
        shorter = min(self.video.height, self.video.width)
        return blend(self.clicks.numpy(), self.numbers.numpy(), xy.numpy(), confidence.numpy(), shorter)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _frames(self, begin: int, end: int) -> np.ndarray:
        return self.video[begin:end]

    def _reel(self) -> Reel:
        """Features of the video, computed on demand; `progress` is called as frames are finished."""
        frames = len(self.video)
        if self.held is not None and (reel := self.held.get(self._key)) is not None:
            return reel

        def features_of(begin: int, end: int) -> FeatureGrids:
            features = self.compute(self.video[begin:end])
            if self.progress:
                self.progress(end, frames)
            return features

        most = max(window.end - window.begin for window in self.windows)
        return Reel(features_of, self.frame_chunk, most, self.half)

    def _track_clicks(self) -> tuple[Float[Tensor, "k t 2"], Float[Tensor, "k t"]]:
        """Positions and confidences of each click; everything that takes much memory is freed on return."""
        reel, frames = self._reel(), len(self.video)
        parts, points = None, None
        if self.partial is not None:
            parts = Parts(model=self.model, queries=self.clicks, numbers=self.numbers, frames=frames, tell=self._tell)
        if (parts is not None and reel.end < frames) or len(self.windows) > 1:
            features_of = lambda begin, end: self.compute(self.video[begin:end])  # noqa: E731
            points = self._shared(click_features(self.model, features_of, self.clicks, frames))
        if len(self.windows) == 1:
            if parts is not None and points is not None and reel.end < frames:
                parts.track(reel, points, self.windows[0])
            points, parts = self.model.query_features(reel.show(0, frames), self.clicks[None].to(self._device)), None
            if self.held is not None:
                self.held.clear()
                self.held[self._key] = reel
            points = self._shared(points)
        assert points is not None
        return self._in_windows(reel, points, self.clicks, self.numbers, parts)

    @property
    def _key(self) -> Any:
        return self.model, self.video, self.sizes, next(self.model.parameters()).dtype

    def _shared(self, points: QueryFeatures) -> QueryFeatures:
        return points if self.numbers is None else share_features(points, self.numbers)

    def _tell(self, xy: Float[Tensor, "k t 2"], confidence: Float[Tensor, "k t"]) -> None:
        assert self.partial is not None
        places, sure, _ = self._joined(xy.clone(), confidence.clone())
        self.partial(places, sure)

    def _track_reference_points(self, reference: Reference) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Positions and confidences of each point: none is known in any frame of the video, so its clicks form one query."""
        features_of = lambda begin, end: self.compute(reference.frames(begin, end))  # noqa: E731
        points = click_features(self.model, features_of, self.clicks, len(reference))
        first = torch.arange(len(self.clicks))
        if self.numbers is not None:
            points, first = share_features(points, self.numbers), first_of_each(self.numbers)
        nowhere = torch.full((len(first), 3), -1.0)
        return self._in_windows(self._reel(), points.select(first.to(self._device)), nowhere, None)

    def _in_windows(
        self,
        reel: Reel,
        points: QueryFeatures,
        queries: Float[Tensor, "k 3"],
        numbers: Int[Tensor, " k"] | None,
        parts: Parts | None = None,
    ) -> tuple[Float[Tensor, "k t 2"], Float[Tensor, "k t"]]:
        chunk, again = self.query_chunk, self.second_pass
        return track_in_windows(self.model, reel, points, queries, self.windows, numbers, chunk, again, parts)

    def _tracks_from_reference(self, xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"]) -> Tracks:
        queries, matched = most_confident_places(xy, confidence), confidence
        if self.polish:
            begun = torch.where(confidence.amax(1, keepdim=True) > 0.5, queries, -1.0)
            xy, confidence = polished(self._frames, begun, xy, confidence, self._device)
        row, best = torch.arange(len(queries)), queries[:, 0].long()
        confidence[row, best] = matched[row, best]  # a patch correlates with itself, which says nothing of the reference
        sure = confidence.numpy()
        clicked = np.zeros(sure.shape, np.bool_)
        return Tracks(xy=xy.numpy(), visible=sure > 0.5, confidence=sure, queries=queries.numpy(), clicked=clicked)


def click_features(model: Tapir, features_of: FeaturesOf, clicks: Float[Tensor, "k 3"], frames: int) -> QueryFeatures:
    """Compute the features of all clicks (t, x, y), reading only their own frames, out of `frames`."""
    before = clicks[:, 0].floor()
    groups, order = [], []
    for begin in before.unique().int().tolist():
        chosen = torch.nonzero(before == begin)[:, 0]
        local = clicks[chosen] - torch.tensor([begin, 0, 0])
        features = features_of(begin, min(begin + 1 + int(local[:, 0].any()), frames))
        groups.append(model.query_features(features, local[None].to(next(model.parameters()).device)))
        order.append(chosen)
    points = groups[0].beside(*groups[1:])
    return points.select(torch.cat(order).argsort().to(points.initial.device))
