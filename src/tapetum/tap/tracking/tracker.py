"""The tracker that people use: videos and points in, tracks out.

`Tracker` wraps a network (`Tapir`) with everything around it: frames are read and normalised, queries checked, long videos cut
into windows (`tapetum.tap.tracking.windows`), and for causal networks frames may arrive one by one.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from tapetum.blocks.sampling import scale_xy
from tapetum.errors import BadInput
from tapetum.hub.download import record_of
from tapetum.hub.registry import resolve
from tapetum.tap import weights
from tapetum.tap.config import ARCHITECTURES, TapirConfig
from tapetum.tap.network.model import Tapir
from tapetum.tap.network.types import Features, QueryFeatures, Size, State, join_states, map_states, select_state
from tapetum.tap.tracking.clicks import as_ids, blend, first_of_each, number_points, share_looks
from tapetum.tap.tracking.corrections import gather_clicks, put_in_place
from tapetum.tap.tracking.polish import Anchors, grey, polished, prefer_polished, reduced
from tapetum.tap.tracking.reference import Reference, seen_best
from tapetum.tap.tracking.windows import FeaturesOf, Reel, plan, track_in_windows
from tapetum.types import Tracks
from tapetum.video import Video, open_video

FEATURE_BYTES = 1 << 30
"""Features of at most this size are held at a time, if no window is asked for."""
ACTIVATION_BYTES = 1 << 24
"""So many frames go through the picture network at a time that neither they nor its largest activation, in float32, take more,
if nothing else is asked for."""
MATCHED_AT_A_TIME = 8
"""Frames in which a chunk of queries is sought at a time."""
LEAST_WINDOW = 48
"""Frames; a window is not made shorter than this to save memory."""


@dataclass(frozen=True)
class Stream:
    """Points on their way through a live video; never changed in place. See `Tracker.start`."""

    size: Size
    """Height and width of the frames."""
    resolutions: tuple[Size, ...]
    points: QueryFeatures
    mixer: State | None
    """None before the first frame."""
    asked: Float[Tensor, "1 n 2"] | None = None
    """Where points are in the next frame, since it is there that they were asked for; NaN for the others."""
    anchors: Anchors | None = None
    """Their patches, if places are polished."""
    ids: tuple[int, ...] = ()
    """Of each point: 0, 1, ... in the order in which points were asked for; `keep` gives none of them to another point."""
    next_id: int = 0
    """Of the next point that is added."""

    def __len__(self) -> int:
        """Number of points."""
        return self.points.initial.shape[1]


@dataclass(frozen=True)
class Seen:
    """Where the points of a stream are in one frame."""

    xy: Float[np.ndarray, "n 2"]
    """Raster pixels of the frame."""
    visible: Bool[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    """0..1; above 0.5 a point counts as visible."""
    ids: Int64[np.ndarray, " n"]
    """Of the points: 0, 1, ... in the order in which they were asked for, the same through all frames."""


class Tracker:
    """Tracks any point through any video with a `Tapir` network, which stays reachable as `model`.

    The network is put into evaluation mode: in training it keeps every cell's logit, which is more than all features.
    """

    def __init__(self, model: Tapir):
        self.model = model.eval()

    @property
    def device(self) -> torch.device:
        """Where the network is and frames are brought to."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Tracker":
        """Move the network, as `torch.nn.Module.to`; returns this tracker."""
        self.model.to(device=device, dtype=dtype)
        return self

    def compile(self, **options: Any) -> "Tracker":
        """Compile the picture network and the mixer, which take most of the time, with `torch.compile(**options)`.

        The first clip of each size takes a minute or so; for the CPU a C++ compiler must be installed. Returns this tracker.
        """
        self.model.backbone.compile(**options)
        self.model.mixer.compile(**options)
        return self

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Take over weights under our names or the published ones; raises BadInput for any that do not fit."""
        self.model.load_state_dict(weights.to_model(self.model.config, weights.ours(state_dict)).state_dict())

    @torch.inference_mode()
    def track(
        self,
        video: Any,
        queries: Float[np.ndarray, "n 3"] | Sequence[Sequence[float]],
        *,
        ids: Sequence[Hashable] | None = None,
        reference: Any = None,
        window: int | None = None,
        overlap: int | None = None,
        query_chunk: int | None = 64,
        frame_chunk: int | None = None,
        half_features: bool = True,
        refinement_resolutions: Sequence[Size] | None = None,
        second_look: bool | None = None,
        polish: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tracks:
        """Track points through a video, before and after the frame on which each was asked for.

        Args:
            video: anything that `tapetum.video.open_video` takes.
            queries: (t, x, y) of each point: frame number (a fraction lies between two frames) and raster pixels.
            ids: of each query the point that it is a click of, if points are clicked more than once. Then a track goes exactly
                through the clicks of its point and makes use of all of them (`tap.tracking.clicks`); points come in the order
                of their first click, which is their query in the result.
            reference: another picture or clip in which the queries are, as `open_video` takes it. Then each point's query in
                the result is where the video shows it best.
            window: frames worked on at a time; None takes the whole video if its features fit in 1 GiB, else as many
                frames as do. A video within one window gives exactly what the network alone gives; so does a causal
                network in any windows.
            overlap: frames that two windows share; None takes a third of a window, at most 24.
            query_chunk: points worked on at a time.
            frame_chunk: frames that go through the picture network at a time; None takes as many as bound its memory to some
                tens of MB.
            half_features: the windows of a network that is not causal, which overlap, keep features in float16 meanwhile.
                That rounds positions by some thousandths of a pixel; False takes twice the memory, or shorter windows.
            refinement_resolutions: (height, width) of each refinement, multiples of 8; None goes up to the video's size.
            second_look: seek each point once more, with what it looks like wherever it was seen (`tap.network.second_look`),
                which takes a network that is not causal; None does what the network's config says: yes for tapir-nano.
            polish: align each point's first look with every frame (`polish`); None does what the network's config
                says, which is yes for the bundled ones and no for the published ones.
            progress: is called with the number of frames seen and the number of all frames.

        Raises:
            BadInput: the video cannot be read, a query lies outside of it or is not a number, or a point is clicked twice in
                one frame.
        """
        video = open_video(video)
        frames, size = len(video), (video.height, video.width)
        shown = None if reference is None else Reference(reference, size)
        asked = check_queries(queries, frames, size) if shown is None else check_queries(queries, len(shown), shown.size)
        numbers = None if ids is None else number_points(as_ids(ids), asked)
        resolutions = tuple(refinement_resolutions or self.model.refinements(size))
        causal = self.model.config.causal
        again = self.model.config.second_look if second_look is None else second_look
        if again and causal:
            raise BadInput(
                "a second look needs the future, and this network is causal; leave second_look out, or take tapir-nano"
            )
        half = half_features and not causal
        window = window or _affordable(self.model.config, resolutions, frames, half)
        if overlap is None:
            overlap = min(24, window // 3)
        if window < 1 or not 0 <= overlap < window or (overlap == 0 and not causal and window < frames):
            raise BadInput(f"windows of {window} frames that share {overlap}: give a window above an overlap above 0")

        def features_of(begin: int, end: int) -> Features:
            features = self._features(video[begin:end], resolutions)
            if progress:
                progress(end, frames)
            return features

        windows = plan(frames, window, 0 if causal else overlap)
        frame_chunk = frame_chunk or _frames_at_a_time(self.model.config, resolutions, size)
        reel = Reel(features_of, frame_chunk, min(window, frames), half and len(windows) > 1)
        if shown is not None:
            points = self._points(lambda begin, end: self._features(shown.frames(begin, end), resolutions), asked, len(shown))
        elif len(windows) == 1:
            points = self.model.query_features(reel.show(0, frames), asked[None].to(self.device))
        else:
            points = self._points(lambda begin, end: self._features(video[begin:end], resolutions), asked, frames)
        if numbers is not None:
            points = share_looks(points, numbers)
        if shown is not None:  # in no frame of this video is the place of a point known; its clicks are one look
            first = torch.arange(len(asked)) if numbers is None else first_of_each(numbers)
            points, asked, numbers = points.select(first.to(self.device)), torch.full((len(first), 3), -1.0), None
        xy, confidence = track_in_windows(
            self.model,
            reel,
            points,
            asked,
            windows,
            numbers=numbers,
            query_chunk=query_chunk,
            frame_chunk=MATCHED_AT_A_TIME,
            second_look=again,
        )
        del reel, points  # most of the memory
        if shown is not None:
            return self._sought(video, xy, confidence, polish)
        if self._polishes(polish):
            xy, confidence = polished(lambda begin, end: video[begin:end], asked, xy, confidence, self.device)
        places, sure, clicks, clicked = xy.numpy(), confidence.numpy(), asked.numpy(), None
        if numbers is not None:
            places, sure, clicked = blend(clicks, numbers.numpy(), places, sure, min(size))
            clicks = clicks[first_of_each(numbers).numpy()]
        return Tracks(xy=places, visible=sure > 0.5, confidence=sure, queries=clicks, clicked=clicked)

    def _sought(
        self, video: Video, xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"], polish: bool | None
    ) -> Tracks:
        """Tracks of points that a reference shows: the patch that polishes them is that of where the video shows them best."""
        asked, found = seen_best(xy, confidence), confidence
        if self._polishes(polish):
            begun = torch.where(confidence.amax(1, keepdim=True) > 0.5, asked, -1.0)
            xy, confidence = polished(lambda begin, end: video[begin:end], begun, xy, confidence, self.device)
        row, best = torch.arange(len(asked)), asked[:, 0].long()
        confidence[row, best] = found[row, best]  # a patch that is like itself says nothing of the reference
        sure = confidence.numpy()
        clicked = np.zeros(sure.shape, np.bool_)
        return Tracks(xy=xy.numpy(), visible=sure > 0.5, confidence=sure, queries=asked.numpy(), clicked=clicked)

    def correct(self, video: Any, tracks: Tracks, corrections: Sequence[Sequence[float]], **options: Any) -> Tracks:
        """Track some points anew, through places that somebody put right, and leave all others as they are, bit for bit.

        A point goes exactly through its corrections and through all that was clicked before: its query, and earlier
        corrections, which `Tracks.clicked` notes.

        Args:
            video: what the tracks come from.
            tracks: what `track` or `correct` gave.
            corrections: (number of the point, frame, x, y) each, in raster pixels.
            options: those of `track`.

        Raises:
            BadInput: as `track` does; for other points or frames than the tracks have; for two corrections of a point in one
                frame.
        """
        video = open_video(video)
        if tracks.frames != len(video):
            raise BadInput(f"the tracks have {tracks.frames} frames but the video has {len(video)}; give their own video")
        clicks = gather_clicks(tracks, corrections)
        return put_in_place(tracks, clicks, self.track(video, clicks.queries, ids=clicks.points.tolist(), **options))

    @torch.inference_mode()
    def start(
        self,
        frame: UInt8[np.ndarray, "h w 3"],
        points: Float[np.ndarray, "n 2"] | Sequence[Sequence[float]],
        *,
        reference: UInt8[np.ndarray, "h w 3"] | None = None,
        refinement_resolutions: Sequence[Size] | None = None,
        polish: bool | None = None,
    ) -> Stream:
        """Begin to follow points, (x, y) in raster pixels of `frame`, through frames that arrive one by one.

        Then give every frame to `step`, this one first:

            stream = tracker.start(frame, points)
            stream, seen = tracker.step(stream, frame)

        With a `reference`, another picture of any size, points are in that, and are sought in every frame. Nothing of this
        stream is polished then, as no frame is known to show them.

        Raises BadInput for a network that is not causal, since that needs the future, and for points outside of the frame.
        """
        if not self.model.config.causal:
            raise BadInput(
                "this network looks at past and future; frames one by one need a causal one, such as causal-tapir-nano"
            )
        frame = _check_frame(frame)
        size = (frame.shape[0], frame.shape[1])
        resolutions = tuple(refinement_resolutions or self.model.refinements(size))
        if reference is not None:
            shown = Reference(_check_frame(reference), size)
            if np.size(points) and (np.asarray(points, np.float32) > shown.size[::-1]).any():
                raise BadInput(f"a point is outside of the reference, which has {shown.size[1]}x{shown.size[0]} pixels")
            found, _ = self._points_on(shown.frames(0, 1)[0], points, resolutions)
            return _numbered(Stream(size, resolutions, found, None))
        found, asked = self._points_on(frame, points, resolutions)
        anchors = self._anchors(frame, asked) if self._polishes(polish) else None
        return _numbered(Stream(size, resolutions, found, None, asked, anchors))

    @torch.inference_mode()
    def step(self, stream: Stream, frame: UInt8[np.ndarray, "h w 3"]) -> tuple[Stream, Seen]:
        """Follow the stream's points into one more frame: the stream after it, and where its points are in that frame.

        Frame by frame gives what `track` gives for the whole clip, if the points were asked for on its first frame; those of a
        later frame have a past in `track`, and none here. Raises BadInput for a frame of another size.
        """
        frame = _check_frame(frame, stream.size)
        if not len(stream):
            return stream, Seen(np.zeros((0, 2), np.float32), np.zeros(0, bool), np.zeros(0, np.float32), np.zeros(0, np.int64))
        features = self._features(frame[None], stream.resolutions)
        known = None if stream.asked is None else stream.asked[:, :, None]
        out = self.model.trajectories(features, stream.points, known, state=stream.mixer, keep_state=True)
        xy, confidence, anchors = out.tracks[0, :, 0].float(), out.confidence[0, :, 0], stream.anchors
        if anchors is not None:
            small = reduced(*stream.size)
            anchors, places, score = anchors.follow(grey(frame[None], self.device)[0], scale_xy(xy, stream.size, small))
            xy, confidence = prefer_polished(xy, confidence, scale_xy(places, small, stream.size), score)
        ids = np.array(stream.ids, np.int64)
        seen = Seen(xy.cpu().numpy(), (confidence > 0.5).cpu().numpy(), confidence.cpu().numpy(), ids)
        return replace(stream, mixer=out.state, asked=None, anchors=anchors), seen

    @torch.inference_mode()
    def add(self, stream: Stream, frame: UInt8[np.ndarray, "h w 3"], points: Any) -> Stream:
        """Follow further points, (x, y) in raster pixels of `frame`; they come after those of the stream.

        Call it before the `step` with the same frame. The new points have no past.
        """
        frame = _check_frame(frame, stream.size)
        new, asked = self._points_on(frame, points, stream.resolutions)
        before = asked.new_full((1, len(stream), 2), torch.nan) if stream.asked is None else stream.asked
        mixer = stream.mixer
        if mixer is not None:
            blank = map_states(lambda x: x.new_zeros(new.initial.shape[1], *x.shape[1:]), mixer)
            mixer = join_states([mixer, blank], batch=1)
        anchors = None if stream.anchors is None else stream.anchors.beside(self._anchors(frame, asked))
        points = stream.points.beside(new)
        stream = replace(stream, points=points, mixer=mixer, asked=torch.cat([before, asked], 1), anchors=anchors)
        return _numbered(stream)

    @torch.inference_mode()
    def keep(self, stream: Stream, index: Sequence[int] | np.ndarray) -> Stream:
        """Return the stream with some of its points, by place in it (not by id), in that order; their ids stay theirs.

        `index` may be truths too, one for each point, such as `seen.visible`. None at all is a stream too, to `add` to.
        """
        places = np.asarray(index)
        if places.dtype == np.bool_:
            if places.shape != (len(stream),):
                raise BadInput(f"truths of shape {places.shape} were given for a stream of {len(stream)} points; give one each")
            places = np.flatnonzero(places)
        places = places.astype(np.int64)
        chosen = torch.as_tensor(places, device=self.device)
        mixer = None if stream.mixer is None or not len(chosen) else select_state(stream.mixer, chosen, len(stream))
        asked = None if stream.asked is None else stream.asked[:, chosen]
        anchors = None if stream.anchors is None else stream.anchors.select(chosen)
        ids = tuple(stream.ids[place] for place in places.tolist())
        return replace(stream, points=stream.points.select(chosen), mixer=mixer, asked=asked, anchors=anchors, ids=ids)

    def _polishes(self, asked: bool | None) -> bool:
        return self.model.config.polish if asked is None else asked

    def _anchors(self, frame: np.ndarray, asked: Float[Tensor, "1 n 2"]) -> Anchors:
        """Patches around points (x, y) of a frame."""
        size = (frame.shape[0], frame.shape[1])
        return Anchors.at(grey(frame[None], self.device)[0], scale_xy(asked[0], size, reduced(*size)))

    def _features(self, frames: UInt8[np.ndarray, "t h w 3"], resolutions: tuple[Size, ...]) -> Features:
        pictures = torch.from_numpy(frames).to(self.device).float().div_(127.5).sub_(1)
        return self.model.features(pictures[None], resolutions)

    def _points(self, features_of: FeaturesOf, queries: Float[Tensor, "n 3"], frames: int) -> QueryFeatures:
        """Features of all queries, read from their own frames only."""
        before = queries[:, 0].floor()
        groups, order = [], []
        for begin in before.unique().int().tolist():
            chosen = torch.nonzero(before == begin)[:, 0]
            local = queries[chosen] - torch.tensor([begin, 0, 0])
            features = features_of(begin, min(begin + 1 + int(local[:, 0].any()), frames))
            groups.append(self.model.query_features(features, local[None].to(self.device)))
            order.append(chosen)
        points = groups[0].beside(*groups[1:])
        return points.select(torch.cat(order).argsort().to(self.device))

    def _points_on(
        self, frame: np.ndarray, points: Any, resolutions: tuple[Size, ...]
    ) -> tuple[QueryFeatures, Float[Tensor, "1 n 2"]]:
        """Features of points (x, y) on one frame, and the points."""
        places = np.asarray(points, dtype=np.float32)
        if places.ndim != 2 or places.shape[1] != 2:
            raise BadInput(f"points have shape {places.shape}; give (n, 2): x and y of each on this frame")
        queries = np.concatenate([np.zeros_like(places[:, :1]), places], 1)
        asked = check_queries(queries, 1, (frame.shape[0], frame.shape[1]))[None].to(self.device)
        return self.model.query_features(self._features(frame[None], resolutions), asked), asked[..., 1:]


def check_queries(queries: Any, frames: int, size: Size) -> Float[Tensor, "n 3"]:
    """Check queries (t, x, y) as a float32 tensor.

    Raises BadInput, naming the first bad one, unless each lies within 0..frames-1 and the picture of (height, width) `size`.
    """
    try:
        asked = np.array(queries, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadInput(f"queries are not numbers ({error}); give (t, x, y) for each point") from error
    if asked.ndim != 2 or asked.shape[1] != 3 or not len(asked):
        raise BadInput(f"queries have shape {asked.shape}; give (n, 3), one or more points: t, x, y of each")
    most = np.array([frames - 1, size[1], size[0]])
    bad = ~(np.isfinite(asked) & (asked >= 0) & (asked <= most)).all(1)
    if bad.any():
        t, x, y = asked[number := int(bad.argmax())]
        raise BadInput(
            f"query {number} is t={t:g}, x={x:g}, y={y:g}; t must be in 0..{frames - 1}, x in 0..{size[1]}, y in 0..{size[0]}"
        )
    return torch.from_numpy(asked)


def build(name: str, seed: int = 0) -> Tracker:
    """Build a tracker of a known architecture with random weights, the same for the same seed.

    Names: tapir, causal-tapir, bootstapir, causal-bootstapir, tapir-nano, causal-tapir-nano. Raises BadInput for others.
    """
    if name not in ARCHITECTURES:
        raise BadInput(f"there is no architecture named {name!r}; known names are {', '.join(ARCHITECTURES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tracker(Tapir(ARCHITECTURES[name]))


def load(
    name_or_path: str | PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Tracker:
    """Load a tracker with weights: of a known name (`tapetum weights list`) or in a file.

    Args:
        name_or_path: `tapir-nano` and `causal-tapir-nano` come with the package. A file may be ours (.safetensors) or a
            published checkpoint (.pt, or .npy of JAX); a published one is taken to be causal if its name says so.
        device: where to put it; None is the CPU.
        dtype: of the weights, which is also that of most computation; None is float32. Positions stay float32.

    Raises:
        BadInput: the name is unknown, the file is not there, or it does not hold such a network.
    """
    path, known = resolve(name_or_path, "track")
    wanted = ARCHITECTURES[known.architecture] if known else None
    model = weights.load(path, causal=wanted.causal if wanted else None)
    if known and model.config != wanted and record_of(path) is None:  # what was fetched is known by its checksum
        raise BadInput(f"{path} holds another network than {known.name}; remove it and fetch or install it again")
    return Tracker(model).to(device, dtype)


def _affordable(config: TapirConfig, resolutions: tuple[Size, ...], frames: int, half: bool) -> int:
    """Frames whose features fit in FEATURE_BYTES: in float32 if all `frames` do, else in float16 if `half`."""
    cells = sum(height * width for height, width in {config.initial_resolution, *resolutions})
    each = cells * (4 * config.hires_dim + 2 * config.lowres_dim) // 16
    fit = FEATURE_BYTES // each
    return max(LEAST_WINDOW, 2 * fit if half and frames > fit else fit)


def _frames_at_a_time(config: TapirConfig, resolutions: tuple[Size, ...], size: Size) -> int:
    """Frames that fit in ACTIVATION_BYTES, as float32, before they are resized and after the stem (stride 2)."""
    pixels = max(height * width for height, width in {config.initial_resolution, *resolutions})
    return max(1, ACTIVATION_BYTES // max(pixels * config.stem_channels, 12 * size[0] * size[1]))


def _numbered(stream: Stream) -> Stream:
    """The stream with ids for those of its points that came last."""
    new = range(stream.next_id, stream.next_id + len(stream) - len(stream.ids))
    return replace(stream, ids=(*stream.ids, *new), next_id=new.stop)


def _check_frame(frame: Any, size: Size | None = None) -> UInt8[np.ndarray, "h w 3"]:
    frame = np.asarray(frame)
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise BadInput(f"a frame is {frame.dtype} of shape {frame.shape}; give uint8 (height, width, 3)")
    if size is not None and frame.shape[:2] != size:
        raise BadInput(f"a frame is {frame.shape[0]}x{frame.shape[1]} where the stream has {size[0]}x{size[1]}; start anew")
    return np.require(frame, requirements=["C", "W"])  # torch takes no strides below 0, as a view of BGR as RGB has
