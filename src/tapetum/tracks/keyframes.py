"""A causal tracker whose network looks at every n-th frame only; between these, patches follow the points.

    frame     0 ------- 1 ------- 2 ------- 3 ------- 4 -------
    network   places                                  places        and visibility
    patches   cut ----> found --> found --> found     cut again

In a frame of the network (a keyframe) a patch (`patches`) is cut around each visible point; in the frames after it is aligned
with the frame, beginning at the place before, moved and unmoved, on a coarse image and then on a fine one. Errors do not
accumulate between keyframes, for the patch stays that of the keyframe. Where a patch is not found, the point keeps moving for a
frame and counts as hidden until it is found again. What is found but differs is aligned with the frame before; where that leads
elsewhere, the point counts as hidden in this frame. In a keyframe the polish of TAPIR, if the tracker has it, also begins where
the patch was followed to. The result depends on `every` and on the frames alone, on no clock.
"""

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.sampling import scale_xy
from tapetum.tracks.patches import Patches, PointRows, grey, map_tensors, patch_covariance, reduced
from tapetum.tracks.tracker import FrameTracks, check_frame, is_flat

COARSE = 4
"""Pixels of the fine image to one of the coarse one."""
_REACH = 4.0
"""Pixels of each image by which alignment may move a place."""

CARRIED = 0.7
"""Correlation from which on a patch of the last keyframe is found."""
_SURELY = 0.95
"""Correlation from which on a place is not checked backwards."""
_BACK = 2.0
"""Pixels of the fine image by which a place may be missed on the way back to the frame before."""
_AGREED = 2.0
"""Pixels of the fine image within which network and patch agree."""

AT_ONCE = 64
"""Lost points times frames through which a late answer is followed in the time of one frame."""

MEASURED, MOST = 8, 8
"""Frames that "auto" measures at most, beside the first two, and the most that it chooses for `every`."""


@dataclass(frozen=True)
class _Carried(PointRows):
    """Points between keyframes, in raster pixels of `grey` images; never changed in place."""

    fine: Patches
    coarse: Patches
    xy: Float[Tensor, "n 2"]
    affine: Float[Tensor, "n 2 2"]
    motion: Float[Tensor, "n 2"]
    confidence: Float[Tensor, " n"]
    """Of the network in the keyframe; where it is above 0.5 it saw the point."""
    matched: Bool[Tensor, " n"]
    """The patch was found in the last frame."""
    covariance: Float[Tensor, "n 2 2"]
    """Of the error of the place in the keyframe, in square pixels of the frame."""

    @classmethod
    def at(
        cls, image: Float[Tensor, "y x"], xy: Float[Tensor, "n 2"], confidence: Tensor, motion: Tensor, covariance: Tensor
    ) -> "_Carried":
        """Cut the patches of a keyframe."""
        upright = torch.eye(2).repeat(len(xy), 1, 1)
        fine, coarse = Patches.cut(image, xy), Patches.cut(_coarse(image), xy / COARSE)
        return cls(fine, coarse, xy, upright, motion, confidence, confidence > 0.5, covariance)

    def follow(self, image: Float[Tensor, "y x"], before: Float[Tensor, "y x"]) -> tuple["_Carried", Float[Tensor, " n"]]:
        """Advance from the frame `before` to a later one; returns the points, and the correlation of each patch (-1: not found,
        0.5 where the check backwards fails)."""
        guesses = torch.stack([self.xy + self.motion, self.xy], 1)
        rough, _, coarse = self.coarse.align(_coarse(image), guesses / COARSE, self.affine, (_REACH, _REACH))
        start = torch.where((coarse > CARRIED)[:, None], rough * COARSE, guesses[:, 0])
        xy, affine, score = self.fine.align(image, torch.stack([start, guesses[:, 0]], 1), self.affine, (_REACH, _REACH))
        matched = (self.confidence > 0.5) & (score > CARRIED)
        here = matched[:, None]
        xy = torch.where(here, xy, torch.where(self.matched[:, None], self.xy + self.motion, self.xy))
        motion = torch.where(here & self.matched[:, None], xy - self.xy, 0.0)
        affine = torch.where(here[..., None], affine, self.affine)
        doubted = torch.nonzero(matched & (score < _SURELY))[:, 0]
        if len(doubted):
            shown = self.fine.select(doubted).shown(image, xy[doubted], affine[doubted])
            back = shown.align(before, self.xy[doubted, None], self.affine[doubted], (_BACK,))[2]
            score = score.index_copy(0, doubted, torch.where(back == -1, 0.5, score[doubted]))
        return replace(self, xy=xy, affine=affine, motion=motion, matched=matched), score


