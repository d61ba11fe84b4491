"""Online point tracking: points are tracked frame by frame, as the frames of a live video arrive.

`OnlineTracker` holds the network and computes features of frames; its subclass `tracker.TapirTracker` also tracks whole videos.
Each position has a 2x2 covariance, not part of TAPIR, of the source that gave the position:

    network   the expected-distance head says how likely an error above 6 pixels (of 256) is. A round Gaussian of variance s^2
              errs by more than d with the probability exp(-d^2 / 2 s^2), which gives s^2 = 18 / -ln p.
    patch     where a patch was aligned (`polish`), that of `patches.patch_covariance`.

Each source's factor is fitted so that 68 of 100 ellipses contain the true position (`python evidence/live/covariance.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from tapetum.core.devices import full_precision, send_to_device
from tapetum.core.errors import BadInput
from tapetum.layers.cpu import speed_up
from tapetum.layers.sampling import scale_xy
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.clip import Reference
from tapetum.systems.tap.tracking.cues import LiveCues, pass_cues, patch_cues
from tapetum.systems.tap.tracking.polish import Anchors, prefer_polished
from tapetum.systems.tap.tracking.recent import RecentPatches, prefer_recent
from tapetum.systems.tap.types import FeatureGrids, QueryFeatures, Size, State, join_states, select_state
from tapetum.tracks.patches import grey, map_tensors, patch_covariance, reduced
from tapetum.tracks.tracker import FrameTracks, check_frame, check_queries, check_stream, chosen_points, is_flat
from tapetum.types.checks import unmasked

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.error_model import ErrorModel

EXPECTED_DISTANCE = 6.0
"""Pixels of 256, of which the head says how likely an error above them is."""
NETWORK_FACTOR = 0.492


def network_covariance(
    expected_dist: Float[Tensor, " n"], size: Size, factor: float = NETWORK_FACTOR
) -> Float[Tensor, "n 2 2"]:
    """Compute covariances (x, y) in pixels of a frame of (height, width) `size` from expected-distance logits."""
    far = torch.sigmoid(expected_dist.float()).clamp(1e-6, 0.98)
    variance = factor * EXPECTED_DISTANCE**2 / (-2 * far.log())
    to_frame = scale_xy(variance.new_ones(1, 2), (256, 256), size)
    return torch.diag_embed(variance[:, None] * to_frame.square())


def position_covariance(
    expected_dist: Float[Tensor, " n"], size: Size, anchors: Anchors | None = None, score: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "n 2 2"]:
    """Compute the covariance of each point's position: from its patch if that was aligned, else from the network."""
    network = network_covariance(expected_dist, size)
    if anchors is None or score is None:
        return network
    aligned: Bool[Tensor, " n"] = anchors.aligned
    return torch.where(aligned[:, None, None], patch_covariance(anchors.patches, anchors.affine, score, size), network)


def live_refinements(model: Tapir, size: Size) -> list[Size]:
    """List the resolutions at which live points are refined: that of the initial places alone where patches make them exact."""
    return [model.config.initial_resolution] if model.config.polish else model.refinements(size)


_POINTS = 256
"""Points worked on at a time in one frame, which bounds memory."""


@dataclass(frozen=True)
class OnlineState:
    """Points on their way through a live video; never changed in place. See `TapirTracker.start`."""

    size: Size
    resolutions: tuple[Size, ...]
    points: QueryFeatures
    mixer: State | None
    query_xy: Float[Tensor, "1 n 2"] | None = None
    """Where points are in the next frame, since it is there that they were asked for; NaN for the others."""
    anchors: Anchors | None = None
    ids: tuple[int, ...] = ()
    """Of each point: 0, 1, ... in the order in which points were asked for; `keep` gives none of them to another point."""
    next_id: int = 0
    weights: float = 0.0
    """Checksum of the network's weights: the state is of no use to another network."""
    cues: LiveCues | None = None
    recent: RecentPatches | None = None
    """None before the first frame, and where points have no anchors."""
    image: Float[Tensor, "y x"] | None = None
    """The last frame as `grey` shows it, that `recent` is in."""

    def __len__(self) -> int:
        return self.points.initial.shape[1]


