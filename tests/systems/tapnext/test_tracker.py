"""Videos and frames through the tracker of TAPNext."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tapetum
from support.tapnext import TINY, public_state
from tapetum.core.errors import BadInput
from tapetum.systems.tapnext import from_official
from tapetum.systems.tapnext.tracker import TapNextTracker
from tapetum.systems.tapnext.weights import save
from tapetum.video import write_video

VIDEO = np.random.default_rng(0).integers(0, 256, (9, 40, 60, 3), dtype=np.uint8)
FIRST = np.array([[0, 10.5, 12], [0, 50, 30.25], [0, 3, 39]], np.float32)
LATER = np.array([[0, 10.5, 12], [4, 50, 30.25], [8, 3, 39]], np.float32)


@pytest.fixture
def tracker() -> TapNextTracker:
    """Build a tracker whose places differ from point to point."""
    config = replace(TINY, image_size=(64, 64), video_size=(64, 64))
    return TapNextTracker(from_official(public_state(config)))


def test_tracks_are_those_of_the_network_in_pixels_of_the_video(tracker: TapNextTracker) -> None:
    large = VIDEO.repeat(2, 1).repeat(2, 2)[:, :64, :64]  # needs no resizing
    tracks = tracker.track(large, LATER * [1, 1, 1])
    frames = torch.from_numpy(large).float()[None] / 127.5 - 1
    with torch.no_grad():
        forward = tracker.model(frames, torch.from_numpy(LATER)[None])
        turned = torch.from_numpy(LATER * [-1, 1, 1] + [8, 0, 0]).float()[None]
        backward = tracker.model(frames.flip(1), turned)
    for point, time in enumerate((0, 4, 8)):
        assert np.abs(tracks.xy[point, time + 1 :] - forward.xy[0, point, time + 1 :].numpy()).max(initial=0) < 1e-3
        assert np.abs(tracks.xy[point, :time] - backward.xy.flip(2)[0, point, :time].numpy()).max(initial=0) < 1e-3
        assert tracks.xy[point, time].tolist() == LATER[point, 1:].tolist()
        assert tracks.confidence[point, time] == 1
        sure = backward.visible_logits.flip(2)[0, point, :time].sigmoid().numpy()
        assert np.abs(tracks.confidence[point, :time] - sure).max(initial=0) < 1e-5
    assert (tracks.visible == (tracks.confidence > 0.5)).all()
    for chunk in (1, 4):  # the last has one frame, also of the way back
        assert np.abs(tracker.track(large, LATER * [1, 1, 1], frame_chunk=chunk).xy - tracks.xy).max() < 1e-3


def test_frames_of_another_size_are_resized(tracker: TapNextTracker) -> None:
    small = np.full((3, 32, 32, 3), 90, np.uint8)
    points = np.array([[0, 10, 12], [1, 20, 30]], np.float32)
    here = tracker.track(small, points)
    there = tracker.track(np.full((3, 128, 64, 3), 90, np.uint8), points * [1, 2, 4])
    assert np.abs(there.xy - here.xy * [2, 4]).max() < 1e-2


def test_points_join_and_leave_a_stream(tracker: TapNextTracker) -> None:
    stream = tracker.start(VIDEO[0], FIRST[:2, 1:])
    for frame in VIDEO[:4]:
        stream, _ = tracker.step(stream, frame)
    stream = tracker.add(stream, VIDEO[4], [[50, 30.25]])
    stream, now = tracker.step(stream, VIDEO[4])
    assert now.xy[2].tolist() == [50, 30.25]
    assert now.confidence[2] == 1
    stream, _ = tracker.step(stream, VIDEO[5])
    stream = tracker.keep(stream, np.array([True, False, True]))
    stream, now = tracker.step(stream, VIDEO[6])
    assert now.ids.tolist() == [0, 2]
    stream = tracker.add(tracker.keep(stream, []), VIDEO[7], [[1, 2]])
    assert tracker.step(stream, VIDEO[7])[1].ids.tolist() == [3]
    assert len(stream) == 1
    with pytest.raises(BadInput, match="give one each"):
        tracker.keep(stream, np.array([True, False]))


@pytest.mark.slow
def test_commands_take_it_for_videos_and_streams(
    tracker: TapNextTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from tapetum.app.shell.main import main

    monkeypatch.chdir(tmp_path)
    save(tracker.model, "tiny.safetensors")
    write_video("v.mp4", VIDEO, 10)

    def run(*words: str) -> int:
        return main(["track", "v.mp4", "--model", "tiny.safetensors", *words])

    points = ["--query", "0,10,12", "--query", "4,50,30"]
    assert run(*points, "--out", "whole") == 0
    assert run(*points, "--online", "--out", "live") == 0
    whole, live = (np.load(f"{name}/tracks.npz") for name in ("whole", "live"))
    assert whole["xy"].shape == live["xy"].shape == (2, 9, 2)
    assert np.abs(whole["xy"][1, 4] - live["xy"][1, 4]).max() == 0
    assert (live["confidence"][1, :4] == 0).all()
    assert (whole["confidence"][1, :4] > 0).all()
    capsys.readouterr()
    for words, message in ((["--polish", "yes"], "--polish is of TAPIR"), (["--reference", "v.mp4"], "no --reference")):
        assert run(*words, "--out", "none") == 2
        assert message in capsys.readouterr().err


def test_tapetum_gives_the_system() -> None:
    assert tapetum.tapnext.from_official is from_official


def test_what_takes_tapir_alone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapetum.systems.tap.tracking.tracker import load

    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    (tmp_path / "tapnext.safetensors").touch()
    with pytest.raises(BadInput, match="not of the TAPIR family"):
        load("tapnext")
