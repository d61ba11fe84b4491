"""A tracker in a thread of its own: order, drops, ids, velocities, and input that must not give a stale position."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.networks import tracker as network
from tapetum.core.errors import BadInput
from tapetum.tracks.live import LiveTracker, LiveTracks
from tapetum.tracks.tracker import FrameTracks, load_state, save_state

SIZE = (48, 64)


@dataclass(frozen=True)
class Line:
    """Points on their way along a line, 3 to the right and 1 up in each frame; hidden where the frame is black."""

    xy: np.ndarray


class LineTracker:
    """Moves all points alike, so that positions and velocities are known."""

    def start(self, frame: np.ndarray, points: Any) -> Line:
        return Line(np.asarray(points, np.float32) - [3, -1])

    def add(self, stream: Line, frame: np.ndarray, points: Any) -> Line:
        return Line(np.concatenate([stream.xy, self.start(frame, points).xy]))

    def keep(self, stream: Line, index: Any) -> Line:
        return Line(stream.xy[index])

    def step(self, stream: Line, frame: np.ndarray) -> tuple[Line, FrameTracks]:
        if frame[0, 0, 0] == 99:
            raise RuntimeError("the device is gone")
        after = replace(stream, xy=stream.xy + np.float32([3, -1]))
        visible = np.full(len(after.xy), bool(frame.any()))
        return after, FrameTracks(after.xy, visible, visible.astype(np.float32), np.arange(len(after.xy)))


def frame(value: int = 7, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def test_frames_that_are_waited_for_give_what_steps_give() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, *SIZE, 3), dtype=np.uint8)
    tracker, points = network(causal=True), [[20.0, 15.0], [40.0, 30.0]]
    stream = tracker.start(frames[0], points)
    results: list[LiveTracks] = []
    with LiveTracker(tracker, results.append) as live:
        assert live.latest() is None
        for number, image in enumerate(frames):
            assert live.submit(image, number / 10, points if number == 0 else None) == ([0, 1] if number == 0 else [])
            live.wait()
            stream, expected = tracker.step(stream, image)
            np.testing.assert_array_equal(results[-1].xy, expected.xy)
            np.testing.assert_array_equal(results[-1].covariance, expected.covariance)
        assert live.dropped == 0
    assert [tracks.time_s for tracks in results] == [0, 0.1, 0.2, 0.3]


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    results: list[LiveTracks] = []
    frames = np.random.default_rng(0).integers(0, 255, (60, *SIZE, 3), dtype=np.uint8)
    with LiveTracker(network(causal=True), results.append) as live:
        for number, image in enumerate(frames):  # as fast as they can be handed in
            live.submit(image, number / 1000, [[20.0, 15.0]] if number in (0, 30) else None)
        live.wait()
        assert len(results) + live.dropped == 60
        assert live.dropped > 20
    numbers = [tracks.frame for tracks in results]
    assert numbers == sorted(numbers)
    assert {0, 30, 59} <= set(numbers), "frames with new points and the newest are never dropped"
    assert results[-1].ids.tolist() == [0, 1]


def test_points_come_and_go_while_frames_do() -> None:
    with LiveTracker(LineTracker()) as live:
        live.submit(frame(), 0.0)
        live.wait()
        tracks = live.latest()
        assert tracks is not None
        assert len(tracks.ids) == 0
        assert live.submit(frame(), 0.1, [[10, 20], [30, 20]]) == [0, 1]
        assert live.submit(frame(), 0.2, [[5, 5]]) == [2]
        live.wait()
        live.remove([1, 77])
        live.submit(frame(), 0.3)
        live.wait()
        tracks = live.latest()
        assert tracks is not None
        assert tracks.ids.tolist() == [0, 2]
        np.testing.assert_allclose(tracks.xy, [[16, 18], [8, 4]])
        live.remove([0, 2])
        assert live.submit(frame(), 0.4, [[9, 9]]) == [3], "the id of a point that is gone is never given again"
        live.wait()
        tracks = live.latest()
        assert tracks is not None
        assert tracks.ids.tolist() == [3]


def test_a_corrected_point_keeps_its_id_and_starts_over() -> None:
    with LiveTracker(LineTracker()) as live:
        for moment in range(3):
            live.submit(frame(), moment / 10, [[10, 40], [20, 40]] if not moment else None)
            live.wait()
        with pytest.raises(BadInput, match="point 2 is corrected, and ids so far are below 2"):
            live.submit(frame(), 0.3, corrected={2: (1, 1)})
        assert live.submit(frame(), 0.3, [[50, 9]], corrected={0: (5, 5)}) == [2]
        live.wait()
        tracks = live.latest()
    assert tracks is not None
    assert tracks.ids.tolist() == [1, 0, 2]
    np.testing.assert_allclose(tracks.xy, [[29, 37], [5, 5], [50, 9]])
    assert np.isfinite(tracks.velocity[:, 0]).tolist() == [True, False, False]


def test_another_goes_on_from_a_saved_state(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (6, *SIZE, 3), dtype=np.uint8)
    tracker, results = network(causal=True, polish=True), []
    with LiveTracker(tracker) as live:
        for moment in range(3):
            live.submit(frames[moment], moment, [[20.0, 15.0], [40.0, 30.0]] if not moment else None)
            live.wait()
        live.remove([0])
        live.submit(frames[3], 3.0)
        live.wait()
        save_state(live.state, tmp_path / "state")
        for after in (live, LiveTracker(tracker, state=load_state(tmp_path / "state"))):
            assert after.submit(frames[4], 4.0, [[9.0, 9.0]]) == [2]
            after.wait()
            results.append(after.latest(4.0))
            after.close()
    one, other = results
    assert one.ids.tolist() == other.ids.tolist() == [1, 2]
    np.testing.assert_array_equal(one.xy, other.xy)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    with pytest.raises(BadInput, match="where the stream has 48x64"):
        LiveTracker(tracker, state=load_state(tmp_path / "state")).submit(frame(size=(9, 9)))


class Runs:
    """What a hostile file would run when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return np.fromfile, ("ran",)


