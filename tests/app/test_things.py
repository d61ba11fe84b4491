"""Things through a video: exact motions with a tracker that knows the truth, and all of it with a tiny model."""

from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.files import listed
from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.tracks.boxes import BoxTracks
from tapetum.tracks.follow import BoxTracker, to_box_tracks
from tapetum.tracks.tracker import Tracker
from tapetum.types import Boxes, Tracks
from tapetum.video import open_video

WORLD = script("tests/golden/make_paligemma_taught_golden.py")
MODEL = str(GOLDEN / "paligemma_taught.safetensors")
FRAMES = 60


class Truth(Tracker):
    """A tracker in a world where everything moves 2 pixels to the right a frame and grows by 1 % of its size, and which sees
    nothing in the frames `hidden`; it knows the frame of a part by its content."""

    def __init__(self, hidden: range):
        self.hidden = hidden

    def track(self, video, queries, /, *, progress=None) -> Tracks:
        numbers = np.array([int(frame[0, 0, 0]) for frame in video])
        begun = numbers[queries[:, 0].astype(int)]
        origin = (queries[:, 1:] - (2 * begun)[:, None]) / (1 + 0.01 * begun)[:, None]
        xy = origin[:, None] * (1 + 0.01 * numbers)[None, :, None] + np.stack([2 * numbers, 2 * numbers], -1)
        visible = np.broadcast_to(~np.isin(numbers, list(self.hidden)), xy.shape[:2])
        return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=queries)


def box_at(frame: int, corner: float = 20) -> np.ndarray:
    origin = np.array([corner, corner, corner + 30, corner + 20])
    return origin * (1 + 0.01 * frame) + 2 * frame


def video():
    frames = np.zeros((FRAMES, 256, 256, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(FRAMES)
    return open_video(frames, frame_rate=10)


def test_a_thing_is_followed_both_ways_and_found_again():
    def look(frame: int) -> Boxes:
        there = frame >= 4 and frame not in range(30, 41)
        return Boxes(xyxy=box_at(frame)[None] if there else np.zeros((0, 4)), labels=["cup"] * there, scores=[0.8] * there)

    clip = video()
    follower = BoxTracker(clip, Truth(range(30, 41)), look, every=5)
    boxes = to_box_tracks(follower.run(), clip)
    assert boxes.labels == ("cup",)
    assert follower.detector_frames == [0, 5, 30, 35, 40, 45]
    assert np.flatnonzero(boxes.detected[0]).tolist() == [5, 45]
    shown = np.ones(FRAMES, bool)
    shown[30:41] = False
    assert (boxes.shown[0] == shown).all()
    for frame in np.flatnonzero(shown):
        np.testing.assert_allclose(boxes.xyxy[0, frame], box_at(frame), atol=1e-2)
    assert boxes.scores[0, 20] == pytest.approx(0.8)
    assert (boxes.xyxy[0, 35] == boxes.xyxy[0, 29]).all()


def test_short_gaps_are_bridged_and_new_things_are_met():
    def look(frame: int) -> Boxes:
        corners = [20.0] if frame < 10 else [20.0, 100.0]
        return Boxes(xyxy=[box_at(frame, corner) for corner in corners], labels=["cup", "ball"][: len(corners)])

    clip = video()
    boxes = to_box_tracks(BoxTracker(clip, Truth(range(8, 10)), look, every=1).run(), clip)
    assert boxes.shown[0].all()
    np.testing.assert_allclose(boxes.xyxy[0, 8], box_at(8), atol=0.1)
    assert boxes.labels == ("cup",)  # nothing was lost, so nobody looked again
    again = to_box_tracks(BoxTracker(clip, Truth(range(9, 14)), look, every=1).run(), clip)
    assert again.labels == ("cup", "ball")
    assert again.detected[1, 10]


def test_nothing_found_is_no_error():
    clip = video()
    follower = BoxTracker(clip, Truth(range(0)), lambda frame: Boxes(xyxy=np.zeros((0, 4))), every=20)
    boxes = to_box_tracks(follower.run(), clip)
    assert len(boxes) == 0
    assert boxes.frames == FRAMES
    assert follower.detector_frames == [0, 20, 40]


def still() -> np.ndarray:
    return np.stack([WORLD.make_image("red", "right")] * 5)


def test_words_find_a_thing_and_its_table_and_overlay_are_written(tmp_path: Path):
    things = tapetum.track_things(still(), "square", model=MODEL, tracker="static", out=tmp_path / "out")
    assert things.boxes.labels == ("square",)
    np.testing.assert_allclose(things.boxes.xyxy[0], [WORLD.box("right")] * 5, atol=0.1)
    assert things.looked == (0,)
    assert set(listed(tmp_path / "out")) == {"boxes.npz", "boxes.csv", "overlay.mp4"}
    again = BoxTracks.load(tmp_path / "out" / "boxes.npz")
    assert (again.xyxy == things.boxes.xyxy).all()
    drawn = open_video(tmp_path / "out" / "overlay.mp4")
    assert len(drawn) == 5
    assert np.abs(drawn[2].astype(int) - WORLD.make_image("red", "right")).max() > 60
    rows = things.as_json()["things"]
    assert rows == [{"label": "square", "frames_shown": 5, "times_found": 1}]


@pytest.mark.slow
def test_a_network_follows_what_the_words_found():
    rng = np.random.default_rng(0)
    texture = np.clip(np.array(WORLD.COLOURS["red"]) + rng.integers(-25, 25, (16, 16, 1)), 0, 255).astype(np.uint8)
    ground = np.clip(128 + rng.integers(-6, 6, (56, 56, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
    frames = np.stack([ground] * 15)
    for k in range(15):
        frames[k, 8:24, 6 + 2 * k : 22 + 2 * k] = texture
    large = frames.repeat(4, 1).repeat(4, 2)
    things = tapetum.track_things(large, "square", model=MODEL)
    truth = np.array([[(6 + 2 * k) * 4, 32, (22 + 2 * k) * 4, 96] for k in range(15)])
    assert things.boxes.shown[0].all()
    assert np.abs(things.boxes.xyxy[0] - truth).max() < 6


def test_what_cannot_be_followed_is_refused_in_one_line(tmp_path: Path):
    cases = [
        ((WORLD.make_image("red")[None], "square"), {}, "is one image; --track follows things through a video"),
        ((still(), " ; "), {}, "no thing was named"),
        ((still(), "square"), {"frames": 3}, "--frames does not go with --track"),
        ((still(), "square"), {"look_every": 0}, "--look-every is 0"),
        ((still(), "square"), {"tracker": "tapir-nanoo"}, "did you mean tapir-nano"),
        ((tmp_path / "none.mp4", "square"), {}, "there is no file"),
    ]
    for words, more, message in cases:
        with pytest.raises(BadInput, match=message) as caught:
            tapetum.track_things(*words, **{"model": MODEL} | more)
        assert "\n" not in str(caught.value)
