"""Masks by clicks equal those of the library's own session over the whole video, in memory that does not grow with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.sam2_model import save_sam2
from tapetum.core.errors import BadInput
from tapetum.systems.sam2.segmenter import MaskPrompt, VideoSegmenter, check_prompts

T, H, W = 30, 48, 80
PROMPTS = [
    MaskPrompt(frame=9, point=(20.0, 20.0)),
    MaskPrompt(frame=9, point=(50.0, 30.0), inside=False),
    MaskPrompt(frame=15, point=(30.0, 10.0)),
    MaskPrompt(frame=12, object=2, box=(10.0, 5.0, 40.0, 30.0)),
]


class Noise:
    """A video that counts which frames are read."""

    width, height = W, H

    def __init__(self, frames: int = T):
        self.frames, self.read = frames, 0

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, number: int) -> np.ndarray:
        self.read += 1
        return np.random.default_rng(number).integers(0, 255, (H, W, 3), np.uint8)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> VideoSegmenter:
    """A tiny model of random weights."""
    return VideoSegmenter.load(save_sam2(tmp_path_factory.mktemp("models") / "sam2"))


def of_the_library(segmenter: VideoSegmenter, number: int) -> dict[int, torch.Tensor]:
    """Logits of one object by the library's session, which holds all frames."""
    model, processor, video = segmenter.model, segmenter.processor, Noise()
    session = processor.init_video_session(video=[video[k] for k in range(T)], dtype=torch.float32)
    for frame in sorted({each.frame for each in PROMPTS if each.object == number}):
        own = [each for each in PROMPTS if (each.object, each.frame) == (number, frame)]
        given: dict[str, Any] = {}
        if own[0].point:
            given = {
                "input_points": [[[list(each.point or ()) for each in own]]],
                "input_labels": [[[int(each.inside) for each in own]]],
            }
        else:
            given = {"input_boxes": [[list(own[0].box or ())]]}
        processor.add_inputs_to_inference_session(session, frame, 1, **given)
        model(session, frame_idx=frame)
    logits: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for reverse in (False, True):
            for out in model.propagate_in_video_iterator(session, reverse=reverse):
                logits.setdefault(out.frame_idx, out.pred_masks)
    return logits


@pytest.mark.slow
def test_masks_are_those_of_the_library(segmenter: VideoSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    logits: list[torch.Tensor] = []
    original = segmenter.processor.post_process_masks

    def record(masks: list[torch.Tensor], **settings: Any) -> Any:
        logits.extend(masks)
        return original(masks, **settings)

    monkeypatch.setattr(segmenter.processor, "post_process_masks", record)
    masks = {(number, name): mask for number, name, mask in segmenter.segment(Noise(), PROMPTS)}
    made = dict(zip(masks, logits, strict=True))
    assert len(made) == 2 * T
    for name in (1, 2):
        expected = of_the_library(segmenter, name)
        assert sorted(expected) == [*range(T)]
        for number, each in expected.items():
            assert torch.equal(each, made[number, name]), (number, name)
            [mask] = original([each], original_sizes=[[H, W]])
            assert np.array_equal(mask[0, 0].numpy(), masks[number, name])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(segmenter: VideoSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame is read at most twice for both objects, and a session keeps as many outputs after 60 frames as after 30."""
    kept = []
    for frames in (30, 60):
        sessions: list[Any] = []
        start = segmenter._session
        monkeypatch.setattr(segmenter, "_session", lambda *given, s=sessions, f=start: s.append(f(*given)) or s[-1])
        video = Noise(frames)
        for _ in segmenter.segment(video, PROMPTS):
            pass
        assert video.read <= 2 * frames
        kept.append([len(session.output_dict_per_obj[0]["non_cond_frame_outputs"]) for session in sessions])
        assert all(len(session.processed_frames.keys()) == 1 for session in sessions)
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "there is no click and no box"),
        ([MaskPrompt(frame=T, point=(1, 1))], "the video has frames 0 to 29"),
        ([MaskPrompt(frame=0, point=(W + 1, 1))], "lies outside the image, which is 80x48"),
        ([MaskPrompt(frame=0, point=(float("nan"), 1))], "lies outside the image"),
        ([MaskPrompt(frame=0, box=(9, 9, 9, 12))], "is empty; give x1 below x2"),
        ([MaskPrompt(frame=0, box=(1, 1, 9, 12))] * 2, "two boxes in one frame"),
        ([MaskPrompt(frame=0, point=(1, 1), inside=False)], "give one that is on it"),
    ],
)
def test_prompts_that_cannot_be(prompts: list[MaskPrompt], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_prompts(prompts, Noise())


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BadInput, match="is no SAM 2 of transformers"):
        VideoSegmenter.load(tmp_path)