def _coarse(image: Float[Tensor, "y x"]) -> Float[Tensor, "y2 x2"]:
    return F.avg_pool2d(image[None, None], COARSE, ceil_mode=True)[0, 0]


@dataclass(frozen=True)
class KeyframeStream:
    """The state of a stream; never changed in place."""

    stream: Any
    """Of the tracker itself."""
    since: int = 0
    """Frames since the last keyframe."""
    last: FrameTracks | None = None
    """Points in the frame before; None where the next frame must be a keyframe."""
    carried: _Carried | None = None
    image: Float[Tensor, "y x"] | None = None
    """The frame before, that `carried` is in; None where `carried` is."""
    pending: "_Pending | None" = None
    """The frame that the network is looking at, in real time."""
    lost: "_Lost | None" = None
    """Points of its last answer that are still to be followed from frame to frame."""

    def __len__(self) -> int:
        """Number of points."""
        return len(self.stream)

    def __getstate__(self) -> dict[str, Any]:
        """Wait for the network, whose last answer a saved stream has in its state alone."""
        return vars(self) | {"stream": _finished(self), "pending": None, "lost": None}


class KeyframeTracker:
    """Tracks points through frames that arrive one by one, with any tracker that has `start`, `step`, `add` and `keep`.

    Args:
        tracker: a causal one, such as `tapetum.load("causal-tapir-nano")`.
        every: its network looks at every n-th frame; with 1 at all of them, and nothing changes. With "auto" it looks at all
            frames of the first second, and then as often as this machine can at `frame_rate`, so that results depend on the
            machine; `choice` says which n that is.
        frame_rate: frames a second, for "auto" alone.

    Raises:
        BadInput: the tracker needs the whole video, or `every` is less than 1.
    """

    def __init__(self, tracker: Any, every: int | Literal["auto"], frame_rate: float = 30.0):
        if not hasattr(tracker, "start") or not hasattr(tracker, "step"):
            kind = type(tracker).__name__
            raise BadInput(f"{kind} needs the whole video; give a tracker for live frames, such as causal-tapir-nano")
        if every != "auto" and (not isinstance(every, int) or every < 1):
            raise BadInput(f"every is {every}; it must be auto, or 1 or more: the network looks at every n-th frame")
        self.tracker, self.every, self.frame_rate = tracker, 1 if every == "auto" else every, frame_rate
        self.model = getattr(tracker, "model", None)
        self.choice: str | None = None
        """What "auto" chose and why, in a line; None before."""
        self._measured: list[tuple[float, float]] | None = [] if every == "auto" else None

    def start(self, frame: UInt8[np.ndarray, "h w 3"], points: Any, **options: Any) -> KeyframeStream:
        """Start to track points as the tracker does; then pass every frame to `step`, this one first."""
        return KeyframeStream(self.tracker.start(frame, points, **options))

    def add(self, stream: KeyframeStream, frame: UInt8[np.ndarray, "h w 3"], points: Any) -> KeyframeStream:
        """Add further points as the tracker does; the next frame, this one, becomes a keyframe."""
        return KeyframeStream(self.tracker.add(_finished(stream), frame, points))

    def keep(self, stream: KeyframeStream, index: Sequence[int] | np.ndarray) -> KeyframeStream:
        """Select some points of the stream as the tracker does; the next frame becomes a keyframe."""
        return KeyframeStream(self.tracker.keep(_finished(stream), index))

    @torch.inference_mode()
    def step(self, stream: KeyframeStream, frame: UInt8[np.ndarray, "h w 3"]) -> tuple[KeyframeStream, FrameTracks]:
        """Track the points into one more frame, by the network in a keyframe, else by patches.

        Raises BadInput as the tracker does.
        """
        begin = time.perf_counter()
        now = self._follow(stream, frame)
        if now.score is not None and stream.since + 1 < self.every:
            tracks = now.carried_tracks()
            return replace(stream, since=stream.since + 1, last=tracks, carried=now.carried, image=now.image), tracks
        followed = time.perf_counter()
        own, tracks = self._look(stream.stream, now)
        if self._measured is not None and len(own):
            self._measure(followed - begin, time.perf_counter() - followed)
        if self._looks_always or not len(own):
            return KeyframeStream(own, 0, tracks), tracks
        return KeyframeStream(own, 0, tracks, now.cut(tracks), now.image), tracks

    @property
    def _looks_always(self) -> bool:
        return self.every == 1 and self._measured is None

    def _measure(self, patches: float, network: float) -> None:
        """Take the seconds of one frame, and choose `every` when those of a second, or of some frames, are known."""
        assert self._measured is not None
        self._measured.append((patches, network))
        known = self._measured[2:]  # the first two are slower
        if len(known) < MEASURED and (not known or np.sum(self._measured) < 1):
            return
        (patches, network), gap = np.median(known, 0), 1 / self.frame_rate
        self.every = 1 if network <= gap else min(MOST, math.ceil(network / max(gap - patches, network / MOST)))
        late = self.every * gap < self.every * patches + network and self.every > 1
        self.choice = (
            f"the network takes {1000 * network:.0f} ms here, patches {1000 * patches:.0f} ms, and frames come every "
            f"{1000 * gap:.0f} ms: every {self.every} was chosen{', which is still too slow' if late else ''}; "
            "give that number for the same result on any machine"
        )
        self._measured = None

    def _follow(self, stream: KeyframeStream, frame: np.ndarray) -> "_Now":
        """Follow the patches into a frame."""
        if not isinstance(stream, KeyframeStream):
            raise BadInput(f"this stream is a {type(stream).__name__}, of another kind of tracker; start one with this tracker")
        frame = check_frame(frame, getattr(stream.stream, "size", None))
        image = torch.zeros(0, 0) if self._looks_always else grey(frame[None])[0]
        if stream.carried is None or stream.image is None or self._looks_always:
            return _Now(frame, image, None, None, None)
        carried, score = stream.carried.follow(image, stream.image)
        return _Now(frame, image, stream.last, carried, score)

    @torch.inference_mode()
    def _look(self, own: Any, now: "_Now") -> tuple[Any, FrameTracks]:
        """Let the network look at a frame."""
        if now.carried is not None and (anchors := getattr(own, "anchors", None)) is not None:
            own = replace(own, anchors=_moved(anchors, now.carried))
        own, tracks = self.tracker.step(own, now.frame)
        return own, now.agreed(tracks)


