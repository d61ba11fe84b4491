"""Exported programs under onnxruntime and torch.export, beside the tracker they come from."""

from dataclasses import replace
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch

from support.networks import TAPIR, tracker
from tapetum.systems.tap.export import clip_program, left_out, live_program
from tapetum.systems.tap.second_pass import track_passes
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.tracks.programs import export

TINY = replace(
    TAPIR, extra_convs=1, initial_resolution=(32, 32), antialias=True, refine_at_least=(48, 48), iterations=1, mixer_blocks=1
)
SIZE, POINTS = (40, 56), 3


def network(**changes) -> TapirTracker:
    return tracker(TINY, **changes)


def images(frames: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (1, frames, *SIZE, 3)).astype(np.float32)


def queries(last: float) -> np.ndarray:
    return np.array([[[0, 3, 4], [last, 30.5, 20.25], [0.5 * last, 50, 39]]], np.float32)


@pytest.mark.slow
def test_onnx_and_torch_export_of_a_clip_give_our_tracks(tmp_path):
    tracker, video, asked = network(), images(4), queries(3)
    program = clip_program(tracker, frames=4, size=SIZE, points=POINTS)
    session = onnxruntime.InferenceSession(export(program, tmp_path / "clip.onnx"))
    found = session.run(list(program.outputs), {"video": video, "queries": asked})
    loaded = torch.export.load(export(program, tmp_path / "clip.pt2")).module()
    with torch.no_grad():
        ours = tracker.model(torch.from_numpy(video), torch.from_numpy(asked))
        again = loaded(torch.from_numpy(video), torch.from_numpy(asked))
    for name, theirs, torchs in zip(program.outputs, found, again, strict=True):
        np.testing.assert_allclose(theirs, getattr(ours, name).numpy(), atol=1e-3, rtol=0, err_msg=name)
        np.testing.assert_allclose(torchs.numpy(), getattr(ours, name).numpy(), atol=1e-3, rtol=0, err_msg=name)


@pytest.fixture
def as_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX programs as they are traced: making their graphs smaller, as the test above has it, takes most of the time."""
    monkeypatch.setattr(torch.onnx, "export", partial(torch.onnx.export, optimize=False))


@pytest.mark.slow
@pytest.mark.usefixtures("as_traced")
def test_one_live_program_is_our_stream_with_points_that_come_and_go(tmp_path):
    tracker = network(causal=True)
    frames = np.random.default_rng(2).integers(0, 256, (6, *SIZE, 3), dtype=np.uint8)
    program = live_program(tracker, size=SIZE)
    session = onnxruntime.InferenceSession(export(program, tmp_path / "live.onnx"))
    first, second = queries(0)[0, :, 1:], np.array([[20.0, 10.0]], np.float32)
    rows = {name: np.zeros((0, *program.inputs[name].shape[1:]), np.float32) for name in ("features", "state")}
    stream = tracker.start(frames[0], first)
    for number, frame in enumerate(frames):
        new = {0: first, 3: second}.get(number, first[:0])
        if number == 3:
            stream = tracker.add(stream, frame, new)
        if number == 5:  # the new point alone
            stream, rows = tracker.keep(stream, [3]), {name: values[3:] for name, values in rows.items()}
        asked = np.concatenate([np.full((len(rows["state"]), 2), np.nan, np.float32), new])
        blank = {name: np.full((len(new), *values.shape[1:]), np.nan, np.float32) for name, values in rows.items()}
        rows = {name: np.concatenate([values, blank[name]]) for name, values in rows.items()}
        xy, confidence, *after = session.run(None, {"frame": frame, "query_xy": asked, **rows})
        rows = dict(zip(rows, after, strict=True))
        stream, seen = tracker.step(stream, frame)
        np.testing.assert_allclose(xy, seen.xy, atol=1e-4, rtol=0)
        np.testing.assert_allclose(confidence, seen.confidence, atol=1e-4, rtol=0)
        np.testing.assert_allclose(rows["features"][:, : stream.points.initial.shape[-1]], stream.points.initial[0], atol=1e-4)
    assert len(xy) == 1


def seeing(tracker: TapirTracker) -> TapirTracker:
    """The tracker, sure that it sees its points."""
    with torch.no_grad():
        tracker.model.mixer.outward.bias[2:4] -= 4
    return tracker


def test_looks_of_fixed_shape_are_the_second_pass():
    tracker, video, asked = seeing(network(second_pass=True)), torch.from_numpy(images(4)), torch.from_numpy(queries(3))
    with torch.no_grad():
        first, second = track_passes(tracker.model, video, asked)
        found = track_passes(tracker.model, video, asked, fixed_shapes=True)[-1]
    assert (first.confidence > 0.5).float().mean() > 0.5
    assert (first.tracks - second.tracks).abs().max() > 0.01
    assert (found.tracks - second.tracks).abs().max() < 1e-3
    assert (found.occlusion - second.occlusion).abs().max() < 1e-3


@pytest.mark.slow
@pytest.mark.usefixtures("as_traced")
def test_a_program_of_a_network_that_looks_twice_is_our_track_without_polish(tmp_path):
    tracker, asked = seeing(network(second_pass=True, polish=True)), queries(3)
    frames = np.random.default_rng(3).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
    assert left_out(tracker) == ("polish",)
    assert left_out(network()) == ()
    ours = tracker.track(frames, asked[0], polish=False)
    once = tracker.track(frames, asked[0], polish=False, second_pass=False)
    assert np.abs(ours.xy - once.xy).max() > 0.01
    program = clip_program(tracker, frames=4, size=SIZE, points=POINTS)
    session = onnxruntime.InferenceSession(export(program, tmp_path / "clip.onnx"))
    tracks, occlusion, _ = session.run(None, {"video": (frames / 127.5 - 1).astype(np.float32)[None], "queries": asked})
    np.testing.assert_allclose(tracks[0], ours.xy, atol=2e-3)
    assert np.isfinite(occlusion).all()
