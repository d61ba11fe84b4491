"""Watching, answering and searching: what long videos give is what one call gives, and words find it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from tapetum.core.errors import BadInput
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems import longvideo
from tapetum.systems.longvideo.streaming import FrameSelection, embed_answers, embed_video, embed_words, stream_passages
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.video import open_video, write_video

SMALL: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
SMALL |= {"frames": 16, "segment_frames": 8, "memories": 3, "projection": 6}
TEXT = TextConfig(
    width=16, depth=2, heads=2, mlp_width=32, vocabulary=258, length=32, causal=False, pooling="mean", activation="gelu"
)
Run = Callable[..., tuple[int, str, str]]


def towers(**changes: Any) -> VideoText:
    return longvideo.build_video_text("mcvit-nano", **{**SMALL, "text": TEXT, **changes})


def frames(count: int = 44) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 16, 16, 3), np.uint8)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    longvideo.save(towers(), tmp_path / "longvideo.safetensors")
    return tmp_path


def signed(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(clip)[None].float() / 127.5 - 1


@torch.no_grad()
@pytest.mark.parametrize("memory", ["joint", "streaming", "consolidated"])
def test_a_watched_video_has_the_vector_of_one_call(memory: str) -> None:
    model, clip = towers(memory=memory), frames(44)
    video = open_video(clip, frame_rate=2)
    found = [*stream_passages(model, video)]
    chosen = list(range(0, 44, 2))  # a frame a second
    assert FrameSelection(frame_rate=1.0).numbers(video) == chosen
    if memory == "joint":
        chosen = [chosen[k] for k in np.linspace(0, 21, 16).round().astype(int)]
        assert [(each.start_s, each.stop_s) for each in found] == [(0.0, 22.5)]
    else:
        assert [(each.start_s, each.stop_s) for each in found] == [(0.0, 8.0), (8.0, 16.0), (16.0, 22.5)]
        tokens = model.video(signed(clip[chosen])).tokens[0, 1].mean(0, keepdim=True)
        np.testing.assert_allclose(found[1].vector, model.embed_pooled(tokens)[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found[-1].so_far, model.embed_videos(signed(clip[chosen]))[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(embed_video(model, video), found[-1].so_far)


def test_a_view_shows_part_of_a_video() -> None:
    video = open_video(frames(40), frame_rate=4)  # ten seconds
    assert FrameSelection(frame_rate=1).numbers(video) == list(range(0, 40, 4))
    assert FrameSelection(frame_rate=2, start_s=2.5, stop_s=4).numbers(video) == [10, 12, 14]
    assert FrameSelection(frame_rate=1, start_s=3, frames=2).numbers(video) == [12, 16]
    assert FrameSelection(frame_rate=1, stop_s=0).numbers(video) == [0]
    assert FrameSelection(frame_rate=1, start_s=99).numbers(video) == [39]
    for frame_rate in (4, 5, 1e3, 1e12):
        assert FrameSelection(frame_rate=frame_rate).numbers(video) == [*range(40)]
    assert FrameSelection(frame_rate=1, start_s=9.9, stop_s=9.9).numbers(video) == [39]
    model = towers()
    spans = [
        (each.start_s, each.stop_s) for each in stream_passages(model, video, FrameSelection(frame_rate=2, start_s=1, stop_s=6))
    ]
    assert spans == [(1.0, 5.0), (5.0, 6.0)]
    grey = embed_video(model, video, FrameSelection(frame_rate=1, grey=True))
    blank = np.full((10, 16, 16, 3), 127.5)
    with torch.no_grad():
        wanted = model.embed_videos(torch.from_numpy(blank)[None].float() / 127.5 - 1)[0].numpy()
    np.testing.assert_allclose(grey, wanted, atol=1e-5)


def test_short_and_very_long_videos_are_watched() -> None:
    model = towers(memory_cap=4)
    for count, passages in ((1, 1), (3, 1), (9, 2), (200, 25)):
        found = [*stream_passages(model, open_video(frames(count), frame_rate=1))]
        assert len(found) == passages
        assert np.isfinite(found[-1].so_far).all()


def test_the_answer_is_the_one_whose_words_are_most_alike(weights: Path) -> None:
    clip, options = frames(), ("a red ball", "a blue cube", "nothing")
    made = tapetum.answer(clip, "what falls ?", options=options, model=weights, frame_rate=10)
    model: Any = tapetum.load(weights / "longvideo.safetensors")
    wanted = embed_words(model, [f"what falls ? {option}" for option in options])
    wanted = wanted @ embed_video(model, open_video(clip), FrameSelection(frame_rate=10))
    np.testing.assert_allclose(made.cosines, wanted, atol=1e-6)
    assert made.answer == options[int(wanted.argmax())]
    best, second, _ = np.argsort(-wanted)
    assert made.lead == pytest.approx(wanted[best] - wanted[second], abs=1e-6)
    words = embed_words(model, [f"what falls ? {option}" for option in options])
    passages = [words @ each.vector for each in stream_passages(model, open_video(clip), FrameSelection(frame_rate=10))]
    leads = [each[best] - each[second] for each in passages]
    assert made.lead_deviation == (pytest.approx(np.std(leads, ddof=1), abs=1e-6) if len(leads) > 1 else None)


def test_words_find_moments_in_an_index(weights: Path, run: Run) -> None:
    films, model = weights / "films", weights / "longvideo.safetensors"
    films.mkdir()
    write_video(films / "a.mp4", frames(24 * 20), 24)
    made = tapetum.embed((films / "a.mp4",), model=str(model))
    assert made.vectors.shape == (3, 6)
    tapetum.index((films,), model=str(model))
    found = tapetum.search(films, "a red ball", count=2).moments
    towers_: Any = tapetum.load(model)
    cosines = made.vectors @ embed_words(towers_, ["a red ball"])[0]
    assert [each.cosine for each in found] == pytest.approx(sorted(cosines.tolist(), reverse=True)[:2], abs=2e-3)
    assert found[0].start_s == made.start_s[int(cosines.argmax())]
    assert len(tapetum.search(films, "a").moments) == 3
    code, out, _ = run("answer", films / "a.mp4", "what ?", "--options", "a", "b", "--model", weights)
    assert code == 0
    told, lead, model_line = out.splitlines()
    assert told in ("a", "b")
    assert "from passage to passage that varies by" in lead
    assert model_line == f"model: {weights}"
    for other in (towers(projection=5), longvideo.build_video_text("mcvit-nano", seed=1, **SMALL, text=TEXT)):
        longvideo.save(other, model)
        with pytest.raises(BadInput, match="the index of another model"):
            tapetum.search(films, "a")


def test_what_cannot_be_is_said_in_one_line(weights: Path) -> None:
    clip, two = frames(), ("a", "b")
    with pytest.raises(BadInput, match="give two or more different answers"):
        tapetum.answer(clip, "what ?", options=("a",), model=weights)
    with pytest.raises(BadInput, match="there are no WORDS"):
        tapetum.search("a")
    with pytest.raises(BadInput, match="more than 0"):
        tapetum.answer(clip, "what ?", options=two, model=weights, frame_rate=0)
    longvideo.save(towers().video, weights / "plain.safetensors")
    with pytest.raises(BadInput, match="has no text tower"):
        tapetum.answer(clip, "what ?", options=two, model=weights / "plain.safetensors")
    for words, index, said in ((" ", "x.npz", "no WORDS"), ("a", "x.npz", "there is no index")):
        with pytest.raises(BadInput, match=said):
            tapetum.search(weights / index, words, model=weights)


def test_no_frame_is_decoded_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapetum.video.decode import FileDecoder

    shades = np.full((600, 32, 32, 3), np.arange(600)[:, None, None, None] % 250, np.uint8)
    write_video(tmp_path / "a.mp4", shades, 10)
    decoded, first = [0], FileDecoder.frames

    def counted(self: FileDecoder, packets: Any) -> Any:
        for frame in first(self, packets):
            decoded[0] += 1
            yield frame

    monkeypatch.setattr(FileDecoder, "frames", counted)
    with open_video(tmp_path / "a.mp4") as video:
        assert len([*stream_passages(towers(), video)]) == 8
    assert 60 <= decoded[0] <= 2 * 600 + 1  # a pass that looks, after one that counts where times cannot be trusted


def test_long_questions_lose_their_beginning_and_never_an_answer() -> None:
    model = towers()  # reads 32 tokens, two of them begin and end
    found = embed_answers(model, "what is it that falls down there?", ["a red ball", "a blue cube"])
    np.testing.assert_array_equal(
        found, embed_words(model, ["t falls down there? a red ball", " falls down there? a blue cube"])
    )
    with pytest.raises(BadInput, match="end with the same 30 bytes"):
        embed_answers(model, "what?", ["a " + 30 * "b", "c " + 30 * "b"])