class RealtimeTracker(KeyframeTracker):
    """A `KeyframeTracker` whose network works in a thread of its own, on the newest frame whenever it is free.

    A step takes as long as the patches take, on two cores with one thread for each (`torch.set_num_threads(1)`). What the
    network finds in one frame is carried to the frame in which that is known by what the patches moved meanwhile, so the result
    depends on how fast this machine is. The first frame, and frames with new points or fewer, wait for the network.
    """

    def __init__(self, tracker: Any):
        super().__init__(tracker, 2)
        self._worker = ThreadPoolExecutor(1, "network")

    @torch.inference_mode()
    def step(self, stream: KeyframeStream, frame: UInt8[np.ndarray, "h w 3"]) -> tuple[KeyframeStream, FrameTracks]:
        """Track the points into one more frame, by patches from the last frame that the network has finished.

        Raises BadInput as the tracker does.
        """
        now, own, pending = self._follow(stream, frame), stream.stream, stream.pending
        if now.carried is None or now.score is None:
            own, tracks = self._look(_finished(stream), now)
            return KeyframeStream(own, 0, tracks, now.cut(tracks) if len(own) else None, now.image), tracks
        lost = None if stream.lost is None else replace(stream.lost, images=(*stream.lost.images, now.image)[-MOST:])
        if pending is not None:
            pending = replace(pending, images=(*pending.images, now.image)[-MOST:])
            if pending.result.done():
                own, result = pending.result.result()
                (now, lost), pending = pending.carry(result, now), None
        if lost is not None:
            now, lost = lost.follow(now)
        if pending is None:
            pending = _Pending(self._worker.submit(self._look, own, now), now)
        tracks = now.carried_tracks()
        return KeyframeStream(own, stream.since + 1, tracks, now.carried, now.image, pending, lost), tracks


