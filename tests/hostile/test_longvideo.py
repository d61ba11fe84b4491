"""Long videos as a clumsy user gives them: the right result, or one line that says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from tapetum.core.errors import BadInput
from tapetum.systems import longvideo
from tapetum.video import write_video

SMALL: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
SMALL |= {"frames": 16, "segment_frames": 8, "memories": 3, "memory_cap": 20}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clumsy")
    longvideo.save(longvideo.build_video_text("mcvit-nano", **SMALL), place / "longvideo.safetensors")
    noise = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), np.uint8)
    write_video(place / "good.mp4", noise, 2)
    write_video(place / "one.mp4", noise[:1], 2)
    write_video(place / "short.mp4", noise[:5], 2)
    Image.fromarray(noise[0]).save(place / "image.png")
    (place / "empty.mp4").write_bytes(b"")
    (place / "folder").mkdir()
    return place


def test_what_is_short_is_answered(place: Path) -> None:
    for name in ["one.mp4", "short.mp4", "image.png"]:
        made = tapetum.answer(place / name, "what?", options=("a", "b"), model=place)
        assert np.isfinite(made.cosines).all()
        kept = tapetum.embed((place / name,), model=str(place / "longvideo.safetensors"))
        assert kept.vectors.shape[0] == 1
        assert np.isfinite(kept.vectors).all()


def test_other_weights_are_refused(place: Path) -> None:
    for name in ["no", "folder", "good.mp4", "plain.safetensors"]:
        longvideo.save(longvideo.build("mcvit-nano", **SMALL), place / "plain.safetensors")
        with pytest.raises(BadInput):
            tapetum.answer(place / "good.mp4", "what?", options=("a", "b"), model=place / name)


def test_pixels_that_are_no_numbers_and_lengths_that_do_not_fit_are_refused() -> None:
    encoder = longvideo.build("mcvit-nano", **SMALL)
    video = torch.zeros(2, 8, 16, 16, 3)
    with pytest.raises(BadInput, match="not finite"):
        encoder(video.fill_(float("nan")))
    for lengths in ([0, 8], [8, 9], [8], [4.0, 8.0]):
        with pytest.raises(BadInput, match="give 2 whole numbers of 1 to 8"):
            encoder(torch.zeros(2, 8, 16, 16, 3), lengths=torch.tensor(lengths))


@torch.no_grad()
@pytest.mark.slow
def test_thousands_of_segments_pass_in_memory_that_does_not_grow() -> None:
    tiny: dict[str, Any] = {
        **SMALL,
        "width": 8,
        "depth": 1,
        "heads": 1,
        "mlp_width": 8,
        "tubelet": (2, 16, 16),
        "segment_frames": 2,
    }
    encoder = longvideo.build("mcvit-nano", **{**tiny, "memories": 1})
    state, sizes = encoder.start(1), set()
    frames = torch.rand(1, 2, 16, 16, 3) * 2 - 1
    for k in range(2_000):
        state, features = encoder.step(state, frames)
        if k >= 20:
            sizes.add((state.memories, state.bytes, len(state.origins)))
    assert sizes == {(20, 20 * 9 * 4, 20)}
    assert torch.isfinite(features.pooled).all()
