"""Tracking through one whole video: what `TapirTracker.track` does after checking its arguments.

    clicks' own frames -----> query features of each click -+    (from a reference, if there is one)
    frames, window by window -> grids of their features ----+--> positions, confidences --> polished --> clicks joined

A reference, another image or clip that shows the points, is padded to the video's aspect ratio, so that nothing is stretched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.clicks import blend, first_of_each, nearest, share_features
from tapetum.systems.tap.tracking.cues import TrackCues
from tapetum.systems.tap.tracking.polish import polished
from tapetum.systems.tap.tracking.windows import FeaturesOf, Parts, Reel, Window, track_in_windows
from tapetum.systems.tap.types import FeatureGrids, QueryFeatures, Size
from tapetum.types import Tracks
from tapetum.video import Video, open_video

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.error_model import ErrorModel

MOST = 8.0
"""Maximum factor by which padding may enlarge a reference."""


class Reference:
    """An image or clip that shows points, of any size, for a video of (height, width) `size`."""

    def __init__(self, source: Any, size: Size):
        """Open what `open_video` takes, or one image, uint8 (h, w, 3). Raises BadInput if its shape is too different."""
        if isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[-1] == 3:
            source = source[None]
        self.video = open_video(source)
        self.size: Size = (self.video.height, self.video.width)
        self.padded = padded_size(self.size, size)

    def __len__(self) -> int:
        return len(self.video)

    def frames(self, begin: int, end: int) -> UInt8[np.ndarray, "t h w 3"]:
        """Read frames begin..end-1, extended to `padded` by repeating their edge."""
        images = self.video[begin:end]
        down, right = (padded - size for padded, size in zip(self.padded, self.size, strict=True))
        return np.pad(images, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge") if down or right else images


def padded_size(size: Size, like: Size) -> Size:
    """Compute the smallest height and width, at least `size`, with the ratio of `like`. Raises BadInput if that is over MOST
    times as large.

    >>> padded_size((100, 100), (480, 640)), padded_size((480, 640), (200, 200)), padded_size((240, 320), (480, 640))
    ((100, 133), (640, 640), (240, 320))
    """
    (height, width), (tall, wide) = size, like
    padded = max(height, round(width * tall / wide)), max(width, round(height * wide / tall))
    if padded[0] * padded[1] > MOST * height * width:
        raise BadInput(f"the reference has {width}x{height} pixels, the video {wide}x{tall}; cut it to a more similar shape")
    return padded


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
    second_pass: bool
    polish: bool
    progress: Callable[[int, int], None] | None = field(compare=False)
    partial: Callable[[np.ndarray, np.ndarray], None] | None = field(default=None, compare=False)
    kept: dict[Any, Any] | None = field(default=None, compare=False)
    sizes: tuple[Size, ...] = ()
    error_model: "ErrorModel | None" = field(default=None, compare=False)
    """Predicts how far tracks are off, if they have a second pass, are polished and begin in the video."""

    def track(self) -> Tracks:
        if self.reference is not None:
            return self._tracks_from_reference(*self._track_reference_points(self.reference))
        size = self.video.height, self.video.width
        cues = None if self.error_model is None else TrackCues(len(self.clicks), len(self.video), size)
        xy, confidence = self._track_clicks(cues)
        if self.polish:
            xy, confidence = polished(lambda a, b: self.video[a:b], self.clicks, xy, confidence, self._device, cues)
        places, sure, clicked = self._joined(xy, confidence)
        clicks = self.clicks if self.numbers is None else self.clicks[first_of_each(self.numbers)]
        predicted: dict[str, Any] = {}
        if self.error_model is not None and cues is not None:
            errors = self.error_model.predict(cues, xy.numpy(), confidence.numpy(), self.clicks.numpy())
            if self.numbers is not None:
                errors = tuple(nearest(self.clicks.numpy(), self.numbers.numpy(), each) for each in errors)
            predicted = dict(zip(("error_px", "chance_wrong"), errors, strict=True))
        return Tracks(xy=places, visible=sure > 0.5, confidence=sure, queries=clicks.numpy(), clicked=clicked, **predicted)

    def _joined(self, xy: Float[Tensor, "k t 2"], confidence: Float[Tensor, "k t"]) -> tuple[Any, Any, Any]:
        """Join the tracks of the clicks of each point: positions, confidences, which frames were clicked."""
        if self.numbers is None:
            return xy.numpy(), confidence.numpy(), None
        shorter = min(self.video.height, self.video.width)
        return blend(self.clicks.numpy(), self.numbers.numpy(), xy.numpy(), confidence.numpy(), shorter)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _reel(self) -> Reel:
        """Features of the video, computed on demand; `progress` is called as frames are finished."""
        frames = len(self.video)
        if self.kept is not None and (reel := self.kept.get(self._key)) is not None:
            return reel

        def features_of(begin: int, end: int) -> FeatureGrids:
            features = self.compute(self.video[begin:end])
            if self.progress:
                self.progress(end, frames)
            return features

        most = max(window.end - window.begin for window in self.windows)
        return Reel(features_of, self.frame_chunk, most, self.half)

    def _track_clicks(self, cues: TrackCues | None) -> tuple[Float[Tensor, "k t 2"], Float[Tensor, "k t"]]:
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
            if self.kept is not None:
                self.kept.clear()
                self.kept[self._key] = reel
            points = self._shared(points)
        assert points is not None
        chunk, again = self.query_chunk, self.second_pass
        return track_in_windows(self.model, reel, points, self.clicks, self.windows, self.numbers, chunk, again, parts, cues)

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
        points, chunk, again = points.select(first.to(self._device)), self.query_chunk, self.second_pass
        return track_in_windows(self.model, self._reel(), points, nowhere, self.windows, None, chunk, again)

    def _tracks_from_reference(self, xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"]) -> Tracks:
        matched, best, row = confidence, confidence.argmax(1), torch.arange(len(xy))
        queries = torch.cat([best[:, None].to(xy), xy[row, best]], 1)  # where each point is seen best
        if self.polish:
            begun = torch.where(confidence.amax(1, keepdim=True) > 0.5, queries, -1.0)
            xy, confidence = polished(lambda a, b: self.video[a:b], begun, xy, confidence, self._device)
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
