"""The film of a report: places come back exactly enough, and limits are kept."""

import base64
import io

import numpy as np
from PIL import Image

from tapetum.report.film import FilmLimits, film_data
from tapetum.tracks.doubtful import Place
from tapetum.types import Tracks
from tapetum.video import open_video

RNG = np.random.default_rng(0)


def tracks_of(points: int, frames: int) -> Tracks:
    xy = RNG.uniform((-10, -5), (330, 245), (points, frames, 2))
    visible = RNG.random((points, frames)) > 0.3
    confidence = RNG.random((points, frames)).astype(np.float32)
    return Tracks(xy=xy, visible=visible, confidence=confidence, queries=np.zeros((points, 3)))


def unpacked(film: dict) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, f, 2) and states (n, f), by what the docstring of the module says."""
    shape = len(film["frames"]), len(film["numbers"])
    places = np.frombuffer(base64.b64decode(film["places"]), "<u2").reshape(*shape, 2)
    states = np.frombuffer(base64.b64decode(film["states"]), np.uint8).reshape(shape)
    return (np.array(film["low"]) + np.array(film["step"]) * places).transpose(1, 0, 2), states.T


def test_places_visibility_and_confidence_come_back() -> None:
    tracks = tracks_of(7, 5)
    video = open_video(RNG.integers(0, 256, (5, 240, 320, 3), np.uint8))
    film = film_data(video, tracks, [Place(2, 3, "jump", 1.0)])
    places, states = unpacked(film)
    np.testing.assert_allclose(places, tracks.xy, atol=0.005)
    np.testing.assert_array_equal(states > 127, tracks.visible)
    np.testing.assert_allclose((states & 127) / 127, tracks.confidence, atol=0.5 / 127 + 1e-6)
    assert film["doubtful"] == [[2, 3, 3, "jump"]]
    assert film["indices"] == [0, 1, 2, 3, 4]


def test_too_many_frames_and_points_are_thinned_evenly_and_limits_hold() -> None:
    tracks = tracks_of(50, 100)
    video = open_video(RNG.integers(0, 256, (100, 48, 64, 3), np.uint8))
    limits = FilmLimits(image_bytes=60_000, track_bytes=4_000, frames=20, side=64)
    film = film_data(video, tracks, limits=limits)
    assert film["indices"][0] == 0
    assert film["indices"][-1] == 99
    assert 15 <= len(film["frames"]) <= 20
    assert sum(len(base64.b64decode(frame)) for frame in film["frames"]) <= 66_000
    assert len(film["numbers"]) == 4_000 // (5 * len(film["frames"]))
    places, _ = unpacked(film)
    np.testing.assert_allclose(places, tracks.xy[film["numbers"]][:, film["indices"]].clip((-16, -12), (80, 60)), atol=0.005)


def test_frames_are_those_of_the_video_that_the_labels_say() -> None:
    frames = np.stack([np.full((40, 60, 3), 20 * k, np.uint8) for k in range(6)])
    tracks = tracks_of(1, 3)
    numbered = Tracks(**{**vars(tracks), "numbers": np.array([1, 3, 5])})
    from tapetum.video.types import VideoSubset

    film = film_data(VideoSubset(open_video(frames), [1, 3, 5]), numbered)
    assert film["labels"] == [1, 3, 5]
    values = [np.asarray(Image.open(io.BytesIO(base64.b64decode(frame)))).mean() for frame in film["frames"]]
    np.testing.assert_allclose(values, [20, 60, 100], atol=2)
