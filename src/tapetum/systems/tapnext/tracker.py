"""The tracker of TAPNext: videos and points in, tracks out; or frames as they come.

`TapNextTracker` resizes frames to the network's training size and positions back, processes the video in chunks with constant
memory, and finds frames before a query by another pass over the reversed video (TAPNext sees no future). All points of a call
are tracked jointly, as published: each slightly changes the tracks of the others.

Differs from the public demos: frames are resized bilinearly, where these use a Lanczos filter; in its query's frame a point is
at the query, where these return a prediction; points may join a stream.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tapetum.core.devices import full_precision, send_to_device
from tapetum.core.errors import BadInput
from tapetum.hub.registry import resolve
from tapetum.layers.cpu import speed_up
from tapetum.layers.sampling import resize_frames, scale_xy
from tapetum.systems.tapnext import weights
from tapetum.systems.tapnext.config import ARCHITECTURES
from tapetum.systems.tapnext.model import TapNext, TapNextPredictions, TapNextState, add_points, keep_points
from tapetum.tracks.tracker import FrameTracks, Progress, check_frame, check_queries, check_stream, chosen_points, is_flat
from tapetum.types import Tracks
from tapetum.types.checks import unmasked
from tapetum.video import Video, open_video

_TOKENS = 8192
"""Tokens of patches that pass through the network at a time: 8 frames of 256x256 pixels."""


@dataclass(frozen=True)
class TapNextStream:
    """Points on their way through a live video; never changed in place. See `TapNextTracker.start`."""

    size: tuple[int, int]
    state: TapNextState
    queries: Float[np.ndarray, "n 3"]
    """(t, x, y) of each point; t counts the frames of this stream."""
    ids: tuple[int, ...]
    """Of each point: 0, 1, ... in the order in which points were asked for; `keep` gives none of them to another point."""
    next_id: int
    weights: float = 0.0
    """Checksum of the network's weights: the state is of no use to another network."""

    def __len__(self) -> int:
        return len(self.ids)


