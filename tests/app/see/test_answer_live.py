"""Answers about what a camera sees: those of the passages of a file, in memory that does not grow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tapetum
from tapetum.app.see.answer_live import LivePassage, answer_live
from tapetum.core.errors import BadInput
from tapetum.systems import longvideo
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.streaming import FrameSelection, embed_answers, stream_passages
from tapetum.systems.longvideo.video_text_config import CaptionerConfig
from tapetum.video import open_video, write_video

SMALL: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
SMALL |= {"frames": 16, "segment_frames": 8, "memories": 3}
OPTIONS = ("a ball", "a cube")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    longvideo.save(
        longvideo.build_video_text("mcvit-nano", **SMALL, projection=6, memory_cap=7), tmp_path / "longvideo.safetensors"
    )
    noise = np.random.default_rng(0).integers(0, 255, (200, 16, 16, 3), np.uint8)
    write_video(tmp_path / "a.mp4", noise, 2)
    return tmp_path


def test_passages_are_those_of_a_file_and_memory_is_constant(place: Path) -> None:
    told: list[LivePassage] = []
    made = answer_live(str(place / "a.mp4"), "what?", options=OPTIONS, model=place, each=told.append)
    assert (made.passages, made.frames) == (13, 100)
    model: Any = tapetum.load(place / "longvideo.safetensors")
    with open_video(place / "a.mp4") as video:
        wanted = [*stream_passages(model, video, FrameSelection(frame_rate=1))]
    for live, each in zip(told, wanted, strict=True):
        assert live.start_s == each.start_s
        assert live.stop_s == pytest.approx(each.stop_s, abs=0.5)  # the last one ends with the last frame that was looked at
        words = embed_answers(model, "what?", OPTIONS)
        assert live.scores == pytest.approx((words @ each.vector).tolist(), abs=1e-5)
        assert live.so_far == OPTIONS[int(np.argmax(words @ each.so_far))]
    assert len({each.memory_bytes for each in told[2:]}) == 1
    assert made.answer == told[-1].so_far


@pytest.mark.slow
def test_weights_without_a_cap_get_one(place: Path) -> None:
    model = Captioner(CaptionerConfig(video=named("mcvit-nano", **SMALL), latents=2, length=60))
    longvideo.save(model, place / "longvideo.safetensors")
    told: list[LivePassage] = []
    answer_live(str(place / "a.mp4"), "what?", options=OPTIONS, model=place, memories=5, each=told.append)
    assert len({each.memory_bytes for each in told[2:]}) == 1
    assert told[-1].memory_bytes == 2 * 5 * (24 + 1) * 4
    assert max(told[0].scores) < 0


def test_lines_come_on_the_command_line(place: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    words = ("answer", place / "a.mp4", "what?", "--options", *OPTIONS, "--model", place, "--online")
    code, out, _ = run(*words, "--json")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == [*["passage"] * 13, "summary"]
    code, out, _ = run(*words)
    assert code == 0
    assert out.splitlines()[-1] == f"all in all: {lines[-1]['answer']}"


def test_what_cannot_be_is_said_in_one_line(place: Path) -> None:
    with pytest.raises(BadInput, match="it must be 1 or more"):
        answer_live(str(place / "a.mp4"), "what?", options=OPTIONS, model=place, memories=0)
    with pytest.raises(BadInput, match="is not a video"):
        answer_live(str(place / "no.mp4"), "what?", options=OPTIONS, model=place)
    for changes, said in (({"memory": "joint"}, "sees whole videos only"), ({"pooling": "late"}, "keeps every moment")):
        longvideo.save(longvideo.build_video_text("mcvit-nano", **{**SMALL, **changes}), place / "longvideo.safetensors")
        with pytest.raises(BadInput, match=said):
            answer_live(str(place / "a.mp4"), "what?", options=OPTIONS, model=place)
