"""What is wrong with files has a name, and is said of the item."""

import json
from pathlib import Path
from typing import Any

import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.annotations import annotations_of, read_annotations
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.predictions import read_predictions

META = {"resolution": [100, 200], "frame_rate": 10.0, "num_frames": 50}
TRACK = {"id": 0, "bounding_boxes": [[0, 0, 0.5, 0.5]] * 2, "frame_ids": [0, 30], "initial_tracking_box": [1, 0]}
TRUTH = {
    "v": {
        "metadata": META,
        "object_tracking": [TRACK],
        "point_tracking": [{"id": 0, "label": "p", "frame_ids": [1, 2, 3], "points": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]}],
        "action_localisation": [{"id": 0, "label": "x", "label_id": 3, "timestamps": [0, 2_000_000]}],
        "mc_question": [{"id": 0, "question": "q", "options": ["a", "b", "b"], "answer_id": 0, "area": "physics"}],
        "grounded_question": [{"id": 5, "question": "q", "answers": [0]}],
    }
}


def box(**changes: Any) -> dict[str, Any]:
    return {"v": [{"id": 0, "bounding_boxes": [[0, 0, 1, 1], [0, 0, 1, 1]], "frame_ids": [0, 30], **changes}]}


def point(**changes: Any) -> dict[str, Any]:
    whole = {"id": 0, "points": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "frame_ids": [1, 2, 3]}
    return {"v": {"point_tracking": [{**whole, **changes}]}}


def action(**changes: Any) -> dict[str, Any]:
    return {"v": {"action_localisation": [{"label": "3", "score": "0.5", "timestamps": [0, 1.5], **changes}]}}


def answer(**changes: Any) -> dict[str, Any]:
    return {"v": [{"id": 0, "answer_id": 0, "answer": "a", **changes}]}


def grounded(**changes: Any) -> dict[str, Any]:
    return {"v": {"grounded_question": {"5": [{**box()["v"][0], "score": 0.5, **changes}]}}}


