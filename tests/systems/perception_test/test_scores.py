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
from tapetum.tracks.metrics import tapvid_metrics

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


def test_sounds_are_scored_as_actions() -> None:
    case = copy.deepcopy(GOLDEN["action"])
    for side in ("truth", "said"):
        for item in case[side].values():
            item["sound_localisation"] = item.pop("action_localisation")
    found = score("sound", annotations_of(case["truth"]), case["said"], "notebook").as_json()
    assert found["map"] == pytest.approx(GOLDEN["action"]["wanted"]["map"], abs=1e-9)


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


TRUTH = segments((0, 1, 3, 0), (0, 2, 6, 1), (0, 8, 9, 0), (1, 0, 5, 1))
SAID = said(
    (0, 0.8, 3.2, 0, 0.9), (0, 1.5, 2.5, 0, 0.8), (0, 8.4, 9.4, 0, 0.7), (1, 0, 1, 0, 0.95),
    (0, 2, 4, 1, 0.6), (1, 1, 4.5, 1, 0.85), (1, 1, 4.6, 1, 0.5),
)  # fmt: skip


def test_localisation_is_that_of_the_notes() -> None:
    found = score("action", annotations_of(TRUTH), SAID)
    assert found.numbers["map"] == pytest.approx(0.725)
    assert [round(v, 9) for v in found.numbers["map_at"].values()] == [0.75, 0.75, 0.75, 0.75, 0.625]
    assert [row["0.5"] for row in found.table] == [0.25, 1.0]
    assert set(found.numbers["recall_1x"].values()) == {0.75}
    assert [round(v, 9) for v in found.numbers["recall_5x"].values()] == [1, 1, 1, 1, 0.75]


def test_classes_that_the_truth_has_not_never_count_for_others() -> None:
    gap = segments((0, 1, 3, 0), (0, 2, 6, 2))
    right = said((0, 1, 3, 0, 0.5), (0, 2, 6, 2, 0.5))
    other = said((0, 1, 3, 0, 0.5), (0, 2, 6, 2, 0.5), (0, 7, 8, 1, 0.9))
    assert score("action", annotations_of(gap), right).numbers["map"] == 1
    found = score("action", annotations_of(gap), other)
    assert found.numbers["map"] == 1
    assert found.counts["of_other_classes"] == found.counts["unknown_class"] == 1
    assert score("action", annotations_of(gap), other, "notebook").numbers["map"] == 0.75  # 1 falls into class 2's place


def test_hota_is_that_of_the_notes() -> None:
    f, frames = np.arange(6), list(range(6))
    tracks, guesses = [], []
    for i in (0, 1):
        boxes = np.stack([0.1 + 0.3 * i + 0.02 * f, 0.2 + 0.1 * i + 0.01 * f], 1)
        boxes = np.concatenate([boxes, boxes + np.array([0.2, 0.25])], 1)
        start = [1, 0, 0, 0, 0, 0]
        tracks.append({"id": i, "bounding_boxes": boxes.tolist(), "frame_ids": frames, "initial_tracking_box": start})
        boxes[:, [0, 2]] += 0.03 * (f % 3)[:, None]
        guesses.append({"id": i, "score": 0.5, "bounding_boxes": boxes.tolist(), "frame_ids": frames})
    guesses.append({"id": 2, "score": 0.5, "bounding_boxes": [[0.5, 0.5, 0.9, 0.9]] * 6, "frame_ids": frames})
    question = {"id": 7, "question": "?", "answers": [0, 1], "area": "physics", "reasoning": "predictive"}
    truth = annotations_of({"v": {"metadata": META, "object_tracking": tracks, "grounded_question": [question]}})
    for reading in ("default", "notebook"):
        found = score("grounded", truth, {"v": {"grounded_question": {"7": guesses}}}, reading).numbers
        wanted = {"hota": 0.565665, "det_a": 0.467918, "ass_a": 0.684211, "loc_a": 0.845802}
        assert found == pytest.approx(wanted, abs=1e-6)
        still = [{**guesses[2], "id": 3 + k} for k in range(9)]
        for many in (guesses + still, still + guesses):  # of equal scores the first ten count
            scores = [score("grounded", truth, {"v": {"7": some}}, reading).numbers for some in (many, many[:10])]
            assert scores[0] == scores[1]
    nothing = score("grounded", truth, {})
    assert nothing.numbers == {"hota": 0, "det_a": 0, "ass_a": 0, "loc_a": 1}
    assert nothing.counts["missing_video"] == nothing.counts["empty"] == 1
    short = [{**guess, "bounding_boxes": guess["bounding_boxes"][:4], "frame_ids": frames[:4]} for guess in guesses]
    less = score("grounded", truth, {"v": {"7": short}}).numbers
    assert 0 < less["hota"] < 0.565
    with pytest.raises(BadInput, match="the notebook refuses"):
        score("grounded", truth, {"v": {"7": short}}, "notebook")


