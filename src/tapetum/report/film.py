"""The film of a report: some frames of a video as JPEG and the tracks on them, small enough for one file.

width, height       of the video in pixels; the JPEGs may be smaller
frames              JPEG of each frame that is shown, as base64
indices, labels     of each: its number among the frames of the tracks, and in the video
times               seconds of each, where they are known
seconds_a_frame     how long each is shown
numbers, names, colours   of each of the n points that are shown
low, step, places   x, y of frame k and point i are low + step * places[k, i]; base64 of uint16 (f, n, 2), little endian
states              base64 of uint8 (f, n): 128 where the point is visible, plus 127 times its confidence
doubtful            [point, frame, number in the video, reason], the most doubtful first
"""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, UInt8

from tapetum.report.page import encode_jpeg
from tapetum.video.draw import point_colours

if TYPE_CHECKING:
    from tapetum.tracks.doubtful import Place
    from tapetum.types import Tracks
    from tapetum.video import Video

LEVELS = 65535
"""Steps from the lowest to the highest place that is stored."""
_BEYOND = 0.25
"""Share of the image by which places outside of it are still told apart."""
PLACES = 60
"""Doubtful places that are listed."""
_SAMPLED = 5
"""Frames whose JPEGs say how large all will be."""
_PLACE_BYTES = 5


@dataclass(frozen=True, kw_only=True)
class FilmLimits:
    """How large a film may be."""

    image_bytes: int = 16_000_000
    """Of all JPEGs together, before they are made text."""
    track_bytes: int = 6_000_000
    """Of places and states, before they are made text."""
    frames: int = 600
    """Frames at most, evenly chosen."""
    side: int = 720
    """Longer side of the JPEGs in pixels at most."""


def film_data(
    video: "Video",
    tracks: "Tracks",
    places: "Sequence[Place]" = (),
    limits: FilmLimits | None = None,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Any]:
    """Build the film of a video and its tracks, within limits: fewer frames first, then smaller ones, and a subset of points.

    Args:
        video: the frames of the tracks.
        tracks: n points through t frames.
        places: uncertain positions, the most uncertain first.
        limits: its maximum size.
        progress: called with the numbers of encoded and of all frames.
    """
    limits = limits or FilmLimits()
    width, height = video.width, video.height
    side, indices = _fit(video, tracks.frames, limits)
    points = _even(tracks.points, max(limits.track_bytes // (_PLACE_BYTES * max(len(indices), 1)), 1))
    frames = []
    for done, index in enumerate(indices.tolist(), 1):
        frames.append(_text(encode_jpeg(video[index], side)))
        progress(done, len(indices))
    shown = tracks.select(points)
    low = np.array([-_BEYOND * width, -_BEYOND * height])
    step = np.array([(1 + 2 * _BEYOND) * width, (1 + 2 * _BEYOND) * height]) / LEVELS
    levels = np.rint((shown.xy[:, indices].astype(np.float64) - low) / step).clip(0, LEVELS)
    states = 128 * shown.visible[:, indices] + np.rint(127 * shown.confidence[:, indices])
    first = shown.xy[np.arange(len(points)), shown.visible.argmax(axis=1)]
    numbers = np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers
    span = (indices[-1] - indices[0]) / max(len(indices) - 1, 1)
    return {
        "width": width,
        "height": height,
        "frames": frames,
        "indices": indices.tolist(),
        "labels": numbers[indices].tolist(),
        "times": None if tracks.times is None else np.round(tracks.times[indices], 4).tolist(),
        "seconds_a_frame": round(max(span, 1) / video.frame_rate, 4),
        "numbers": points.tolist(),
        "names": list(shown.names or [""] * len(points)),
        "colours": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in point_colours(first, width, height).tolist()],
        "low": low.tolist(),
        "step": step.tolist(),
        "places": _text(levels.astype("<u2").transpose(1, 0, 2)),
        "states": _text(states.astype(np.uint8).T),
        "doubtful": [[each.point, each.frame, int(numbers[each.frame]), each.reason] for each in places[:PLACES]],
    }


def _fit(video: "Video", count: int, limits: FilmLimits) -> tuple[int, Int[np.ndarray, " f"]]:
    """The longer side of the JPEGs, and the frames shown; at least 40 frames are kept before images are made smaller."""
    side = min(limits.side, max(video.width, video.height))
    samples = _even(count, _SAMPLED)
    while True:
        each = max(len(encode_jpeg(video[index], side)) for index in samples.tolist())
        room = max(limits.image_bytes // max(each, 1), 1)
        if room >= min(count, 40) or side <= 160:
            return side, _even(count, min(limits.frames, room))
        side = math.floor(side * 0.8)


def _even(count: int, most: int) -> Int[np.ndarray, " k"]:
    """Indices of at most so many of `count` items, evenly spaced from first to last."""
    return np.arange(count) if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(int))


def _text(content: "bytes | UInt8[np.ndarray, '...'] | np.ndarray") -> str:
    content = content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
    return base64.b64encode(content).decode()
