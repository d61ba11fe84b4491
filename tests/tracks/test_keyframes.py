"""A network that looks at every n-th frame: patches follow the points between, lost ones hide, and nothing else changes."""

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import tapetum
from tapetum.core.errors import BadInput
from tapetum.tracks import keyframes
from tapetum.tracks.keyframes import KeyframeTracker, RealtimeTracker
from tapetum.tracks.live import LiveTracker
from tapetum.tracks.tracker import FrameTracks
from tapetum.video import write_video

Run = Callable[..., tuple[int, str, str]]
STEP = np.array([3.0, -2.0])
POINTS = np.array([[100.0, 120.0], [150.0, 100.0]], np.float32)


def frames(count: int, side: int = 256) -> np.ndarray:
    """Make a texture that moves by `STEP` in each frame."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(side + 200, side + 200)), 2.0)
    texture = np.uint8(255 * np.clip(noise / noise.std() / 6 + 0.5, 0, 1))
    parts = [texture[100 + 2 * t : 100 + 2 * t + side, 100 - 3 * t : 100 - 3 * t + side] for t in range(count)]
    return np.stack(parts)[..., None].repeat(3, -1)


@dataclass
class Exact:
    """A tracker that knows where the points of `frames` are, and counts what it is shown."""

    looked: list[int] = field(default_factory=list)
    hidden: frozenset[int] = frozenset()
    unsure: frozenset[int] = frozenset()
    """Frames in which it sees no point."""

    def start(self, frame: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(point, np.float32) - self.moved(frame) for point in points]

    def add(self, stream: list[np.ndarray], frame: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
        return stream + self.start(frame, points)

    def keep(self, stream: list[np.ndarray], index: list[int]) -> list[np.ndarray]:
        return [stream[number] for number in index]

    def step(self, stream: list[np.ndarray], frame: np.ndarray) -> tuple[list[np.ndarray], FrameTracks]:
        self.looked.append(number(frame))
        seen = np.array([each not in self.hidden and number(frame) not in self.unsure for each in range(len(stream))])
        xy = np.array(stream, np.float32).reshape(-1, 2) + np.float32(self.moved(frame))
        return stream, FrameTracks(xy, seen, np.where(seen, 0.9, 0.1).astype(np.float32), np.arange(len(stream)))

    @staticmethod
    def moved(frame: np.ndarray) -> np.ndarray:
        return number(frame) * STEP


CLIP = frames(12)


def number(frame: np.ndarray) -> int:
    """Tell the number of a frame of `CLIP` by its last row, which no patch reaches."""
    return int((CLIP[:, -1] == frame[-1]).all((1, 2)).argmax())


def followed(tracker: KeyframeTracker, clip: np.ndarray = CLIP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Track `POINTS` through a clip: places, visibility and confidence (frames, points, ...)."""
    stream, seen = tracker.start(clip[0], POINTS), list[FrameTracks]()
    for frame in clip:
        stream, now = tracker.step(stream, frame)
        seen.append(now)
    return np.stack([s.xy for s in seen]), np.stack([s.visible for s in seen]), np.stack([s.confidence for s in seen])


@pytest.mark.parametrize("every", [2, 5])
def test_between_keyframes_points_are_where_the_image_moved(every: int) -> None:
    network = Exact()
    xy, visible, confidence = followed(KeyframeTracker(network, every))
    assert network.looked == list(range(0, 12, every))
    np.testing.assert_allclose(xy, POINTS + np.arange(12)[:, None, None] * STEP, atol=0.1)
    assert visible.all()
    assert (confidence > 0.85).all()


def test_every_frame_is_the_tracker_itself_to_the_bit() -> None:
    tracker = tapetum.load("causal-tapir-nano")
    small = np.ascontiguousarray(CLIP[:4, 60:188, 60:188])
    points = np.array([[40.0, 60.0], [80.0, 50.0]])
    one, other = tracker.start(small[0], points), KeyframeTracker(tracker, 1).start(small[0], points)
    for frame in small:
        one, expected = tracker.step(one, frame)
        other, actual = KeyframeTracker(tracker, 1).step(other, frame)
        for name in ("xy", "visible", "confidence", "covariance"):
            assert np.array_equal(getattr(expected, name), getattr(actual, name)), name


