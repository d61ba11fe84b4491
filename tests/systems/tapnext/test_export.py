"""Exported programs of TAPNext under onnxruntime and torch.export, beside the tracker they come from."""

from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from support.tapnext import public_state
from tapetum.systems.tapnext import from_official
from tapetum.systems.tapnext.export import clip_program, left_out, live_programs
from tapetum.systems.tapnext.tracker import TapNextTracker
from tapetum.tracks.programs import export

SIZE, POINTS = (32, 48), 3


@pytest.fixture
def tracker() -> TapNextTracker:
    """Build a tiny tracker."""
    return TapNextTracker(from_official(public_state()))


def test_a_clip_gives_our_predictions(tracker: TapNextTracker, tmp_path: Path) -> None:
    program = clip_program(tracker, frames=4, size=SIZE, points=POINTS)
    loaded = torch.export.load(export(program, tmp_path / "clip.pt2")).module()
    draw = torch.Generator().manual_seed(0)
    video = torch.rand(1, 4, *SIZE, 3, generator=draw) * 2 - 1
    queries = torch.tensor([[[0.0, 10.5, 12], [3, 40.25, 30], [1, 2, 31.5]]])
    with torch.no_grad():
        ours = tracker.model(video, queries)
        xy, visible = loaded(video, queries)
    assert (xy - ours.xy).abs().max() < 1e-3
    assert (visible - ours.visible_logits).abs().max() < 1e-5
    assert left_out(tracker) == ("frames before that of a query",)
    assert left_out(tracker, live=True) == ()


@pytest.mark.slow
def test_onnx_programs_frame_by_frame_are_our_stream(
    tracker: TapNextTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.onnx, "export", partial(torch.onnx.export, optimize=False))  # which takes most of the time
    frames = np.random.default_rng(2).integers(0, 256, (6, *SIZE, 3), dtype=np.uint8)
    points = np.array([[10.5, 12], [40.25, 30], [2, 31.5]], np.float32)
    programs = live_programs(tracker, size=SIZE, points=POINTS)
    begin, go_on = (
        onnxruntime.InferenceSession(export(program, tmp_path / f"{name}.onnx"))
        for program, name in zip(programs, ("start", "step"), strict=True)
    )
    stream = tracker.start(frames[0], points)
    for number, frame in enumerate(frames):
        stream, ours = tracker.step(stream, frame)
        image = (frame.astype(np.float32) / 127.5 - 1)[None, None]
        if number == 0:
            _, _, *state = begin.run(None, {"frame": image, "points": points[None]})
            continue  # where the tracker answers with the query
        tracks, visible, *state = go_on.run(None, {"frame": image, "hidden": state[0], "conv": state[1]})
        np.testing.assert_allclose(tracks[0, :, 0], ours.xy, atol=1e-3)
        np.testing.assert_allclose(1 / (1 + np.exp(-visible[0, :, 0])), ours.confidence, atol=1e-5)
