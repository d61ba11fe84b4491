"""A table of a long video that was killed midway is the table of one run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from tapetum.core.errors import BadInput
from tapetum.systems import longvideo
from tapetum.systems.longvideo import embedding_rows, streaming
from tapetum.systems.longvideo.embedding_rows import load_state, save_state
from tapetum.video import write_video

SMALL: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
SMALL |= {"frames": 16, "segment_frames": 8, "memories": 3, "memory_cap": 7, "projection": 6}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    longvideo.save(longvideo.build_video_text("mcvit-nano", **SMALL), tmp_path / "longvideo.safetensors")
    for k, name in enumerate(("a", "b")):
        noise = np.random.default_rng(k).integers(0, 255, (50, 16, 16, 3), np.uint8)
        write_video(tmp_path / f"{name}.mp4", noise, 1)
    return tmp_path


def table(place: Path, out: str) -> Any:
    return tapetum.embed((place / "a.mp4", place / "b.mp4"), out=place / out, model=str(place / "longvideo.safetensors"))


@pytest.mark.parametrize("every", [0.0, 3600.0])
def test_a_table_goes_on_where_it_was_interrupted(place: Path, every: float, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table(place, "whole.npz")
    assert not [*place.glob("*.unfinished*")]
    monkeypatch.setattr(embedding_rows, "EVERY", every)
    steps, first = [], streaming.preprocess_frames

    def dies(model: Any, frames: np.ndarray) -> torch.Tensor:
        steps.append(len(frames))
        if len(steps) == 11:  # in the fourth segment of b
            raise KeyboardInterrupt
        return first(model, frames)

    monkeypatch.setattr(streaming, "preprocess_frames", dies)
    with pytest.raises(KeyboardInterrupt):
        table(place, "again.npz")
    assert not (place / "again.npz").exists()
    assert (place / "again.npz.unfinished").exists()
    again = table(place, "again.npz")
    assert len(steps) == 11 + (4 if every == 0 else 7)  # a is never looked at again, and of b what was not kept
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    assert (again.paths, again.start_s, again.stop_s) == (whole.paths, whole.start_s, whole.stop_s)
    assert not [*place.glob("*.unfinished*")]


@pytest.mark.slow
def test_what_was_begun_otherwise_is_not_gone_on_with(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_rows, "EVERY", 0.0)
    steps, first = [0], streaming.preprocess_frames

    def dies(model: Any, frames: np.ndarray) -> torch.Tensor:
        steps[0] += 1
        if steps[0] == 4:
            raise KeyboardInterrupt
        return first(model, frames)

    monkeypatch.setattr(streaming, "preprocess_frames", dies)
    with pytest.raises(KeyboardInterrupt):
        table(place, "x.npz")
    write_video(place / "a.mp4", np.zeros((20, 16, 16, 3), np.uint8), 1)  # another video: from its beginning
    made = table(place, "x.npz")
    assert made.paths.count(str(place / "a.mp4")) == 3
    steps[0] = 0
    with pytest.raises(KeyboardInterrupt):
        table(place, "x.npz")
    longvideo.save(longvideo.build_video_text("mcvit-nano", seed=1, **SMALL), place / "longvideo.safetensors")
    with pytest.warns(UserWarning, match="in weights; they are computed again"):
        other = table(place, "x.npz")
    assert not np.allclose(other.vectors, made.vectors)
    steps[0] = 0
    with pytest.raises(KeyboardInterrupt):
        table(place, "x.npz")
    (place / "x.npz.unfinished").unlink()  # and not what lies beside it
    longvideo.save(longvideo.build_video_text("mcvit-nano", **SMALL), place / "longvideo.safetensors")
    steps[0] = 4
    assert table(place, "x.npz").paths == made.paths
    (place / "x.npz.unfinished.state").write_bytes(b"x")
    with pytest.raises(BadInput, match="holds no state of a stream"):
        table(place, "x.npz")


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    for changes in ({}, {"cache_projected": True}, {"memory": "streaming", "pooling": "late"}):
        encoder = longvideo.build("mcvit-nano", **{**{k: v for k, v in SMALL.items() if k != "projection"}, **changes})
        video = torch.rand(1, 24, 16, 16, 3) * 2 - 1
        with torch.no_grad():
            state, _ = encoder.step(encoder.start(1, 24), video[:, :8])
            save_state(tmp_path / "state", 8, state, ["a", 1])
            found = load_state(tmp_path / "state")
            assert found is not None
            assert (found.frames, found.about) == (8, ["a", 1])
            for part in (video[:, 8:16], video[:, 16:]):
                state, wanted = encoder.step(state, part)
                again, features = encoder.step(found.state, part)
                found = type(found)(0, again, None)
                assert torch.equal(features.tokens, wanted.tokens)
                assert torch.equal(features.pooled, wanted.pooled)
    assert load_state(tmp_path / "none") is None


@pytest.fixture
def slowly(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that embeds, and waits in each segment."""
    code = f"""
import time, tapetum
from tapetum.systems.longvideo import streaming
from tapetum.systems.longvideo import embedding_rows
embedding_rows.EVERY = 0.0
first = streaming.preprocess_frames
def slow(model, frames):
    time.sleep(0.3)
    return first(model, frames)
streaming.preprocess_frames = slow
tapetum.embed(({str(place / "a.mp4")!r}, {str(place / "b.mp4")!r}), out={str(place / "k.npz")!r},
              model={str(place / "longvideo.safetensors")!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_what_can_be_gone_on_with(place: Path, slowly: subprocess.Popen[bytes]) -> None:
    state, began = place / "k.npz.unfinished.state", time.monotonic()
    while not state.exists() and slowly.poll() is None and time.monotonic() - began < 600:
        time.sleep(0.05)
    slowly.send_signal(signal.SIGKILL)
    slowly.wait()
    assert state.exists()
    assert not (place / "k.npz").exists()
    again, whole = table(place, "k.npz"), table(place, "whole.npz")
    np.testing.assert_allclose(again.vectors, whole.vectors, atol=1e-6)
    assert again.stop_s == whole.stop_s