def test_a_patch_that_is_covered_hides_its_point_until_it_is_found_again() -> None:
    clip = CLIP.copy()
    for t in (2, 3):
        x, y = (POINTS[0] + t * STEP).astype(int)
        clip[t, y - 25 : y + 25, x - 25 : x + 25] = np.random.default_rng(t).integers(0, 256, (50, 50, 3))
    xy, visible, confidence = followed(KeyframeTracker(Exact(), 6), clip)
    assert visible[:, 0].tolist() == [True, True, False, False] + [True] * 8
    assert (confidence[2:4, 0] <= 0.5).all()
    assert visible[:, 1].all()
    np.testing.assert_allclose(xy[4:, 0], POINTS[0] + np.arange(4, 12)[:, None] * STEP, atol=0.1)


def test_a_place_that_leads_elsewhere_in_the_frame_before_is_hidden() -> None:
    tracker = KeyframeTracker(Exact(), 5)
    stream = tracker.start(CLIP[0], POINTS)
    for frame in CLIP[:2]:
        stream, _ = tracker.step(stream, frame)
    assert stream.image is not None
    elsewhere = replace(stream, image=stream.image.roll(3, 1))
    noisy = CLIP[2].copy()
    noisy[:-1] = (noisy[:-1] + np.random.default_rng(2).normal(0, 130, (255, 256, 1))).clip(0, 255)
    _, usual = tracker.step(stream, noisy)
    assert ((usual.confidence > 0.7) & (usual.confidence < 0.9)).all()  # else places are not checked
    _, sure = tracker.step(elsewhere, CLIP[2])
    assert sure.visible.all()
    elsewhere, hidden = tracker.step(elsewhere, noisy)
    assert (hidden.confidence == 0.5).all()
    assert not hidden.visible.any()
    np.testing.assert_array_equal(hidden.xy, usual.xy)
    assert tracker.step(elsewhere, CLIP[3])[1].visible.all()


def test_carried_points_have_the_covariance_of_the_keyframe_and_of_the_alignment() -> None:
    def covariances(clip: np.ndarray) -> np.ndarray:
        network = Exact()
        network.step = lambda stream, frame: (stream, replace(step(stream, frame)[1], covariance=own))
        tracker, all_ = KeyframeTracker(network, 6), list[Any]()
        stream = tracker.start(clip[0], POINTS)
        for frame in clip[:6]:
            stream, now = tracker.step(stream, frame)
            all_.append(now.covariance)
        return np.stack(all_)

    step, own = Exact().step, np.array([[[4, 0], [0, 1]], [[9, 0], [0, 2]]], np.float32)
    noisy = CLIP.copy()
    noisy[1:, :-1] = (noisy[1:, :-1] + np.random.default_rng(0).normal(0, 25, noisy[1:, :-1].shape)).clip(0, 255)
    same, more = covariances(CLIP), covariances(noisy)
    np.testing.assert_allclose(same[0], own)
    np.testing.assert_allclose(same[1:], np.broadcast_to(own, (5, 2, 2, 2)), atol=0.05)
    assert (np.trace(more[1:], axis1=2, axis2=3) > np.trace(same[1:], axis1=2, axis2=3) + 0.002).all()
    assert (abs(more[1:] - own) < 3).all()


def test_what_the_network_does_not_see_is_hidden_between_too() -> None:
    _, visible, _ = followed(KeyframeTracker(Exact(hidden=frozenset({1})), 4))
    assert visible[:, 0].all()
    assert not visible[:, 1].any()


def test_a_patch_that_was_followed_to_where_the_network_is_unsure_keeps_its_point_visible() -> None:
    _, visible, confidence = followed(KeyframeTracker(Exact(unsure=frozenset({4}), hidden=frozenset({1})), 4))
    assert visible[:, 0].all()
    assert (confidence[4:, 0] > 0.8).all()
    assert not visible[:, 1].any()