class TapNextTracker:
    """Tracks any point through any video with a `TapNext` network, available as `model`."""

    def __init__(self, model: TapNext):
        self.model = speed_up(model.eval())  # computes as before where something is to be learned
        self.error_model: Any = None
        """Predicts how far whole tracks are off (`tap.tracking.error_model`); None where there is none for this network."""
        self._checksum: tuple[Any, float] | None = None
        """Of the weights, and of which."""

    @property
    def device(self) -> torch.device:
        """Get the device of the network, to which frames are moved."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "TapNextTracker":
        self.model.to(device=device, dtype=dtype)
        return self

    def compile(self, **options: Any) -> "TapNextTracker":
        """Compile the blocks of the network with `torch.compile(**options)`; returns this tracker."""
        for block in self.model.blocks:
            block.compile(**options)
        return self

    @full_precision()
    @torch.inference_mode()
    def track(
        self,
        video: Any,
        queries: Float[np.ndarray, "n 3"] | Sequence[Sequence[float]],
        *,
        frame_chunk: int | None = None,
        progress: Progress = None,
    ) -> Tracks:
        """Track points jointly through anything that `tapetum.video.open_video` takes.

        `queries` are (t, x, y) of each point: frame number (rounded) and raster pixels. `frame_chunk` frames pass through the
        network at a time, which changes nothing; None bounds its memory. `progress` is called with the number of frames seen
        and of all frames. Raises BadInput if the video cannot be read, or a query lies outside of it or is not a number.
        """
        video = open_video(video)
        given = check_queries(queries, len(video), (video.height, video.width))
        times, last = given[:, 0].round(), len(video) - 1
        passes = 1 + bool(times.any())
        (h, w), (patch_h, patch_w) = self.model.config.video_size, self.model.config.patch_size
        chunk = frame_chunk or max(1, _TOKENS * patch_h * patch_w // (h * w))

        def report(done: int) -> None:
            if progress is not None:
                progress(done // passes, len(video))

        rounded = torch.cat([times[:, None], given[:, 1:]], 1)
        xy, confidence = self._pass(video, rounded, chunk, False, report)
        before = torch.arange(len(video)) < times[:, None]  # (n, t)
        if passes == 2:
            turned = torch.cat([last - times[:, None], given[:, 1:]], 1)
            back_xy, back_confidence = self._pass(video, turned, chunk, True, lambda done: report(len(video) + done))
            xy = torch.where(before[..., None], back_xy, xy)
            confidence = torch.where(before, back_confidence, confidence)
        rows = torch.arange(len(given))
        xy[rows, times.long()], confidence[rows, times.long()] = given[:, 1:], 1.0
        model, visible = self.error_model, (confidence > 0.5).numpy()
        tracks = Tracks(xy.numpy(), visible, confidence.numpy(), given.numpy())
        return model.complete(tracks, (video.height, video.width)) if model is not None and model.few else tracks

    @full_precision()
    @torch.inference_mode()
    def start(
        self, frame: UInt8[np.ndarray, "h w 3"], points: Float[np.ndarray, "n 2"] | Sequence[Sequence[float]]
    ) -> TapNextStream:
        """Start to track points, (x, y) in raster pixels of `frame`, through frames one by one, as `OnlineTracker.start` of
        TAPIR. Raises BadInput for points outside of the frame."""
        frame = check_frame(frame)
        size = (frame.shape[0], frame.shape[1])
        queries = _queries_at(0, points, size)
        state = self.model.start(self._in_network(torch.from_numpy(queries), size), self.model.config.video_size, spare=True)
        return TapNextStream(size, state, queries, tuple(range(len(queries))), len(queries), self._weights())

    @full_precision()
    @torch.inference_mode()
    def step(self, stream: TapNextStream, frame: UInt8[np.ndarray, "h w 3"]) -> tuple[TapNextStream, FrameTracks]:
        """Track the stream's points into one more frame, with the result of `track` on the whole clip: the updated stream and
        the points; all hidden, with confidence 0, in a frame of a single colour. Raises BadInput for a frame of another size,
        and for the stream of another tracker."""
        self._check_weights(stream)
        frame = check_frame(frame, stream.size)
        now = stream.queries[:, 0] == stream.state.step
        state, predictions = self.model.step(stream.state, self._frames(frame[None]))
        xy, confidence = (part[:, 0].numpy() for part in self._on_video(predictions, stream.size))
        xy[now], confidence[now] = stream.queries[now, 1:], 1.0
        if is_flat(frame):
            confidence = np.zeros_like(confidence)
        return replace(stream, state=state), FrameTracks(xy, confidence > 0.5, confidence, np.array(stream.ids, np.int64))

    @full_precision()
    @torch.inference_mode()
    def add(self, stream: TapNextStream, frame: UInt8[np.ndarray, "h w 3"], points: Any) -> TapNextStream:
        """Add points, (x, y) in raster pixels of `frame`, after those of the stream, before the `step` with that frame. Raises
        BadInput for points outside of the frame, and for the stream of another tracker."""
        self._check_weights(stream)
        check_frame(frame, stream.size)
        new = _queries_at(stream.state.step, points, stream.size)
        state = add_points(self.model, stream.state, self._in_network(torch.from_numpy(new), stream.size)[..., 1:])
        ids = (*stream.ids, *range(stream.next_id, stream.next_id + len(new)))
        queries = np.concatenate([stream.queries, new])
        return replace(stream, state=state, queries=queries, ids=ids, next_id=stream.next_id + len(new))

    @full_precision()
    @torch.inference_mode()
    def keep(self, stream: TapNextStream, index: Sequence[int] | np.ndarray) -> TapNextStream:
        """Select points of the stream by position in it (not by id), in that order, or by a boolean mask; they keep their ids.
        Raises BadInput for a mask of the wrong length."""
        places = chosen_points(index, len(stream))
        state = keep_points(stream.state, send_to_device(torch.from_numpy(places), self.device))
        return replace(stream, state=state, queries=stream.queries[places], ids=tuple(stream.ids[k] for k in places.tolist()))

    def _weights(self) -> float:
        """A checksum of the weights, computed anew only where they were changed: the host waits for the device for it."""
        token = self.model.mask_token
        version = id(token), token.device, token.dtype, token._version
        if self._checksum is None or self._checksum[0] != version:
            self._checksum = version, float(token.double().sum())
        return self._checksum[1]

    def _check_weights(self, stream: TapNextStream) -> None:
        check_stream(stream, TapNextStream, self._weights())

    def _pass(
        self, video: Video, queries: Float[Tensor, "n 3"], chunk: int, reverse: bool, report: Callable[[int], None]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Places and confidence by one pass, forward or from the last frame to the first; frames stay in the video's order."""
        size, count = (video.height, video.width), len(video)
        state = self.model.start(self._in_network(queries, size), self.model.config.video_size)
        xy, confidence = torch.empty(len(queries), count, 2), torch.empty(len(queries), count)
        for begin in range(0, count, chunk):
            numbers = slice(begin, min(begin + chunk, count))
            frames = (
                video[count - numbers.stop : count - numbers.start][::-1] if reverse else video[numbers.start : numbers.stop]
            )
            state, predictions = self.model.step(state, self._frames(frames.copy()))
            xy[:, numbers], confidence[:, numbers] = self._on_video(predictions, size)
            report(numbers.stop)
        return (xy.flip(1), confidence.flip(1)) if reverse else (xy, confidence)

    def _frames(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "1 t h w 3"]:
        images = send_to_device(torch.from_numpy(frames), self.device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return resize_frames(images, self.model.config.video_size, antialias=True).permute(0, 2, 3, 1)[None]

    def _in_network(self, queries: Float[Tensor, "n 3"], size: tuple[int, int]) -> Float[Tensor, "1 n 3"]:
        xy = scale_xy(queries[:, 1:], size, self.model.config.video_size)
        return torch.cat([queries[:, :1], xy], 1)[None]

    def _on_video(
        self, predictions: TapNextPredictions, size: tuple[int, int]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Places in pixels of the video, and how sure it is that each point is visible, on the CPU."""
        xy = scale_xy(predictions.xy[0].float(), self.model.config.video_size, size)
        joint = torch.cat([xy, predictions.visible_logits[0].sigmoid()[..., None].float()], -1).cpu()  # in one transfer
        return joint[..., :2].contiguous(), joint[..., 2].contiguous()


def _queries_at(time: int, points: Any, size: tuple[int, int]) -> Float[np.ndarray, "n 3"]:
    """Checked queries on one frame of a stream; there may be none."""
    places = np.asarray(unmasked(points, "points"), dtype=np.float32)
    if places.size == 0:
        return np.zeros((0, 3), np.float32)
    if places.ndim != 2 or places.shape[1] != 2:
        raise BadInput(f"points have shape {places.shape}; give (n, 2): x and y of each on this frame")
    queries = check_queries(np.concatenate([np.zeros_like(places[:, :1]), places], 1), 1, size).numpy()
    return np.concatenate([np.full_like(queries[:, :1], time), queries[:, 1:]], 1)


def load(
    name_or_path: str | PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> TapNextTracker:
    """Load a tracker with weights, by a known name (`tapetum weights list`) or from a file, see `weights.load`; `dtype`, by
    default float32, is also that of most computation.

    Raises BadInput: the name is unknown, the file is not there, or it does not hold such a network.
    """
    path, known = resolve(name_or_path, "track")
    network = weights.load(path)
    if known is not None:
        network.config = replace(network.config, video_size=ARCHITECTURES[known.architecture].video_size)
    return TapNextTracker(network).to(device, dtype)
