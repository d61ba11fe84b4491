"""What a live run says of each frame, and of points that are lost."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import tapetum
from tapetum.app.track.live import TrackLiveOptions
from tapetum.app.track.live_run import LOST_FRAMES, LiveEvent, LiveFrame, LiveRun
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.tracks.tracker import FrameTracks
from tapetum.video.live import CapturedFrame


@dataclass
class Source:
    """Frames of 64x48, at 10 a second; a black one hides all points."""

    values: list[int]
    drop: bool = False
    dropped: int = 0
    frame_rate: float = 10.0

    def __iter__(self) -> Any:
        for number, value in enumerate(self.values):
            yield CapturedFrame(np.full((48, 64, 3), value, np.uint8), number, 0.0, number / 10)


@dataclass(frozen=True)
class Line:
    """Points that go one pixel of the frame that the tracker has to the right and two down from frame to frame."""

    xy: np.ndarray

    def __len__(self) -> int:
        return len(self.xy)


class LineTracker:
    """Moves points, with an error of variance 1 along x and 4 along y; has a `correct`, as trackers with networks do."""

    def correct(self) -> None: ...

    def start(self, frame: np.ndarray, points: Any, **_: Any) -> Line:
        return Line(np.asarray(points, np.float32) - [1, 2])

    def step(self, stream: Line, frame: np.ndarray) -> tuple[Line, FrameTracks]:
        after = replace(stream, xy=stream.xy + np.float32([1, 2]))
        visible = np.full(len(after.xy), bool(frame.any()))
        covariance = np.tile(np.float32([[1, 0.5], [0.5, 4]]), (len(after.xy), 1, 1))
        ids = np.arange(len(after.xy))
        chance = np.full(len(ids), 0.25, np.float32)
        return after, FrameTracks(after.xy, visible, visible.astype(np.float32), ids, covariance, chance)


class Notes(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def run_of(source: Source, **options: Any) -> tuple[LiveRun, Notes]:
    notes = Notes()
    given: dict[str, Any] = {"source": "-", "query": ((0, 8, 8), (0, 20, 8)), **options}
    run = LiveRun(source, LineTracker(), TrackLiveOptions(**given), notes)  # type: ignore[arg-type]
    for _ in run.painted():
        pass
    return run, notes


def test_lines_have_velocity_and_covariance_in_pixels_of_the_source_and_the_chance_of_an_error() -> None:
    frames: list[LiveFrame] = []
    run_of(Source([9, 9, 9, 0]), each=frames.append, resize="32x12")  # half as wide, a quarter as high
    lines = [frame.as_json()["points"] for frame in frames]
    assert [point["velocity"] for point in lines[0]] == [None, None]
    assert [point["velocity"] for point in lines[2]] == [pytest.approx([20, 80], rel=1e-4)] * 2
    assert lines[2][0]["covariance"] == [[4, 4], [4, 64]]
    assert lines[2][0]["chance_wrong"] == 0.25
    assert [lines[3][0][name] for name in ("visible", "velocity", "covariance", "chance_wrong")] == [False, None, None, None]


def test_one_event_when_most_points_are_lost_and_one_when_they_are_back() -> None:
    events: list[LiveEvent] = []
    dark, light = [0] * (LOST_FRAMES + 3), [9] * (LOST_FRAMES + 3)
    values = [0, *light, 0, 9, *dark, 9, 0, *light]
    run_of(Source(values), event=events.append)
    lost = 1 + len(light) + 2 + LOST_FRAMES - 1
    back = 1 + len(light) + 2 + len(dark) + 2 + LOST_FRAMES - 1
    assert [(event.event, event.frame, event.visible, event.points) for event in events] == [
        ("lost", lost, 0, 2),
        ("back", back, 2, 2),
    ]
    assert events[0].as_json()["type"] == "event"
    assert "begin again" in events[0].advice
    assert not events[1].advice
    _, notes = run_of(Source([9, *dark]))
    assert [note.partition(";")[0] for note in notes.notes] == [f"frame {LOST_FRAMES}: 2 of 2 points are lost"]
    assert run_of(Source([0, *dark, *dark]))[1].notes == []  # which were never seen


def test_frames_of_a_pipe_are_dropped_on_request(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, run: Any, clip: Any) -> None:
    asked: list[Any] = []

    def opened(source: str, *, drop: bool | None = None, lag: float) -> None:
        asked.append((drop, lag))
        raise BadInput("no source")

    monkeypatch.setattr("tapetum.video.LiveVideo", opened)
    for source, drop in (("-", True), ("rtsp://robot/front", False)):
        with pytest.raises(BadInput, match="no source"):
            tapetum.track_live(source, drop=drop, lag=0.3)
    assert asked == [(True, 0.3), (None, 0.3)]
    with pytest.raises(BadInput, match="--lag says which frames are dropped, and none of - is; give --drop"):
        tapetum.track_live("-", lag=0.3)
    with pytest.raises(BadInput, match=r"--drop is for frames that come by themselves, and the file .*clip\.mp4 waits"):
        tapetum.track_live(str(clip), drop=True)
    code, _, err = run("track", clip, "--drop", "--out", tmp_path / "out")
    assert (code, "--drop belongs to --online" in err) == (2, True)
