"""The Perception Test's scores beside their twin, on drawn files: ties, gaps, missing tracks and answers, other classes."""

from typing import Any

import numpy as np
import pytest

from tapetum.systems.perception_test.annotations import annotations_of
from tapetum.systems.perception_test.evaluate import score
from twins import perception_test as twin

Draw = np.random.Generator


def box(draw: Draw, side: float = 0.3) -> list[float]:
    x, y = draw.uniform(-0.05, 0.8, 2)
    return [x, y, x + side, y + draw.uniform(0.05, 0.5)]


def frames(draw: Draw, share: float) -> list[int]:
    return np.flatnonzero(np.append(draw.random(11) < share, True)).tolist()


def near(draw: Draw, values: Any, by: float) -> Any:
    return (np.array(values) + draw.normal(0, by, np.shape(values))).tolist()


def files(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw the annotations of three videos, and predictions of two of them."""
    draw = np.random.default_rng(seed)
    truth, predicted = dict[str, Any](), dict[str, Any]()
    for v in range(3):
        meta = {"resolution": [48, 64], "frame_rate": 10.0, "num_frames": 12, "is_camera_moving": bool(v % 2)}
        objects, points = [], []
        for number in range(4):
            at = frames(draw, 0.6)
            start = [int(k == (number * len(at)) // 4) for k in range(len(at))]
            boxes = np.clip([box(draw) for _ in at], 0, 1).tolist()
            objects.append({"id": number, "bounding_boxes": boxes, "frame_ids": at, "initial_tracking_box": start})
            at = frames(draw, 0.5)
            path = draw.uniform(0.1, 0.9, (2, len(at))).tolist()
            points.append({"id": number, "label": "p", "frame_ids": at, "points": path})
        actions = []
        for k, label in enumerate((0, 0, 3, 3, 7 if v else 0)):
            begin = draw.uniform(0, 6)
            spans = [begin * 1e6, (begin + draw.uniform(0.5, 4)) * 1e6]
            actions.append({"id": k, "label": "x", "label_id": label, "timestamps": spans})
        told = {"question": "q", "options": ["a", "b", "c"], "area": "physics", "reasoning": "descriptive", "tag": ["motion"]}
        truth[f"v{v}"] = {
            "metadata": meta,
            "object_tracking": objects,
            "point_tracking": points,
            "action_localisation": actions,
            "mc_question": [{**told, "id": k, "answer_id": int(draw.integers(3))} for k in range(5)],
            "grounded_question": [{**told, "id": k, "answers": answers} for k, answers in ((0, [0, 1, 2]), (1, [3]))],
        }
        if v == 1:
            continue
        guesses, paths = [], []
        for track in objects[: 3 if v else 4]:
            at = [f for f in range(12) if draw.random() < 0.8]
            known = dict(zip(track["frame_ids"], track["bounding_boxes"], strict=True))
            own = [near(draw, known.get(f, box(draw)), 0.03) for f in at]
            own = [[*each[:2], max(each[2], each[0]), max(each[3], each[1])] for each in own]
            guesses.append({"id": track["id"], "bounding_boxes": own, "frame_ids": at})
        for track in points[1:]:
            at = [f for f in range(12) if draw.random() < 0.8]
            known = dict(zip(track["frame_ids"], np.transpose(track["points"]).tolist(), strict=True))
            own = np.transpose([near(draw, known.get(f, [0.5, 0.5]), 0.01) for f in at]).tolist()
            paths.append({"id": track["id"], "frame_ids": at, "points": own})
        listed = []
        for each in [*actions, *actions, *actions[:2]]:
            first, last = sorted(near(draw, np.array(each["timestamps"]) / 1e6, 0.8))
            label = int(draw.choice([each["label_id"], each["label_id"], 5]))
            listed.append(
                {"label": str(label), "score": str(draw.integers(1, 5) / 5), "timestamps": [max(first, 0.0), max(last, 0.1)]}
            )
        many = []
        for k, guess in enumerate(4 * guesses):
            moved = (np.array(guess["bounding_boxes"]) + draw.normal(0, 0.02)).tolist()
            many.append({**guess, "id": 20 + k, "bounding_boxes": moved, "score": float(draw.integers(1, 4))})
        predicted[f"v{v}"] = {
            "object_tracking": guesses,
            "point_tracking": paths,
            "action_localisation": listed,
            "mc_question": [{"id": k, "answer_id": int(n), "answer": "abc"[n]} for k, n in enumerate(draw.integers(3, size=4))],
            "grounded_question": {"0": [{**g, "score": 0.5} for g in guesses], "1": many[: 12 - v] if seed % 2 else many[:2]},
        }
    return truth, predicted


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_the_twins(seed: int) -> None:
    truth, predicted = files(seed)
    read = annotations_of(truth)

    def scores(task: str, key: str) -> Any:
        return score(task, read, {video: {key: content[key]} for video, content in predicted.items()})

    for task, key, expected in (
        ("object", "object_tracking", twin.objects(truth, predicted)),
        ("point", "point_tracking", twin.points(truth, predicted)),
    ):
        ours = scores(task, key)
        assert [*ours.numbers.values()] == pytest.approx([twin.mean([*expected.values()])], abs=1e-12)
        moving = {"static": twin.mean([expected["v0"], expected["v2"]]), "moving": expected["v1"]}
        assert ours.groups["by_camera"] == pytest.approx(moving, abs=1e-12)
    actions = twin.segments(truth, predicted, "action_localisation")
    assert scores("action", "action_localisation").numbers["map_at"] == pytest.approx(actions, abs=1e-12)
    for side in (truth, predicted):
        for content in side.values():
            content["sound_localisation"] = content["action_localisation"]
    read = annotations_of(truth)
    assert scores("sound", "sound_localisation").numbers["map"] == pytest.approx(twin.mean([*actions.values()]), abs=1e-12)
    assert scores("mcqa", "mc_question").numbers["top1"] == pytest.approx(twin.questions(truth, predicted))
    for row, expected in zip(scores("grounded", "grounded_question").table, twin.grounded(truth, predicted), strict=True):
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-9), row["question"]