@dataclass(frozen=True)
class _Now:
    """A frame, and the patches followed into it."""

    frame: UInt8[np.ndarray, "h w 3"]
    image: Float[Tensor, "y x"]
    last: FrameTracks | None
    carried: _Carried | None
    score: Float[Tensor, " n"] | None

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the frame, and of the image that patches are cut from."""
        size = (self.frame.shape[0], self.frame.shape[1])
        return size, reduced(*size)

    def carried_tracks(self) -> FrameTracks:
        """The points by their patches alone."""
        assert self.last is not None
        assert self.carried is not None
        assert self.score is not None
        sure = self.carried.confidence
        confidence = torch.where(self.carried.matched, torch.minimum(sure, self.score.clamp(0, 1)), sure.clamp(max=0.5)).numpy()
        if is_flat(self.frame):
            confidence = np.zeros_like(confidence)
        size, small = self.sizes
        xy, covariance = scale_xy(self.carried.xy, small, size).numpy(), self.last.covariance
        if covariance is not None:  # errors of the network's place and of the alignment
            aligned = patch_covariance(self.carried.fine, self.carried.affine, self.score, size)
            covariance = (self.carried.covariance + aligned).numpy()
        known = {"xy": xy, "visible": confidence > 0.5, "confidence": confidence, "covariance": covariance}
        return replace(self.last, **known, chance_wrong=None)

    def agreed(self, tracks: FrameTracks) -> FrameTracks:
        """What the network sees; a point that it is unsure of stays visible where its patch was followed to the same place."""
        if self.last is None or self.carried is None or self.score is None or is_flat(self.frame):
            return tracks
        near = (self._small(tracks) - self.carried.xy).norm(dim=1) < _AGREED
        sure = torch.minimum(self.carried.confidence, self.score.clamp(0, 1)).numpy()
        agreed = (self.carried.matched & near).numpy()
        confidence = np.where(agreed, np.maximum(tracks.confidence, sure), tracks.confidence).astype(np.float32)
        return replace(tracks, confidence=confidence, visible=confidence > 0.5)

    def cut(self, tracks: FrameTracks, motion: Float[Tensor, "n 2"] | None = None) -> _Carried:
        """Cut patches around what the network sees; `motion` is the guess of where it will be next."""
        xy = self._small(tracks)
        if motion is None:
            motion = torch.zeros_like(xy)
            if self.carried is not None:
                motion = torch.where(self.carried.matched[:, None], self.carried.motion, 0.0)
        covariance = torch.zeros(len(xy), 2, 2) if tracks.covariance is None else torch.from_numpy(tracks.covariance)
        confidence = torch.from_numpy(np.where(tracks.visible, tracks.confidence, tracks.confidence.clip(max=0.5)))
        return _Carried.at(self.image, xy, confidence, motion, covariance)

    def _small(self, tracks: FrameTracks) -> Float[Tensor, "n 2"]:
        return scale_xy(torch.from_numpy(tracks.xy), *self.sizes)


@dataclass(frozen=True)
class _Pending:
    """A frame that the network is looking at."""

    result: "Future[tuple[Any, FrameTracks]]"
    now: _Now
    images: tuple[Float[Tensor, "y x"], ...] = ()
    """Of the frames since, at most `MOST`."""

    def carry(self, result: FrameTracks, now: _Now) -> "tuple[_Now, _Lost | None]":
        """Carry what the network sees in its frame to a later one, as far as the patches moved meanwhile; patches that are not
        found there are to be followed from frame to frame."""
        assert now.carried is not None
        assert self.now.carried is not None
        here, count = now.carried.matched[:, None], len(self.images)
        cut = self.now.cut(result, torch.where(here, now.carried.xy - self.now.carried.xy, 0.0))
        carried, score = cut.follow(now.image, self.now.image)
        carried = replace(carried, motion=carried.motion / count)
        now, rows = (
            replace(now, last=result, carried=carried, score=score),
            torch.nonzero((carried.confidence > 0.5) & ~carried.matched)[:, 0],
        )
        lost = _Lost(rows, replace(cut, motion=cut.motion / count).select(rows), self.now.image, self.images)
        return now, lost if len(rows) and count > 1 else None


@dataclass(frozen=True)
class _Lost:
    """Points of a late answer whose patches were not found in the frame in which it came."""

    rows: Int64[Tensor, " k"]
    """Which points."""
    points: _Carried
    """These in the frame of the answer."""
    image: Float[Tensor, "y x"]
    """Of the frame of the answer."""
    images: tuple[Float[Tensor, "y x"], ...]
    """Of the frames since, at most `MOST`."""

    def follow(self, now: _Now) -> "tuple[_Now, _Lost | None]":
        """Follow as many of them as `AT_ONCE` allows from frame to frame to this one; the others are left."""
        assert now.last is not None
        assert now.score is not None
        count = AT_ONCE // len(self.images)
        some, rows, score = self.points.select(slice(count)), self.rows[:count], now.score
        for before, image in pairwise((self.image, *self.images)):
            some, score = some.follow(image, before)
        carried = map_tensors(lambda every, these: every.index_copy(0, rows, these), now.carried, some)
        now = replace(now, carried=carried, score=now.score.index_copy(0, rows, score))
        rest = replace(self, rows=self.rows[count:], points=self.points.select(slice(count, None)))
        return now, rest if len(rest.rows) else None


def _finished(stream: KeyframeStream) -> Any:
    """The tracker's own state, once the network has finished."""
    return stream.stream if stream.pending is None else stream.pending.result.result()[0]


def _moved(anchors: Any, carried: _Carried) -> Any:
    """The patches of the queries, at the places to which those of the last keyframe were followed."""
    here = carried.matched.to(anchors.xy.device)[:, None]
    xy = torch.where(here, carried.xy.to(anchors.xy), anchors.xy)
    return replace(anchors, xy=xy, motion=torch.where(here, 0.0, anchors.motion), aligned=anchors.aligned | here[:, 0])
