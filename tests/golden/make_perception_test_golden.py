"""Makes perception_test.json: random cases of the Perception Test, and what the public code says of them.

    python tests/golden/make_perception_test_golden.py NOTEBOOKS TOOLKIT LOCALISATION.py

NOTEBOOKS: folder `baselines` of github.com/google-deepmind/perception_test (6bd0642 or later), TOOLKIT: a checkout of
github.com/votchallenge/toolkit, LOCALISATION.py: libs/utils/metrics.py of ptchallenge-workshop/actionformer_release_PT. Needs
numba, pandas, joblib and trackeval. Nothing of theirs is kept but the numbers.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("perception_test.json")


def cells(notebook: Path) -> str:
    found = json.loads(notebook.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in found if cell["cell_type"] == "code")


def functions(code: str, names: list[str], scope: dict[str, Any]) -> dict[str, Any]:
    for name in names:
        text = re.search(rf"^def {name}\(.*?(?=^[^\s)]|\Z)", code, re.S | re.M)
        assert text is not None, name
        exec(text.group(0), scope)
    return scope


def objects_case(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    truth, said = {}, {}
    for v in range(6):
        height, width = int(rng.integers(60, 700)), int(rng.integers(60, 900))
        tracks, found = [], []
        for k in range(int(rng.integers(1, 5))):
            n = int(rng.integers(1, 9))
            frames = np.sort(rng.choice(200, n, replace=False)).tolist()
            corner = rng.random((n, 2)) * 0.8
            boxes = np.concatenate([corner, corner + rng.random((n, 2)) * rng.choice([0.02, 0.5])], 1)
            start = int(rng.integers(0, n))
            tracks.append({"id": k, "label": "a", "bounding_boxes": boxes.tolist(), "frame_ids": frames,
                           "initial_tracking_box": [int(i == start) for i in range(n)]})  # fmt: skip
            guess = boxes + rng.normal(size=(n, 4)) * 0.02
            guess[:, 2:] = np.maximum(guess[:, 2:], guess[:, :2])
            extra = sorted({*frames, *rng.choice(200, 3).tolist()})
            rows = [guess[frames.index(f)].tolist() if f in frames else [0.1, 0.1, 0.2, 0.2] for f in extra]
            found.append({"id": k, "bounding_boxes": rows, "frame_ids": extra})
        meta = {"resolution": [height, width], "frame_rate": 30.0, "num_frames": 200, "is_camera_moving": bool(v % 2)}
        truth[f"video_{v}"], said[f"video_{v}"] = {"metadata": meta, "object_tracking": tracks}, found
    return truth, said


def points_case(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    truth, said = {}, {}
    for v in range(4):
        frames = int(rng.integers(5, 40))
        tracks, found = [], []
        for k in range(int(rng.integers(1, 6))):
            seen = np.flatnonzero(rng.random(frames) < 0.7)
            seen = seen if len(seen) else np.array([0])
            path = 0.5 + 0.2 * np.cumsum(rng.normal(size=(2, frames)), 1) / frames
            tracks.append(
                {"id": k, "label": "p", "parent_objects": [], "frame_ids": seen.tolist(), "points": path[:, seen].tolist()}
            )
            shown = np.flatnonzero(rng.random(frames) < 0.8)
            guess = path + rng.normal(size=path.shape) * rng.choice([0.002, 0.02])
            found.append({"id": k, "frame_ids": shown.tolist(), "points": guess[:, shown].tolist()})
        meta = {"resolution": [100, 200], "frame_rate": 30.0, "num_frames": frames, "is_camera_moving": bool(v % 2)}
        truth[f"video_{v}"], said[f"video_{v}"] = {"metadata": meta, "point_tracking": tracks}, {"point_tracking": found}
    return truth, said


def segments_case(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    truth, said = {}, {}
    for v in range(12):
        meta = {"resolution": [100, 200], "frame_rate": 30.0, "num_frames": 900}
        found = []
        for k in range(int(rng.integers(0, 7))):
            start = float(rng.random() * 25)
            ends = [round(start * 1e6), round((start + rng.random() * 6) * 1e6)]
            label = int(rng.choice([0, 2, 3, 7]))
            found.append({"id": k, "label": f"class {label}", "label_id": label, "parent_objects": [-1], "timestamps": ends,
                          "frame_ids": [0, 1]})  # fmt: skip
        truth[f"video_{v}"] = {"metadata": meta, "action_localisation": found}
        guesses = []
        for each in found * 3:
            shift = rng.normal(size=2) * 0.7
            start, end = sorted(t / 1e6 + s for t, s in zip(each["timestamps"], shift, strict=True))
            label = int(rng.choice([0, 1, 2, 3, 7, each["label_id"], each["label_id"]]))  # 1 and others collide
            score = round(float(rng.random()), 1 if v % 2 else 6)  # with ties
            guesses.append({"label": str(label), "score": str(score), "timestamps": [start, end]})
        said[f"video_{v}"] = {"action_localisation": guesses}
    return truth, said


def grounded_case(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    truth, said = {}, {}
    for v in range(5):
        frames = [int(f) for f in np.sort(rng.choice(300, 7, replace=False))]
        tracks = []
        for k in range(4):
            corner = rng.random(2) * 0.6 + np.cumsum(rng.normal(size=(7, 2)) * 0.02, 0)
            boxes = np.clip(np.concatenate([corner, corner + 0.2], 1), 0, 1)
            tracks.append({"id": k, "label": "o", "bounding_boxes": boxes.tolist(), "frame_ids": frames,
                           "initial_tracking_box": [1] + [0] * 6})  # fmt: skip
        questions, answers = [], {}
        for q in (0, 5):
            chosen = [int(a) for a in rng.choice(4, int(rng.integers(1, 4)), replace=False)]
            questions.append({"id": q, "question": "which?", "answers": chosen, "area": "physics", "reasoning": "descriptive"})
            found = []
            for k in range(int(rng.integers(0, 14))):
                boxes = np.array(tracks[int(rng.integers(4))]["bounding_boxes"]) + rng.normal(size=(7, 4)) * 0.03
                boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
                found.append({"id": k, "score": float(rng.random()), "bounding_boxes": boxes.tolist(), "frame_ids": frames})
            answers[q] = found
        meta = {"resolution": [100, 200], "frame_rate": 30.0, "num_frames": 300}
        truth[f"video_{v}"] = {"metadata": meta, "object_tracking": tracks, "grounded_question": questions}
        said[f"video_{v}"] = {"grounded_question": answers}
    return truth, said


def main(notebooks: Path, toolkit: Path, localisation: Path) -> None:
    from collections.abc import Mapping

    common = {"np": np, "Dict": dict, "List": list, "Tuple": tuple, "Any": Any, "Mapping": Mapping}
    cases = {}
    truth, said = objects_case(np.random.default_rng(0))
    cases["object"] = {"truth": truth, "said": said, "wanted": _objects(notebooks, toolkit, dict(common), truth, said)}
    truth, said = points_case(np.random.default_rng(1))
    scope = functions(cells(notebooks / "single_point_tracking.ipynb"), ["compute_tapvid_metrics", "evaluate"], dict(common))
    cases["point"] = {"truth": truth, "said": said, "wanted": {"average_jaccard": float(scope["evaluate"](said, truth))}}
    truth, said = segments_case(np.random.default_rng(2))
    cases["action"] = {"truth": truth, "said": said, "wanted": _segments(localisation, truth, said)}
    truth, said = grounded_case(np.random.default_rng(3))
    cases["grounded"] = {"truth": truth, "said": said, "wanted": _grounded(notebooks, dict(common), truth, said)}
    GOLDEN.write_text(json.dumps(cases, separators=(",", ":")) + "\n")


def _objects(notebooks: Path, toolkit: Path, scope: dict[str, Any], truth: Any, said: Any) -> dict[str, float]:
    code = (toolkit / "vot/region/raster.py").read_text().split("from vot.region import")[0]
    raster: dict[str, Any] = {}
    exec(code.replace("cache=True", ""), raster)

    def overlap(pair: tuple[Any, Any]) -> float:
        a, b = (np.round(np.array(box, np.float32)[:, None]) for box in pair)
        return raster["_calculate_overlap"](a, b, 1, 1, (0, 0), (0, 0), None)

    scope |= {
        "Rectangle": lambda *box: box,
        "calculate_region_overlaps": lambda first, second: [overlap(pair) for pair in zip(first, second, strict=True)],
    }
    names = [
        "get_start_frame",
        "get_start_info",
        "bbox2region",
        "trajectory2region",
        "calc_accuracy",
        "filter_pred_boxes",
        "run_iou",
    ]
    functions(cells(notebooks / "single_object_tracking.ipynb"), names, scope)
    tracks = {video: list(found.values()) for video, found in scope["run_iou"](said, truth).items()}
    return {"average_iou": float(np.mean([np.mean(ious) for ious in tracks.values() if ious]))}


def _segments(localisation: Path, truth: Any, said: Any) -> dict[str, Any]:
    import pandas as pd

    scope: dict[str, Any] = {}
    exec(localisation.read_text(), scope)
    rows = [
        {"video-id": video, "t-start": e["timestamps"][0] / 1e6, "t-end": e["timestamps"][1] / 1e6, "label": e["label_id"]}
        for video, item in truth.items()
        for e in item["action_localisation"]
    ]
    judge = object.__new__(scope["ANETdetection"])
    judge.tiou_thresholds, judge.top_k, judge.num_workers = np.linspace(0.1, 0.5, 5), (1, 5), 1
    judge.ap, judge.split, judge.dataset_name = None, "valid", "perception"
    judge.ground_truth = pd.DataFrame(rows)
    judge.activity_index = {j: i for i, j in enumerate(sorted(judge.ground_truth["label"].unique()))}
    judge.ground_truth["label"] = judge.ground_truth["label"].replace(judge.activity_index)
    flat = [(video, e) for video, item in said.items() for e in item["action_localisation"]]
    predictions = pd.DataFrame(
        {
            "video-id": [video for video, _ in flat],
            "t-start": [e["timestamps"][0] for _, e in flat],
            "t-end": [e["timestamps"][1] for _, e in flat],
            "label": [int(e["label"]) for _, e in flat],
            "score": [float(e["score"]) for _, e in flat],
        }
    )
    each, whole, _ = judge.evaluate(predictions, verbose=False)
    return {"map": float(whole), "map_at": dict(zip(["0.1", "0.2", "0.3", "0.4", "0.5"], map(float, each), strict=True))}


def _grounded(notebooks: Path, scope: dict[str, Any], truth: Any, said: Any) -> dict[str, float]:
    from trackeval.metrics import HOTA

    names = ["get_start_frame", "get_start_info", "filter_pred_boxes", "search_frame_ids", "build_gt_ids", "calculate_iou"]
    names += ["top_k_tracks", "run_iou", "eval_sequences"]
    functions(cells(notebooks / "grounded_vqa.ipynb"), names, scope)
    found = scope["eval_sequences"](HOTA(), scope["run_iou"](said, truth))
    return {
        ours: float(found[theirs])
        for ours, theirs in (("hota", "HOTA"), ("det_a", "DetA"), ("ass_a", "AssA"), ("loc_a", "LocA"))
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
