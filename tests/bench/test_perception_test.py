"""Models of video as features of the Perception Test's localiser, and as its question model: small networks, each by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from tapetum.bench.baselines import Static
from tapetum.bench.perception_test import (
    POINTS,
    ModelOptions,
    PointMotion,
    VideoEncoderFeatures,
    VideoOptions,
    load_predictors,
    load_video_features,
)
from tapetum.core.errors import BadInput
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems import longvideo
from tapetum.systems.longvideo.streaming import FrameSelection, embed_video, embed_words
from tapetum.systems.perception_test.footage import VideoContent
from tapetum.systems.perception_test.localiser.config import LocaliserConfig, LocaliserRun
from tapetum.systems.perception_test.localiser.predict import LocaliserPredictor
from tapetum.systems.perception_test.localiser.run import train_localiser
from tapetum.systems.perception_test.types import AnnotatedVideo, ChoiceQuestion, Metadata
from tapetum.train.launch_config import Launch
from tapetum.types import Tracks
from tapetum.video import open_video, write_video

META = Metadata(video_id="v", split="train", frame_rate=4.0, frames=14, size=(16, 16))
SMALL: dict[str, Any] = {"width": 24, "depth": 1, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 4, 4)}
SMALL |= {"frames": 8, "segment_frames": 8, "memories": 3}
TEXT = TextConfig(width=16, depth=1, heads=2, mlp_width=32, vocabulary=258, length=48, causal=False, pooling="mean")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("towers") / "longvideo.safetensors"
    longvideo.save(longvideo.build_video_text("mcvit-nano", **SMALL, text=TEXT, projection=6), path)
    return path


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> VideoContent:
    path = tmp_path_factory.mktemp("videos") / "v.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (14, 16, 16, 3), np.uint8), 4)
    return VideoContent(META, path)


def test_tokens_are_pooled_by_time_step_and_cell(weights: Path, content: VideoContent) -> None:
    model: Any = tapetum.load(weights)
    assert VideoEncoderFeatures(model, 2, 4.0).read("v", content).shape == (7, 4 * 24)  # segments of 4 and 3 steps
    features = VideoEncoderFeatures(model, 2, 4.0).read("v", content.until(8))
    with torch.inference_mode():
        frames = torch.from_numpy(content.frames[:8]).float()[None] / 127.5 - 1
        tokens = model.video(frames).tokens[0, 0].reshape(4, 2, 2, 2, 2, 24)
    pooled = tokens.mean((2, 4)).permute(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_allclose(features, pooled.numpy(), atol=1e-5)
    assert VideoEncoderFeatures(model, 0, 2.0).read("v", content).shape == (4, 24)  # 7 frames


class Drift:
    """Everything moves right by a pixel and down by two in a frame; what leaves the image is hidden."""

    def track(self, video: Any, queries: np.ndarray, *, progress: Any = None) -> Tracks:
        steps = np.arange(len(video))[None, :, None] * np.array([1.0, 2.0])
        xy = (queries[:, None, 1:] + steps).astype(np.float32)
        visible = (xy < 16).all(2)
        return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=queries)


def test_motion_is_velocity_where_a_point_is_seen(content: VideoContent) -> None:
    motion = PointMotion(Drift()).read("v", content).reshape(14, POINTS, POINTS, 3)
    assert not motion[0].any()
    np.testing.assert_allclose(motion[1, 0, 0], (4 / 16, 8 / 16, 1))  # a pixel of 16, four times a second
    hidden = motion[1:9, 3, 0]  # from y = 14: at 16 already in the next frame
    assert not hidden.any()
    np.testing.assert_array_equal(motion[9], motion[1])  # two seconds later the grid is laid anew
    still = PointMotion(Static()).read("v", content).reshape(14, -1, 3)
    assert not still[..., :2].any()
    assert still[1:, :, 2].all()


def test_a_localiser_learns_from_them_and_its_file_asks_for_them_again(
    tmp_path: Path, weights: Path, content: VideoContent
) -> None:
    row = {"id": 0, "label": "a", "label_id": 3, "timestamps": [500000, 2000000]}
    meta = {"resolution": [16, 16], "frame_rate": 4.0, "num_frames": 14}
    (tmp_path / "train.json").write_text(json.dumps({"v": {"metadata": meta, "action_localisation": [row]}}))
    run = LocaliserRun(
        data=str(tmp_path / "train.json"),
        videos=str(content.path and content.path.parent),
        features=f"{weights},motion:static",
        network=LocaliserConfig(length=32, width=16, heads=2, window=5, stem=1, levels=3),
        steps=2,
        batch_size=1,
        micro_batch=1,
    )
    assert train_localiser(run, Launch(out=tmp_path / "run", threads=1, device="cpu"), print, load_video_features)
    assert np.load(tmp_path / "run" / "features" / "v.npy").shape == (7, 4 * 24 + 3 * POINTS**2)
    predictor = LocaliserPredictor.load(str(tmp_path / "run"), video_models=load_video_features)
    assert predictor.predict(AnnotatedVideo(metadata=META), content, ["action"])["action"]
    [(_, same)] = load_predictors({"action": str(tmp_path / "run")}, ModelOptions())
    assert same.predict(AnnotatedVideo(metadata=META), content, ["action"])["action"]


def test_questions_are_answered_by_similarity(weights: Path, content: VideoContent) -> None:
    question = ChoiceQuestion(id=0, question="What?", options=("red", "a dog", "two"), answer=0)
    [(_, predictor)] = load_predictors({"mcqa": str(weights)}, ModelOptions())
    [row] = predictor.predict(AnnotatedVideo(metadata=META, questions=(question,)), content, ["mcqa"])["mcqa"]
    model: Any = tapetum.load(weights)
    with open_video(content.frames) as video:
        vector = embed_video(model, video, FrameSelection(frames=8, spread=True))
    scores = embed_words(model, ["What? red", "What? a dog", "What? two"]) @ vector
    assert row["answer_id"] == int(scores.argmax())
    np.testing.assert_allclose(VideoOptions(model).score_options(content.frames, "What?", question.options), scores, atol=1e-5)


def test_what_is_no_model_of_video_is_left_to_others() -> None:
    assert load_video_features("efficientnet-lite0", 2, 4.0, None) is None
    assert load_video_features("nowhere", 2, 4.0, None) is None
    with pytest.raises(BadInput, match="nowhere"):
        load_video_features("motion:nowhere", 2, 4.0, None)