def test_points_are_those_of_the_notes() -> None:
    truth, guess = {}, {}
    for v in (0, 1):
        tracks, found = [], []
        for i in range(3):
            seen = [f for f in range(i, 10) if (f + i) % 4 != 3 or f == i]
            ys, xs = (lambda f, i=i: 0.2 + 0.1 * i + 0.01 * f), (lambda f, i=i: 0.3 + 0.05 * i + 0.02 * np.sin(f + i))
            path = [[ys(f) for f in seen], [float(xs(f)) for f in seen]]
            tracks.append({"id": i, "label": "p", "frame_ids": seen, "points": path})
            all_frames = list(range(i, 10))
            moved = [
                [ys(f) + (0.004 * (i + 1) if f != i else 0) for f in all_frames],
                [float(xs(f)) + (0.003 * (v + 1) if f != i else 0) for f in all_frames],
            ]
            found.append({"id": i, "frame_ids": all_frames, "points": moved})
        meta = {**META, "num_frames": 10, "is_camera_moving": bool(v)}
        truth[f"video_{v}"], guess[f"video_{v}"] = {"metadata": meta, "point_tracking": tracks}, {"point_tracking": found}
    read = annotations_of(truth)
    notebook = score("point", read, guess, "notebook")
    assert notebook.numbers["average_jaccard"] == pytest.approx(0.436842, abs=1e-6)
    found = score("point", read, guess)
    assert found.numbers["average_jaccard"] == pytest.approx(0.49, abs=1e-9)
    assert found.groups["by_camera"] == {"static": pytest.approx(0.49), "moving": pytest.approx(0.49)}
    lacking = {"video_0": {"point_tracking": guess["video_0"]["point_tracking"][:2]}}
    found = score("point", read, lacking)
    assert 0 < found.numbers["average_jaccard"] < 0.245
    assert (found.counts["missing_track"], found.counts["missing_video"]) == (1, 1)


def test_points_are_scored_as_tapvid_scores_them() -> None:
    """TAP-Vid's mode "first" on a raster of 256 x 256, on the random cases of the golden file."""
    case = GOLDEN["point"]
    read = annotations_of(case["truth"])
    rows = {row["video"]: row["average_jaccard"] for row in score("point", read, case["said"]).table}
    for name, item in case["said"].items():
        points = read[name].points
        places = np.zeros((2, len(points), read[name].metadata.frames, 2))
        seen = np.zeros(places.shape[:3], bool)
        for k, track in enumerate(points):
            places[0, k, track.frames], seen[0, k, track.frames] = track.xy * 256, True
        for entry in item["point_tracking"]:
            places[1, entry["id"], entry["frame_ids"]] = np.array(entry["points"])[::-1].T * 256
            seen[1, entry["id"], entry["frame_ids"]] = True
        starts = np.array([track.frames[0] for track in points])
        queries = np.stack([starts, *places[0, np.arange(len(points)), starts].T], 1)
        wanted = tapvid_metrics(queries, ~seen[0], places[0], ~seen[1], places[1], "first")["average_jaccard"]
        assert rows[name] == pytest.approx(wanted, abs=1e-12)


def test_overlaps_in_pixels_are_those_of_the_notes() -> None:
    def one(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return float(vot_overlap(np.round(np.array([a])), np.round(np.array([b])))[0])

    box = (100, 100, 50, 50)
    assert one(box, box) == 1
    assert one((10, 10, 0.4, 0.4), box) == 0
    assert one((10, 10, 0, 0), (10, 10, 0, 0)) == 1
    assert one((-10, -10, 50, 50), (0, 0, 40, 40)) == 0.5625


def test_objects_count_annotated_frames_after_the_first() -> None:
    boxes = [[0.0, 0.0, 0.5, 0.5]] * 4
    track = {"id": 0, "bounding_boxes": boxes, "frame_ids": [0, 30, 33, 60], "initial_tracking_box": [0, 1, 0, 0]}
    lone = {"id": 1, "bounding_boxes": boxes[:1], "frame_ids": [5], "initial_tracking_box": [1]}
    truth = annotations_of({"v": {"metadata": META, "object_tracking": [track, lone]}})
    half = {"id": 0, "bounding_boxes": [[-9, 0, 0, 0], [0.9, 0.9, 1, 1], [0, 0, 0.25, 0.5]], "frame_ids": [0, 30, 33]}
    half["bounding_boxes"][0] = [-1.0, 0, 0, 0]
    found = score("object", truth, {"v": [half]})
    assert found.numbers["average_iou"] == pytest.approx(0.25)  # one half, and one that is missing
    assert found.counts == {"videos": 1, "tracks": 1, "missing_frame": 1, "missing_track": 1}
    outside = {"id": 0, "bounding_boxes": [[-0.5, -0.5, 0.5, 0.5]] * 2, "frame_ids": [33, 60]}
    assert score("object", truth, {"v": {"object_tracking": [outside]}}).numbers["average_iou"] == 1  # clipped
    with pytest.raises(BadInput, match="has no box in frame 60"):
        score("object", truth, {"v": [half]}, "notebook")


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
