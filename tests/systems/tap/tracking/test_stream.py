"""Streams of any frames, and points that keep their ids."""

from collections.abc import Callable

import numpy as np
import pytest

from support.networks import tracker
from tapetum.core.errors import BadInput

POINTS = [[20.0, 15.0], [40.0, 30.0], [50.5, 8.0]]


@pytest.mark.parametrize("polish", [False, True])
def test_frames_may_lie_in_memory_as_they_like(drift: Callable[..., np.ndarray], polish: bool) -> None:
    frames = drift(0, 3)
    tall = np.zeros((3, 2 * frames.shape[1], *frames.shape[2:]), np.uint8)
    tall[:, ::2] = frames
    fixed = frames.copy()
    fixed.flags.writeable = False
    views = {
        "a view of BGR as RGB": np.ascontiguousarray(frames[..., ::-1])[..., ::-1],
        "a mirrored view of a mirrored copy": np.ascontiguousarray(frames[:, :, ::-1])[:, :, ::-1],
        "every other row": tall[:, ::2],
        "columns first": np.ascontiguousarray(frames.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3),
        "read only": fixed,
    }
    one = tracker(causal=True)

    def followed(video: np.ndarray) -> np.ndarray:
        stream = one.start(video[0], POINTS[:2], polish=polish)
        stream = one.add(stream, video[0], POINTS[2:])
        places = []
        for frame in video:
            stream, seen = one.step(stream, frame)
            places.append(seen.xy)
        return np.stack(places)

    wanted = followed(frames)
    for name, view in views.items():
        np.testing.assert_array_equal(followed(view), wanted, err_msg=name)


def test_ids_stay_with_their_points(drift: Callable[..., np.ndarray]) -> None:
    frames = drift(1, 4)
    one = tracker(causal=True)
    stream, seen = one.step(one.start(frames[0], POINTS), frames[0])
    assert seen.ids.tolist() == [0, 1, 2]
    stream = one.keep(stream, [2, 0])
    stream = one.add(stream, frames[1], [[10, 10]])
    stream, seen = one.step(stream, frames[1])
    assert seen.ids.tolist() == [2, 0, 3]
    stream = one.keep(stream, np.array([False, True, False]))
    stream, seen = one.step(stream, frames[2])
    assert seen.ids.tolist() == [0]
    stream = one.add(one.keep(stream, []), frames[3], [[12, 9], [30, 20]])
    assert one.step(stream, frames[3])[1].ids.tolist() == [4, 5], "the id of a point that was let go is not given again"
    with pytest.raises(BadInput, match="truths of shape"):
        one.keep(stream, [True, False, True])


def test_a_frame_of_one_colour_shows_no_point(drift: Callable[..., np.ndarray]) -> None:
    frames = drift(2, 3)
    one = tracker(causal=True)
    stream, before = one.step(one.start(frames[0], POINTS), frames[0])
    assert before.confidence.any()
    for level in (0, 255):
        stream, tracks = one.step(stream, np.full_like(frames[0], level))
        assert not tracks.visible.any()
        assert not tracks.confidence.any()
    assert one.step(stream, frames[1])[1].confidence.any()


def test_the_stream_of_another_tracker_is_refused(drift: Callable[..., np.ndarray]) -> None:
    frames = drift(3, 2)
    one, other = tracker(causal=True), tracker(causal=True, seed=1)
    stream = one.start(frames[0], POINTS)
    for ask in (lambda: other.step(stream, frames[0]), lambda: other.add(stream, frames[0], [[10, 10]])):
        with pytest.raises(BadInput, match="of a tracker of other weights"):
            ask()
    assert len(one.step(stream, frames[0])[1].xy) == 3