def test_black_frames_hide_all() -> None:
    clip = CLIP.copy()
    clip[3] = 0
    _, visible, confidence = followed(KeyframeTracker(Exact(), 5), clip)
    assert not visible[3].any()
    assert (confidence[3] == 0).all()
    assert visible[4:].all()


def test_points_that_come_and_go_make_a_keyframe() -> None:
    network = Exact()
    tracker = KeyframeTracker(network, 10)
    stream = tracker.start(CLIP[0], POINTS)
    stream, _ = tracker.step(stream, CLIP[0])
    stream, _ = tracker.step(stream, CLIP[1])
    stream = tracker.add(stream, CLIP[2], np.array([[60.0, 90.0]]))
    stream, seen = tracker.step(stream, CLIP[2])
    assert network.looked == [0, 2]
    assert len(seen.xy) == len(stream) == 3
    stream, seen = tracker.step(stream, CLIP[3])
    np.testing.assert_allclose(seen.xy[2], np.array([60.0, 90.0]) + STEP, atol=0.1)
    stream = tracker.keep(stream, [2])
    stream, seen = tracker.step(stream, CLIP[4])
    assert network.looked == [0, 2, 4]
    assert len(seen.xy) == 1


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(BadInput, match="every is 0; it must be auto, or 1 or more"):
        KeyframeTracker(Exact(), 0)
    with pytest.raises(BadInput, match="tuple needs the whole video"):
        KeyframeTracker((), 2)
    with pytest.raises(BadInput, match="this stream is a list, of another kind of tracker"):
        KeyframeTracker(Exact(), 2).step(Exact().start(CLIP[0], POINTS), CLIP[0])  # type: ignore[arg-type]
    tracker = KeyframeTracker(tapetum.load("causal-tapir-nano"), 3)
    stream = tracker.start(CLIP[0], POINTS)
    for _ in range(2):
        stream, _ = tracker.step(stream, CLIP[0])
    with pytest.raises(BadInput, match="a frame is 128x256 where the stream has 256x256"):
        tracker.step(stream, CLIP[1][:128])


def test_it_tracks_in_a_thread_and_by_the_command(tmp_path: Path, run: Run) -> None:
    with LiveTracker(tapetum.load("causal-tapir-nano"), every=3) as live:
        for frame in range(4):
            live.submit(CLIP[frame], float(frame), points=POINTS.tolist() if not frame else None)
            live.wait()
        tracks = live.latest(4.0)
    assert tracks is not None
    np.testing.assert_allclose(tracks.xy, POINTS + 3 * STEP, atol=0.5)
    write_video(tmp_path / "clip.mp4", CLIP[:5], 10)
    made = tapetum.track_live(str(tmp_path / "clip.mp4"), every=2, grid=2, out=tmp_path / "out", no_overlay=True)
    assert made.tracks.frames == 5
    for option in ("--every=2", "--realtime"):
        code, _, err = run("track", tmp_path / "clip.mp4", option)
        assert (code, f"{option.partition('=')[0]} belongs to --online" in err) == (2, True)
    code, _, err = run("track", tmp_path / "clip.mp4", "--online", "--every", 2, "--realtime")
    assert (code, "leave one out" in err) == (2, True)
    made = tapetum.track_live(str(tmp_path / "clip.mp4"), realtime=True, grid=2, out=tmp_path / "real", no_overlay=True)
    assert made.tracks.frames == 5


@dataclass
class Slow(Exact):
    """It finishes a frame after the first one only when it is told to."""

    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))
    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def step(self, stream: list[np.ndarray], frame: np.ndarray) -> tuple[list[np.ndarray], FrameTracks]:
        self.began.release()
        assert self.go.acquire(timeout=60)
        return super().step(stream, frame)