@pytest.mark.parametrize("state", [Runs(), network], ids=["a function of numpy", "a function"])
def test_a_state_that_would_run_something_is_refused(state: Any, tmp_path: Path) -> None:
    save_state(state, tmp_path / "state")
    with pytest.raises(BadInput, match="is no state of a tracker of this version"):
        load_state(tmp_path / "state")
    with pytest.raises(BadInput, match="is no state"):
        load_state(tmp_path / "none")


def test_velocities_are_slopes_by_the_times_of_the_frames() -> None:
    results: list[LiveTracks] = []
    times = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 2.0, 2.1]  # black at 0.4; a gap before 2.0
    with LiveTracker(LineTracker(), results.append) as live:
        for moment in times:
            live.submit(frame(0 if moment == 0.4 else 7), moment, [[10, 40]] if moment == 0 else None)
            live.wait()
    known = [bool(np.isfinite(tracks.velocity).all()) for tracks in results]
    assert known == [False, True, True, True, False, False, True, False, True]
    for tracks, is_known in zip(results, known, strict=True):
        if is_known:
            np.testing.assert_allclose(tracks.velocity, [[30, -10]], rtol=1e-4)
    assert [bool(tracks.visible[0]) for tracks in results] == [moment != 0.4 for moment in times]


def test_what_is_stale_is_hidden() -> None:
    with LiveTracker(LineTracker(), stale_after_s=0.5) as live:
        live.submit(frame(), 10.0, [[10, 20]])
        live.wait()
        now, later = live.latest(10.4), live.latest(10.6)
        assert now is not None
        assert later is not None
        assert now.visible.all()
        assert not later.visible.any()
        assert (later.confidence == 0).all()
        assert np.isnan(later.velocity).all()


def test_bad_input_is_refused_in_one_line() -> None:
    with LiveTracker(LineTracker()) as live:
        live.submit(frame(), 1.0, [[10, 20]])
        with pytest.raises(BadInput, match="32x32 where the stream has 48x64"):
            live.submit(frame(size=(32, 32)), 2.0)
        with pytest.raises(BadInput, match=r"of 0.5 s and the one before of 1 s"):
            live.submit(frame(), 0.5)
        with pytest.raises(BadInput, match=r"x=64\.5"):
            live.submit(frame(), 3.0, [[64.5, 3]])
        with pytest.raises(BadInput, match="points have shape"):
            live.submit(frame(), 3.0, [[1, 2, 3]])
        assert live.submit(frame(), 3.0, [[1, 2]]) == [1], "what was refused took no id"
    with pytest.raises(BadInput, match="was closed"):
        live.submit(frame(), 4.0)
    with pytest.raises(BadInput, match="needs the whole video"):
        LiveTracker(object())


def test_a_failure_in_the_thread_is_heard_by_whoever_comes_next() -> None:
    live = LiveTracker(LineTracker())
    live.submit(frame(99), 0.0, [[10, 20]])
    for ask in (live.wait, live.latest, lambda: live.submit(frame(), 1.0)):
        with pytest.raises(BadInput, match=r"live tracking has failed \(the device is gone\)"):
            ask()
    live.close()