ERRORS = [
    ("object", {"w": []}, "unknown-video"),
    ("object", {"v": "boxes"}, "wrong-nesting"),
    ("object", {"v": [{"id": 0}]}, "missing-key"),
    ("object", box(id=3), "unknown-track"),
    ("object", box(id="0"), "id-as-text"),
    ("object", box(id=0.5), "no-number"),
    ("object", box(frame_ids=[0]), "wrong-length"),
    ("object", box(frame_ids=[30, 0]), "unsorted-frames"),
    ("object", box(frame_ids=[0, 50]), "frame-outside"),
    ("object", box(frame_ids=[0, 1.5]), "no-number"),
    ("object", box(frame_ids=["0", "30"]), "id-as-text"),
    ("object", box(frame_ids=[None, 30]), "no-number"),
    ("object", box(frame_ids=[True, False]), "no-number"),
    ("object", box(frame_ids=[0, float("inf")]), "no-number"),
    ("object", box(id=float("nan")), "no-number"),
    ("object", {"v": {"object_tracking": None}}, "wrong-nesting"),
    ("object", box(bounding_boxes=[[0, 0, 1], [0, 0, 1, 1]]), "no-number"),
    ("object", box(bounding_boxes=[[0, 0, float("nan"), 1], [0, 0, 1, 1]]), "not-finite"),
    ("object", box(bounding_boxes=[[1, 0, 0, 1], [0, 0, 1, 1]]), "wrong-corners"),
    ("object", box(bounding_boxes=[[0, 0, 150, 90], [0, 0, 1, 1]]), "pixels"),
    ("object", {"v": box()["v"] * 2}, "twice"),
    ("point", point(points=[[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), "wrong-shape"),
    ("point", point(frame_ids=[1, 2]), "wrong-length"),
    ("action", action(timestamps=[0, "x"]), "missing-key"),
    ("action", action(score="nan"), "not-finite"),
    ("action", {"v": {"action_localisation": ["eating"]}}, "missing-key"),
    ("action", action(timestamps=[2, 1]), "backwards"),
    ("action", action(timestamps=[1_000_000, 2_000_000]), "microseconds"),
    ("mcqa", answer(id=1), "unknown-question"),
    ("mcqa", answer(answer_id=3), "unknown-option"),
    ("mcqa", answer(answer_id="0"), "id-as-text"),
    ("mcqa", answer(answer="b"), "other-text"),
    ("mcqa", {"v": answer()["v"] * 2}, "twice"),
    ("grounded", {"v": {"grounded_question": {"0": []}}}, "unknown-question"),
    ("grounded", grounded(score=float("nan")), "not-finite"),
    ("grounded", grounded(bounding_boxes=[[0, 0, 1, 1]]), "wrong-length"),
    ("grounded", {"v": {"grounded_question": {"²": []}}}, "unknown-question"),
    ("joint", {"v": []}, "wrong-nesting"),
    ("joint", {"v": {"object_tracking": {}}}, "wrong-nesting"),
    ("joint", {"v": {"object_tracking": box(id="0")["v"]}}, "id-as-text"),
    ("joint", {"v": {"boxes": []}}, "unknown-key"),
    ("grounded", {"v": {"grounded_question": []}}, "wrong-nesting"),
]


@pytest.mark.parametrize(("task", "content", "name"), ERRORS)
def test_what_the_server_would_refuse_has_a_name_and_is_not_scored(task: str, content: dict[str, Any], name: str) -> None:
    read = annotations_of(TRUTH)
    found = read_predictions(task, content, read)
    assert name in {finding.name for finding in found.findings if finding.error}
    with pytest.raises(BadInput) as raised:
        score(task, read, content)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("task", "content", "names"),
    [
        ("object", box(), set()),
        ("point", point(), set()),
        ("action", action(), set()),
        ("mcqa", answer(), {"duplicate-options"}),
        ("grounded", grounded(), set()),
        ("object", {}, {"empty", "missing-video"}),
        ("object", {"v": []}, {"missing-track"}),
        ("object", box(frame_ids=[0, 1]), {"missing-frame"}),
        ("action", action(label="9"), {"unknown-class"}),
        ("mcqa", {"v": [{"id": 0, "answer_id": 0}]}, {"missing-text", "duplicate-options"}),
        ("grounded", {"v": {}}, {"missing-question"}),
        ("joint", {"v": {"object_tracking": box()["v"], **point()["v"]}}, set()),
        ("joint", {"v": {"object_tracking": box()["v"]}}, {"missing-key"}),
        ("joint", {"v": {}}, {"missing-key"}),
        ("joint", {}, {"empty", "missing-video"}),
        ("object", {"v": {"object_tracking": box()["v"], **point()["v"]}}, set()),
        ("object", point(), {"missing-video"}),
    ],
)
def test_what_is_only_remarked_is_scored(task: str, content: dict[str, Any], names: set[str]) -> None:
    read = annotations_of(TRUTH)
    found = read_predictions(task, content, read)
    assert {finding.name for finding in found.findings} == names
    counts = score(task, read, content).as_json()["counts"]
    assert {name.replace("-", "_") for name in names} <= counts.keys()


def test_annotations_become_seconds_and_x_before_y(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(TRUTH))
    video = read_annotations(path)["v"]
    assert video.points[0].xy.tolist() == [[0.4, 0.1], [0.5, 0.2], [0.6, 0.3]]
    assert (video.actions[0].start_s, video.actions[0].end_s) == (0.0, 2.0)
    assert video.metadata.size == (100, 200)
    assert video.metadata.seconds == 5
    assert video.metadata.moving is None
    assert video.metadata.to_raster(video.points[0].xy)[0].tolist() == [80.0, 10.0]
    assert video.metadata.to_raster(video.objects[0].boxes)[0].tolist() == [0, 0, 100, 50]


def test_files_that_are_no_json_are_refused(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("b.json", "[]"), ("c.json", "[" * 100_000)):
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput):
            read_annotations(tmp_path / name)
    with pytest.raises(BadInput, match="cannot be read"):
        read_annotations(tmp_path / "none.json")