def test_in_real_time_what_the_network_found_is_carried_to_the_newest_frame() -> None:
    network = Slow(hidden=frozenset({1}))
    tracker = RealtimeTracker(network)
    stream, seen = tracker.step(tracker.start(CLIP[0], POINTS), CLIP[0])
    assert seen.visible.tolist() == [True, False]
    network.hidden = frozenset()
    for t in range(1, 5):  # the network looks at frame 1 all the time
        stream, seen = tracker.step(stream, CLIP[t])
        np.testing.assert_allclose(seen.xy[0], POINTS[0] + t * STEP, atol=0.1)
        assert seen.visible.tolist() == [True, False]
    assert network.looked == [0]
    network.go.release()
    assert stream.pending is not None
    stream.pending.result.result()
    stream, seen = tracker.step(stream, CLIP[5])
    assert network.looked == [0, 1]
    np.testing.assert_allclose(seen.xy[0], POINTS[0] + 5 * STEP, atol=0.1)
    network.go.release(3)
    stream = tracker.add(stream, CLIP[6], np.array([[60.0, 90.0]]))  # waits for frame 5
    stream, seen = tracker.step(stream, CLIP[6])
    assert network.looked == [0, 1, 5, 6]
    np.testing.assert_allclose(seen.xy, [*(POINTS + 6 * STEP), [60, 90]], atol=0.1)
    assert seen.visible.all()
    assert len(tracker.keep(stream, [0])) == 1


@pytest.mark.parametrize("at_once", [64, 8])
def test_what_moved_too_far_meanwhile_is_followed_from_frame_to_frame(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyframes, "AT_ONCE", at_once)
    followed_at = list[int]()
    follow = keyframes._Lost.follow
    monkeypatch.setattr(keyframes._Lost, "follow", lambda lost, now: followed_at.append(len(lost.rows)) or follow(lost, now))
    points = np.concatenate([POINTS, POINTS[1:] - 20])
    network = Slow(hidden=frozenset({1, 2}))
    tracker = RealtimeTracker(network)
    stream, _ = tracker.step(tracker.start(CLIP[0], points), CLIP[0])
    network.hidden = frozenset()
    for t in range(1, 9):  # the network looks at frame 1, and sees the second point for the first time
        stream, seen = tracker.step(stream, CLIP[t])
        assert not seen.visible[1:].any()
    network.go.release(1)
    assert stream.pending is not None
    stream.pending.result.result()
    stream, seen = tracker.step(stream, CLIP[9])
    assert seen.visible.tolist() == [True, True, at_once == 64]
    stream, seen = tracker.step(stream, CLIP[10])  # meanwhile the network looks at frame 9
    network.go.release()
    assert seen.visible.all()
    np.testing.assert_allclose(seen.xy, points + 10 * STEP, atol=0.1)
    assert followed_at == ([2] if at_once == 64 else [2, 1])


MODES = {"every 3": lambda tracker: KeyframeTracker(tracker, 3), "realtime": RealtimeTracker}
BOTH = pytest.mark.parametrize("make", MODES.values(), ids=MODES)
"""Either mode, of a tracker."""
Make = Callable[[Exact], KeyframeTracker]


@dataclass
class Timed(Exact):
    """It takes so many seconds, by a clock of its own."""

    seconds: float = 0.0
    clock: float = 0.0

    def step(self, stream: list[np.ndarray], frame: np.ndarray) -> tuple[list[np.ndarray], FrameTracks]:
        self.clock += self.seconds
        return super().step(stream, frame)


