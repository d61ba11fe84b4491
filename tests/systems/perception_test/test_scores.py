"""The six scores: those of the public notebooks, the vectors of the notes, and what default does otherwise."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.annotations import annotations_of
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.track_scores import vot_overlap

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "perception_test.json").read_text())
META = {"resolution": [100, 100], "frame_rate": 10.0, "num_frames": 100}


@pytest.mark.parametrize("task", ["object", "point", "action", "grounded"])
def test_the_reading_notebook_gives_the_notebooks_numbers(task: str) -> None:
    case = GOLDEN[task]
    found = score(task, annotations_of(case["truth"]), case["said"], "notebook").as_json()
    for name, wanted in case["wanted"].items():
        assert found[name] == pytest.approx(wanted, abs=1e-9), name
    default = score(task, annotations_of(case["truth"]), case["said"]).as_json()
    assert (default == found) == (task == "grounded")  # where all tracks have the same frames, that one has no quirk


def segments(*rows: tuple[int, float, float, int]) -> dict[str, Any]:
    videos: dict[str, Any] = {f"video_{v}": {"metadata": META, "action_localisation": []} for v in (0, 1)}
    for video, start, end, label in rows:
        listed = videos[f"video_{video}"]["action_localisation"]
        listed.append({"id": len(listed), "label": "x", "label_id": label, "timestamps": [start * 1e6, end * 1e6]})
    return videos


def said(*rows: tuple[int, float, float, int, float]) -> dict[str, Any]:
    videos: dict[str, Any] = {}
    for video, start, end, label, value in rows:
        entry = {"label": str(label), "score": str(value), "timestamps": [start, end]}
        videos.setdefault(f"video_{video}", {"action_localisation": []})["action_localisation"].append(entry)
    return videos


def test_classes_that_the_truth_has_not_never_count_for_others() -> None:
    gap = segments((0, 1, 3, 0), (0, 2, 6, 2))
    right = said((0, 1, 3, 0, 0.5), (0, 2, 6, 2, 0.5))
    other = said((0, 1, 3, 0, 0.5), (0, 2, 6, 2, 0.5), (0, 7, 8, 1, 0.9))
    assert score("action", annotations_of(gap), right).numbers["map"] == 1
    found = score("action", annotations_of(gap), other)
    assert found.numbers["map"] == 1
    assert found.counts["of_other_classes"] == found.counts["unknown_class"] == 1
    assert score("action", annotations_of(gap), other, "notebook").numbers["map"] == 0.75  # 1 falls into class 2's place


def test_overlaps_in_pixels_are_those_of_the_notes() -> None:
    def one(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return float(vot_overlap(np.round(np.array([a])), np.round(np.array([b])))[0])

    box = (100, 100, 50, 50)
    assert one(box, box) == 1
    assert one((10, 10, 0.4, 0.4), box) == 0
    assert one((10, 10, 0, 0), (10, 10, 0, 0)) == 1
    assert one((-10, -10, 50, 50), (0, 0, 40, 40)) == 0.5625


def question(number: int, answer: int | None, **more: Any) -> dict[str, Any]:
    told = {"id": number, "question": "q", "options": ["a", "b", "c"], "answer_id": answer, "area": "physics"}
    return {**told, "reasoning": "descriptive", "tag": ["motion", "object counting"], **more}


def test_questions_by_area_reasoning_and_tag() -> None:
    five = question(2, 4, options=list("vwxyz"), area="memory", reasoning="predictive", tag=["sequencing"])
    truth = annotations_of({"v": {"metadata": META, "mc_question": [question(0, 1), question(1, 0), five]}})
    answers = [{"id": 0, "answer_id": 1, "answer": "b"}, {"id": 2, "answer_id": 4, "answer": "z"}]
    for form in ({"v": answers}, {"v": {"mc_question": answers}}):
        found = score("mcqa", truth, form)
        assert found.numbers["top1"] == pytest.approx(2 / 3)
        assert found.groups["by_area"] == {"memory": 1.0, "physics": 0.5}
        assert found.groups["by_reasoning"] == {"descriptive": 0.5, "predictive": 1.0}
        assert found.groups["by_tag"] == {"motion": 0.5, "object counting": 0.5, "sequencing": 1.0}
        assert found.counts["missing_question"] == 1
    with pytest.raises(BadInput, match="question 1 of v is not answered"):
        score("mcqa", truth, {"v": answers}, "notebook")
    whole = [*answers, {"id": 1, "answer_id": 1, "answer": "b"}]
    notebook = score("mcqa", truth, {"v": whole}, "notebook")
    assert notebook.groups["by_area"] == {"abstraction": 0.5, "memory": 1.0, "physics": 0.5}  # by tags
    hidden = annotations_of({"v": {"metadata": META, "mc_question": [question(0, None)]}})
    with pytest.raises(BadInput, match="not public"):
        score("mcqa", hidden, {"v": answers[:1]})


def test_the_notebook_refuses_what_lacks_frames() -> None:
    case = copy.deepcopy(GOLDEN["grounded"])
    truth = annotations_of(case["truth"])
    nothing = score("grounded", truth, {})
    assert nothing.numbers == {"hota": 0, "det_a": 0, "ass_a": 0, "loc_a": 1}
    assert nothing.counts["missing_video"] == len(truth)
    track = next(iter(next(iter(case["said"].values()))["grounded_question"].values()))[0]
    track.update(bounding_boxes=track["bounding_boxes"][:-1], frame_ids=track["frame_ids"][:-1])
    with pytest.raises(BadInput, match="the notebook refuses"):
        score("grounded", truth, case["said"], "notebook")


def test_unknown_tasks_and_readings_are_said() -> None:
    with pytest.raises(BadInput, match="one of object, point"):
        score("objects", {}, {})
    with pytest.raises(BadInput, match="no reading 'other'"):
        score("object", {}, {}, "other")


@pytest.mark.parametrize("task", ["object", "point", "action", "sound", "mcqa", "grounded", "joint"])
def test_annotations_with_nothing_of_a_task_are_said(task: str) -> None:
    nothing = annotations_of({"video_1": {"metadata": {**META, "video_id": "video_1", "split": "valid"}}})
    with pytest.raises(BadInput, match=f"nothing of the task {task}"):
        score(task, nothing, {"video_1": []})