def test_episodes_written_here_are_read_back(tmp_path: Path) -> None:
    """What `tapetum.data.perception` writes is what is read, in both units."""
    import numpy as np

    from tapetum.data import perception

    size = (100, 200)
    boxes, frames = np.array([[10.0, 20, 50, 60], [12, 20, 52, 60]]), np.array([0, 5])
    about = {"audio_samples": 1, "audio_sample_rate": 16000, "cup_game": True, "moving": False}
    item = {
        "metadata": perception.metadata(video_id="v", split="valid", frame_rate=10, frames=20, size=size, **about),
        "object_tracking": [
            perception.object_track(0, "cup", boxes, frames, np.array([False, True]), size=size, frame_rate=10)
        ],
        "point_tracking": [perception.point_track(0, "p", [0], np.array([[30.0, 40], [31, 41]]), frames, size=size)],
        "sound_localisation": [perception.segment(0, "hit", 2, [0], 0.5, 1.25, frame_rate=10, frames=20, visible=True)],
    }
    video = read_annotations(perception.write_annotations(tmp_path / "a.json", [("v", item)]))["v"]
    np.testing.assert_allclose(video.metadata.to_raster(video.objects[0].boxes), boxes, atol=1e-3)
    np.testing.assert_allclose(video.metadata.to_raster(video.points[0].xy), [[30, 40], [31, 41]], atol=1e-3)
    assert (video.sounds[0].start_s, video.sounds[0].end_s, video.sounds[0].visible) == (0.5, 1.25, True)
    assert video.objects[0].masked.tolist() == [False, True]


WRONG = [
    ("metadata", None, "no-metadata"),
    ("metadata", {"frame_rate": 30}, "missing-key"),
    ("metadata", {**META, "resolution": 5}, "malformed"),
    ("object_tracking", [{**TRACK, "frame_ids": [0, 30, 40]}], "wrong-length"),
    ("object_tracking", [{**TRACK, "frame_ids": [30, 0]}], "unsorted-frames"),
    ("object_tracking", [{**TRACK, "timestamps": [0, 3]}], "seconds"),
    ("object_tracking", [{**TRACK, "bounding_boxes": [[0, 0, float("nan"), 1]] * 2}], "not-finite"),
    ("object_tracking", [{**TRACK, "id": 4}], "wrong-id"),
    ("object_tracking", [{**TRACK, "initial_tracking_box": [0, 0]}], "no-start"),
    ("object_tracking", [{k: v for k, v in TRACK.items() if k != "id"}], "missing-key"),
    ("point_tracking", [{"id": 0, "frame_ids": [1, 2, 3], "points": [[0, 0]] * 3}], "wrong-shape"),
    ("point_tracking", [{"id": 0, "frame_ids": [1, 2], "points": [[0, 0, 0]] * 2}], "wrong-length"),
    ("point_tracking", [{"id": 0, "frame_ids": [48, 50], "points": [[0, 0]] * 2}], "frame-outside"),
    ("action_localisation", [{"id": 0, "label_id": 1, "timestamps": [0.5, 2.25]}], "seconds"),
    ("sound_localisation", [{"id": 0, "label_id": 1, "timestamps": [2e6, 1e6]}], "backwards"),
    ("sound_localisation", [{"id": 0, "timestamps": [1e6, 2e6]}], "missing-key"),
    ("mc_question", [{"id": 0, "question": "q", "options": ["a"], "answer_id": 7}], "unknown-option"),
    ("grounded_question", [{"id": 5, "question": "q", "answers": [9]}], "unknown-track"),
    ("grounded_question", 5, "wrong-nesting"),
]


@pytest.mark.parametrize(("key", "value", "name"), WRONG)
def test_what_is_wrong_with_annotations_has_a_name(key: str, value: Any, name: str) -> None:
    with pytest.raises(BadInput, match=rf"\bv\b.*\[{name}\]$"):
        annotations_of({"v": {**TRUTH["v"], key: value}})


def test_a_key_of_the_joint_submission_that_nobody_asked_for_is_refused() -> None:
    """The server counts the videos that have the key (issue 31 of the public code)."""
    only = annotations_of({"v": {"metadata": META, "object_tracking": [TRACK]}})
    content = {"v": {"object_tracking": box()["v"], "point_tracking": []}}
    assert [f.name for f in read_predictions("joint", content, only).findings if f.error] == ["no-queries"]
    del content["v"]["point_tracking"]
    assert read_predictions("joint", content, only).findings == []