@pytest.mark.parametrize(
    ("seconds", "every", "words"),
    [(0.03, 1, "every 1 was chosen; give"), (0.09, 3, "90 ms here"), (1.0, 8, "every 8 was chosen, which is still too slow")],
)
def test_auto_looks_as_often_as_the_machine_can(
    seconds: float, every: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Timed(seconds=seconds)
    monkeypatch.setattr(keyframes.time, "perf_counter", lambda: network.clock)
    tracker = KeyframeTracker(network, "auto", 25)
    xy, _, _ = followed(tracker)
    np.testing.assert_allclose(xy, POINTS + np.arange(12)[:, None, None] * STEP, atol=0.1)
    assert tracker.choice is not None
    assert tracker.every == every
    assert words in tracker.choice
    assert network.looked == {1: [*range(12)], 3: [*range(10)], 8: [0, 1, 2, 10]}[every]


def test_the_command_says_what_auto_chose(tmp_path: Path, run: Run) -> None:
    write_video(tmp_path / "clip.mp4", CLIP, 10)
    words = ("track", tmp_path / "clip.mp4", "--online", "--every", "auto", "--fps", 5, "--grid", 2, "--no-overlay")
    code, _, err = run(*words, "--out", tmp_path / "out")
    assert code == 0
    assert "--every auto: the network takes" in err
    assert "frames come every 200 ms: every" in err
    assert "give that number for the same result on any machine" in err


@BOTH
def test_frames_that_repeat_and_dark_ones_keep_the_points(make: Make) -> None:
    clip = CLIP[[0, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8]].copy()
    tracker = make(Exact())
    stream = tracker.start(clip[0], POINTS)
    for number_, frame in enumerate(clip):
        if number_ == 5:
            stream, seen = tracker.step(stream, np.zeros_like(frame))
            assert not seen.visible.any()
            assert not seen.confidence.any()
        stream, seen = tracker.step(stream, frame)
        if stream.pending is not None:
            stream.pending.result.result()
    np.testing.assert_allclose(seen.xy, POINTS + 8 * STEP, atol=0.1)
    assert seen.visible.all()


@BOTH
@pytest.mark.parametrize("count", [0, 2000])
def test_no_point_and_two_thousand(make: Make, count: int) -> None:
    tracker = make(Exact())
    points = np.random.default_rng(0).uniform(80, 180, (count, 2)).astype(np.float32)
    stream = tracker.start(CLIP[0], POINTS) if not count else tracker.start(CLIP[0], points)
    stream = stream if count else tracker.keep(stream, [])
    for frame in CLIP[:3]:
        stream, seen = tracker.step(stream, frame)
    assert seen.xy.shape == (count, 2)
    np.testing.assert_allclose(seen.xy, points + 2 * STEP, atol=0.2)


@BOTH
def test_a_stream_does_not_grow(make: Make) -> None:
    tracker, sizes = make(Exact()), []
    stream, _ = tracker.step(tracker.start(CLIP[0], POINTS), CLIP[0])
    for t in range(120):
        stream, _ = tracker.step(stream, CLIP[abs(t % 22 - 11)])
        if t % 30 == 17:
            sizes.append(len(pickle.dumps(stream)))
    assert max(sizes) - min(sizes) < 1000, sizes


def test_a_network_that_fails_in_real_time_is_heard_of() -> None:
    @dataclass
    class Failing(Exact):
        def step(self, stream: list[np.ndarray], frame: np.ndarray) -> tuple[list[np.ndarray], FrameTracks]:
            if number(frame) >= 3:  # frames are left out on a busy machine
                raise RuntimeError("the device is gone")
            return super().step(stream, frame)

    def feed(live: LiveTracker) -> None:
        for t, frame in enumerate(CLIP):
            live.submit(frame, t, points=POINTS.tolist() if not t else None)
            live.wait()

    with LiveTracker(Failing(), realtime=True) as live:
        with pytest.raises(BadInput, match=r"failed \(the device is gone\)"):
            feed(live)
        assert live.state.ids == (0, 1), "the points of the frame before are kept"


def test_a_pipe_that_ends_within_a_frame_keeps_what_came(tmp_path: Path) -> None:
    parts = [b"YUV4MPEG2 W256 H256 F25:1 Cmono\n", *(b"FRAME\n" + frame[..., 0].tobytes() for frame in CLIP[:4])]
    (tmp_path / "cut.y4m").write_bytes(b"".join(parts)[:-9000])
    modes: list[dict[str, Any]] = [{"every": 2}, {"realtime": True}]
    for mode in modes:
        with pytest.raises(BadInput, match="the video ended within a frame; check what sends it") as caught:
            tapetum.track_live(str(tmp_path / "cut.y4m"), grid=2, out=tmp_path / "out", no_overlay=True, **mode)
        assert caught.value.__notes__ == [f"what was followed until then, 3 frames, is in {tmp_path / 'out'}"]
        with np.load(tmp_path / "out" / "tracks.npz") as tracks:
            assert tracks["xy"].shape == (4, 3, 2)
