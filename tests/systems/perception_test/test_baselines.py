"""Baselines on made-up annotations: exact motions, votes, windows; each gives what the scorers take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.annotations import annotations_of
from tapetum.systems.perception_test.baselines import ChosenOptions, Frequency, PriorWindows, StaticPlaces, TrackedPlaces
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.footage import VideoContent, find_videos
from tapetum.systems.perception_test.grounded_baseline import GroundedWords, answer_shares
from tapetum.systems.perception_test.types import KEYS, Metadata
from tapetum.types import Boxes, Tracks
from tapetum.video import write_video

FRAMES = 12
META = {"resolution": [100, 200], "frame_rate": 10.0, "num_frames": FRAMES, "video_id": "v"}
MOVE = 0.01
"""Shares by which all moves to the right in a frame."""


def moving(frames: range) -> list[list[float]]:
    return [[0.1 + MOVE * f, 0.2, 0.3 + MOVE * f, 0.5] for f in frames]


TRUTH = {
    "v": {
        "metadata": META,
        "object_tracking": [
            {
                "id": 0,
                "label": "red cup",
                "frame_ids": [2, 6, 11],
                "bounding_boxes": [moving(range(12))[f] for f in (2, 6, 11)],
            },
            {"id": 1, "label": "ball", "frame_ids": [0], "bounding_boxes": [[0.7, 0.7, 0.8, 0.8]]},
        ],
        "point_tracking": [
            {"id": 0, "label": "p", "frame_ids": [3, 4, 7], "points": [[0.5] * 3, [0.2 + MOVE * f for f in (3, 4, 7)]]}
        ],
        "mc_question": [
            {"id": 0, "question": "what?", "options": ["a", "b", "c"], "answer_id": 1, "area": "physics", "cut_frame": 5},
            {"id": 1, "question": "never met?", "options": ["a", "b", "c"], "answer_id": 1, "area": "physics"},
        ],
        "grounded_question": [{"id": 4, "question": "which moves?", "answers": [0]}],
    }
}


class Mover:
    """A tracker in a world where everything moves by `MOVE` of the width, and hides in frames 5 and 6."""

    def track(self, video: Any, queries: np.ndarray, /, *, progress: Any = None) -> Tracks:
        at = np.arange(len(video))
        step = (at - queries[:, :1]) * MOVE * video.width
        xy = np.stack([queries[:, 1:2] + step, np.repeat(queries[:, 2:], len(at), 1)], -1)
        visible = np.broadcast_to(~np.isin(at, (5, 6)), xy.shape[:2])
        return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=queries)


class Images(VideoContent):
    """Frames without a file."""

    @property
    def frames(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        return np.zeros((self.count, 100, 200, 3), np.uint8)


def said(predictor: Any, *tasks: str) -> dict[str, Any]:
    video = annotations_of(TRUTH)["v"]
    found = predictor.predict(video, Images(video.metadata), tasks)
    return {task: {"v": {KEYS[task]: value}} for task, value in found.items()}


def scored(task: str, content: dict[str, Any]) -> dict[str, Any]:
    return dict(score(task, annotations_of(TRUTH), content).numbers)


def test_a_tracker_carries_boxes_and_points_and_static_ones_stay() -> None:
    tracked, static = (said(predictor, "object", "point") for predictor in (TrackedPlaces(Mover()), StaticPlaces()))
    assert tracked["object"]["v"]["object_tracking"][0]["frame_ids"] == list(range(2, FRAMES))
    boxes = np.array(tracked["object"]["v"]["object_tracking"][0]["bounding_boxes"])
    np.testing.assert_allclose(boxes[[0, 9]], [moving(range(12))[f] for f in (2, 11)], atol=1e-5)
    np.testing.assert_allclose(boxes[3:5], [boxes[2]] * 2)  # hidden: it stays where it was
    hidden = moving(range(12))[6]
    stays = (0.2 - 2 * MOVE) / (0.2 + 2 * MOVE)  # at frame 6, of a box that is 0.2 wide and was last seen two frames before
    assert boxes[4][0] == pytest.approx(hidden[0] - 2 * MOVE)
    assert scored("object", tracked["object"])["average_iou"] == pytest.approx((stays + 1) / 2, abs=1e-4)
    assert scored("object", static["object"])["average_iou"] == pytest.approx((16 / 24 + 11 / 29) / 2)
    points = tracked["point"]["v"]["point_tracking"][0]
    assert points["frame_ids"] == [3, 4, 7, 8, 9, 10, 11]
    np.testing.assert_allclose(points["points"][1], [0.2 + MOVE * f for f in points["frame_ids"]], atol=1e-6)
    assert scored("point", tracked["point"])["average_jaccard"] == pytest.approx(2 / 6)  # 8 to 11 are false alarms
    assert static["point"]["v"]["point_tracking"][0]["frame_ids"] == list(range(3, FRAMES))


def train(answers: str) -> Any:
    content = {}
    for k, answer in enumerate(answers):
        asked = {"id": 0, "question": "what?", "options": ["a", "b", "c"], "answer_id": "abc".index(answer), "area": "physics"}
        content[f"t{k}"] = {"metadata": META, "mc_question": [asked]}
    return annotations_of(content)


def test_votes_of_right_answers() -> None:
    [first, second] = said(Frequency(train("bbacb")), "mcqa")["mcqa"]["v"]["mc_question"]
    assert first == {"id": 0, "answer_id": 1, "answer": "b"}
    assert second["answer"] in "abc"
    question = annotations_of(TRUTH)["v"].questions[0]

    def chosen(predictor: Frequency, many: int = 300) -> list[float]:
        found = [predictor.choose(question, np.random.default_rng(k)) for k in range(many)]
        return (np.bincount(found, minlength=3) / many).tolist()

    assert chosen(Frequency(train("aaabbb"))) == pytest.approx([0.5, 0.5, 0], abs=0.1)  # the notes' vector
    assert chosen(Frequency(train("ccbc"), shots=1)) == pytest.approx([0, 0.25, 0.75], abs=0.1)
    assert chosen(Frequency({}, 0)) == pytest.approx([1 / 3] * 3, abs=0.1)
    assert said(Frequency({}, 0, seed=3), "mcqa") == said(Frequency({}, 0, seed=3), "mcqa")


def test_a_scorer_sees_the_video_up_to_its_cut() -> None:
    class Scorer:
        lengths: list[int] = []  # noqa: RUF012

        def score_options(self, video: np.ndarray, question: str, options: Any) -> list[float]:
            self.lengths.append(len(video))
            return [0.0, -1.0, 2.0] if question == "what?" else [np.nan, 0, 0]

    with pytest.raises(BadInput, match="must score each"):
        said(ChosenOptions(Scorer()), "mcqa")
    assert Scorer.lengths == [5, FRAMES]


def test_windows_are_where_the_segments_of_a_class_mostly_are() -> None:
    content = {}
    for k, (start, end) in enumerate([(0, 0.4), (0.02, 0.42), (0.05, 0.38), (0.7, 1.0)]):
        rows = [{"id": 0, "label": "x", "label_id": 9, "timestamps": [start * 1.2e6, end * 1.2e6]}]
        content[f"t{k}"] = {"metadata": META, "action_localisation": rows}
    prior = PriorWindows(annotations_of(content))
    [one, other] = said(prior, "action")["action"]["v"]["action_localisation"]
    assert (one["label"], one["score"], other["score"]) == ("9", "0.75", "0.25")
    assert other["timestamps"] == pytest.approx([0.84, 1.2])
    assert score("action", annotations_of(content), {
        name: {"action_localisation": prior.predict(video, VideoContent(video.metadata), ["action"])["action"]}
        for name, video in annotations_of(content).items()
    }).numbers["map_at"]["0.5"] > 0.5  # fmt: skip
    with pytest.raises(BadInput, match="no segment of the task sound"):
        said(prior, "sound")


class Found:
    """A detector that knows a cup and a ball in the first frame."""

    asked: tuple[str, ...] = ()

    def find_boxes(self, image: np.ndarray, things: Any) -> Boxes:
        Found.asked = tuple(things)
        boxes = np.array([[24, 20, 64, 50], [140, 70, 160, 80]], np.float64) - [2, 0, 2, 0]
        return Boxes(xyxy=boxes, labels=["cup", "ball"], scores=np.array([0.9, 0.8]))


def learnt() -> Any:
    content = {}
    for k, answers in enumerate([[0], [0], [0, 1]]):
        asked = {"id": 0, "question": "which moves?", "answers": answers}
        content[f"t{k}"] = {**TRUTH["v"], "grounded_question": [asked]}
    return annotations_of(content)


def test_words_find_what_answers_a_question() -> None:
    assert answer_shares(learnt()) == {"which moves?": {"cup": 1.0, "ball": pytest.approx(1 / 3)}}
    answers = said(GroundedWords(Found(), Mover(), learnt()), "grounded")["grounded"]["v"]["grounded_question"]
    assert Found.asked == ("ball", "cup")
    [track] = answers["4"]  # the ball is an answer too seldom
    assert track["score"] == pytest.approx(0.9)
    assert scored("grounded", {"v": {"grounded_question": answers}})["hota"] > 0.7
    everything = said(GroundedWords(Found(), Mover()), "grounded")["grounded"]["v"]["grounded_question"]
    assert (Found.asked, len(everything["4"])) == (("which moves",), 2)
    lots = [GroundedWords(Found(), Mover(), chosen="random", seed=k) for k in range(8)]
    drawn = [said(lot, "grounded")["grounded"]["v"]["grounded_question"]["4"] for lot in lots]
    assert {len(rows) for rows in drawn} == {1}
    assert {rows[0]["bounding_boxes"][0][0] > 0.5 for rows in drawn} == {True, False}


def test_frames_are_those_of_the_annotations(tmp_path: Path) -> None:
    clip = np.stack([np.full((32, 64, 3), 20 * k, np.uint8) for k in range(10)])
    write_video(tmp_path / "v.mp4", clip, 20)
    meta = Metadata(video_id="v", split="", frame_rate=10.0, frames=5, size=(32, 64))
    seen = VideoContent(meta, *find_videos(tmp_path, ["v"])["v"], side=32)
    assert seen.frames.shape == (5, 16, 32, 3)
    np.testing.assert_allclose(seen.frames.mean((1, 2, 3)), [0, 40, 80, 120, 160], atol=6)
    part = seen.until(2)
    assert part.frames.base is not None
    assert np.shares_memory(part.frames, seen.frames)  # it was decoded once
    assert len(part.sound) == 0
    with pytest.raises(BadInput, match=r"no w\.mp4"):
        find_videos(tmp_path, ["w"])
    with pytest.raises(BadInput, match="--videos"):
        VideoContent(meta).frames  # noqa: B018