class OnlineTracker:
    """Tracks points through frames that arrive one by one, with a causal `Tapir` network."""

    def __init__(self, model: Tapir):
        self.model = speed_up(model.eval())  # computes as before where something is to be learned
        self.error_model: ErrorModel | None = None
        """Predicts how far whole tracks are off; None where there is none for this network."""
        self.live_error_model: ErrorModel | None = None
        """Predicts it for the points of each live frame, by what is known until then."""

    @property
    def device(self) -> torch.device:
        """Get the device of the network, to which frames are moved."""
        return next(self.model.parameters()).device

    @full_precision()
    @torch.inference_mode()
    def start(
        self,
        frame: UInt8[np.ndarray, "h w 3"],
        points: Float[np.ndarray, "n 2"] | Sequence[Sequence[float]],
        *,
        reference: UInt8[np.ndarray, "h w 3"] | None = None,
        refinement_resolutions: Sequence[Size] | None = None,
        polish: bool | None = None,
    ) -> OnlineState:
        """Start to track points, (x, y) in raster pixels of `frame`, through frames that arrive one by one.

        Then pass every frame to `step`, this one first:

            stream = tracker.start(frame, points)
            stream, seen = tracker.step(stream, frame)

        With a `reference`, another image of any size, points refer to that, and are not polished. Raises BadInput for a network
        that is not causal, and for points outside the frame.
        """
        if not self.model.config.causal:
            raise BadInput("this network needs the future; frames one by one need a causal one, such as causal-tapir-nano")
        frame = check_frame(frame)
        size = (frame.shape[0], frame.shape[1])
        polishes = reference is None and self._polishes(polish)
        usual = live_refinements if polishes else Tapir.refinements
        resolutions = tuple(refinement_resolutions or usual(self.model, size))
        if reference is not None:
            padded = Reference(check_frame(reference), size)
            if np.size(points) and (np.asarray(points, np.float32) > padded.size[::-1]).any():
                raise BadInput(f"a point is outside of the reference, which has {padded.size[1]}x{padded.size[0]} pixels")
            features, _ = self._points_on(padded.frames(0, 1)[0], points, resolutions)
            return _numbered(OnlineState(size, resolutions, features, None, weights=self._weights()))
        features, query_xy = self._points_on(frame, points, resolutions)
        anchors = self._anchors(frame, query_xy) if polishes else None
        cues = None if anchors is None else LiveCues.start(query_xy[0], min(size) / 256)
        return _numbered(OnlineState(size, resolutions, features, None, query_xy, anchors, weights=self._weights(), cues=cues))

    @full_precision()
    @torch.inference_mode()
    def step(self, stream: OnlineState, frame: UInt8[np.ndarray, "h w 3"]) -> tuple[OnlineState, FrameTracks]:
        """Track the stream's points into one more frame: the updated stream and the points in that frame.

        Without `polish` this gives the same as `track` on the whole clip, refined at the same resolutions, for queries on its
        first frame; later ones have a past in `track`, and none here. With it, patches of recent frames (`recent`) follow the
        points too. In a frame of a single colour all points are hidden, with confidence 0. Raises BadInput for a frame of
        another size, and for a stream of another tracker.
        """
        self._check_weights(stream)
        frame = check_frame(frame, stream.size)
        if not len(stream):
            xy, none, spread = (np.zeros(shape, np.float32) for shape in ((0, 2), 0, (0, 2, 2)))
            return stream, FrameTracks(xy, none > 0.5, none, np.zeros(0, np.int64), spread)
        features = self._features(frame[None], stream.resolutions)
        known = None if stream.query_xy is None else stream.query_xy[:, :, None]
        predicts = self.live_error_model is not None and stream.cues is not None
        options = {"state": stream.mixer, "keep_state": True, "query_chunk": _POINTS, "peaks": predicts}
        out = self.model.trajectories(features, stream.points, known, **options)
        xy, confidence = out.tracks[0, :, 0].float(), out.confidence[0, :, 0]
        anchors, recent, score, image = stream.anchors, stream.recent, None, stream.image
        if anchors is not None:
            small, before = reduced(*stream.size), image
            image = grey(frame[None], self.device)[0]
            if recent is not None and before is not None:
                recent = recent.follow(image, before)
            anchors, places, score = anchors.follow(image, scale_xy(xy, stream.size, small), recent)
            xy, confidence = prefer_polished(xy, confidence, scale_xy(places, small, stream.size), score)
        if flat := is_flat(frame):
            confidence = torch.zeros_like(confidence)
        covariance = position_covariance(out.expected_dist[0, :, 0], stream.size, anchors, score)
        cues, chance = stream.cues, confidence.new_zeros(len(xy))
        if predicts and anchors is not None and score is not None and cues is not None and self.live_error_model is not None:
            network = torch.stack(pass_cues(self.model, out, min(stream.size) / 256), -1)[0, :, 0]
            cues, values = cues.after(network, confidence, (score, *patch_cues(anchors)), xy, stream.size)
            chance = self.live_error_model(values[:, None].cpu())[:, 0, 1].sigmoid().to(xy)
            if known is not None:
                chance = torch.where(known[0, :, 0, 0].isnan(), chance, 0.0)  # at their queries points are right
        if anchors is not None and image is not None:
            if recent is not None and not flat:
                xy, confidence, covariance = prefer_recent(xy, confidence, covariance, anchors.aligned, recent, stream.size)
            near = scale_xy(xy, stream.size, reduced(*stream.size))
            if recent is None:
                recent = RecentPatches.cut(image, near, confidence, covariance, torch.zeros_like(near))
            else:
                recent = recent.renewed(image, near, confidence, covariance)
        joint = torch.cat([xy, confidence[:, None], chance[:, None], covariance.flatten(1)], 1).cpu().numpy()  # in one transfer
        at, sure, wrong = (joint[:, part].copy() for part in (slice(2), 2, 3))
        ids, spread = np.array(stream.ids, np.int64), joint[:, 4:].reshape(-1, 2, 2).copy()
        result = FrameTracks(at, sure > 0.5, sure, ids, spread, wrong if predicts else None)
        past = {"anchors": anchors, "cues": cues, "recent": recent, "image": image}
        return replace(stream, mixer=out.state, query_xy=None, **past), result

    @full_precision()
    @torch.inference_mode()
    def add(self, stream: OnlineState, frame: UInt8[np.ndarray, "h w 3"], points: Any) -> OnlineState:
        """Add points without a past, (x, y) in raster pixels of `frame`, after those of the stream; call it before the `step`
        with that frame."""
        self._check_weights(stream)
        frame = check_frame(frame, stream.size)
        new, query_xy = self._points_on(frame, points, stream.resolutions)
        before = query_xy.new_full((1, len(stream), 2), torch.nan) if stream.query_xy is None else stream.query_xy
        mixer = stream.mixer
        if mixer is not None:
            blank = map_tensors(lambda x: x.new_zeros(new.initial.shape[1], *x.shape[1:]), mixer)
            mixer = join_states([mixer, blank], batch=1)
        anchors = None if stream.anchors is None else stream.anchors.beside(self._anchors(frame, query_xy))
        cues = None if stream.cues is None else stream.cues.beside(LiveCues.start(query_xy[0], min(stream.size) / 256))
        recent = stream.recent if stream.recent is None else stream.recent.beside(self._hidden(frame, query_xy))
        query_xy, points = torch.cat([before, query_xy], 1), stream.points.beside(new)
        past = {"mixer": mixer, "anchors": anchors, "cues": cues, "recent": recent}
        return _numbered(replace(stream, points=points, query_xy=query_xy, **past))

    @full_precision()
    @torch.inference_mode()
    def keep(self, stream: OnlineState, index: Sequence[int] | np.ndarray) -> OnlineState:
        """Select points of the stream by position in it (not by id), in that order, or by a boolean mask; they keep their ids,
        and may be none."""
        places = chosen_points(index, len(stream))
        chosen = send_to_device(torch.as_tensor(places), self.device)
        mixer = None if stream.mixer is None or not len(chosen) else select_state(stream.mixer, chosen, len(stream))
        query_xy = None if stream.query_xy is None else stream.query_xy[:, chosen]
        anchors = None if stream.anchors is None else stream.anchors.select(chosen)
        ids = tuple(stream.ids[place] for place in places.tolist())
        points = stream.points.select(chosen)
        cues = None if stream.cues is None else stream.cues.select(chosen)
        recent = None if stream.recent is None else stream.recent.select(chosen)
        past = {"mixer": mixer, "anchors": anchors, "cues": cues, "recent": recent}
        return replace(stream, points=points, query_xy=query_xy, ids=ids, **past)

    def _weights(self) -> float:
        return float(self.model.mixer.outward.weight.double().sum())

    def _check_weights(self, stream: OnlineState) -> None:
        check_stream(stream, OnlineState, self._weights())

    def _polishes(self, chosen: bool | None) -> bool:
        return self.model.config.polish if chosen is None else chosen

    def _hidden(self, frame: np.ndarray, xy: Float[Tensor, "1 n 2"]) -> RecentPatches:
        """Patches of new points, which are not found in the frame that they are added in."""
        size = (frame.shape[0], frame.shape[1])
        places, none = scale_xy(xy[0], size, reduced(*size)), xy.new_zeros(xy.shape[1])
        image, still = grey(frame[None], self.device)[0], torch.zeros_like(places)
        return RecentPatches.cut(image, places, none, none[:, None, None].repeat(1, 2, 2), still)

    def _anchors(self, frame: np.ndarray, xy: Float[Tensor, "1 n 2"]) -> Anchors:
        size = (frame.shape[0], frame.shape[1])
        return Anchors.at(grey(frame[None], self.device)[0], scale_xy(xy[0], size, reduced(*size)))

    def _features(self, frames: UInt8[np.ndarray, "t h w 3"], resolutions: tuple[Size, ...]) -> FeatureGrids:
        images = send_to_device(torch.from_numpy(frames), self.device)
        images = images.float().div_(127.5).sub_(1)  # as exported programs are given them
        return self.model.features(images[None], resolutions)

    def _points_on(
        self, frame: np.ndarray, points: Any, resolutions: tuple[Size, ...]
    ) -> tuple[QueryFeatures, Float[Tensor, "1 n 2"]]:
        """Features of points (x, y) in one frame, and the points."""
        places = np.asarray(unmasked(points, "points"), dtype=np.float32)
        if places.ndim != 2 or places.shape[1] != 2:
            raise BadInput(f"points have shape {places.shape}; give (n, 2): x and y of each on this frame")
        queries = np.concatenate([np.zeros_like(places[:, :1]), places], 1)
        checked = check_queries(queries, 1, (frame.shape[0], frame.shape[1]))[None].to(self.device)
        return self.model.query_features(self._features(frame[None], resolutions), checked), checked[..., 1:]


def _numbered(stream: OnlineState) -> OnlineState:
    """The stream, with ids for the points added last."""
    new = range(stream.next_id, stream.next_id + len(stream) - len(stream.ids))
    return replace(stream, ids=(*stream.ids, *new), next_id=new.stop)
