"""Times the scores of segments and of grounded answers beside the public notebooks', in one run, and compares the numbers.

    python benchmarks/perception_metrics.py LOCALISATION.py NOTEBOOKS [--out evidence/perception-metrics]

LOCALISATION.py: libs/utils/metrics.py of github.com/ptchallenge-workshop/actionformer_release_PT; NOTEBOOKS: folder `baselines`
of github.com/google-deepmind/perception_test. Needs pandas, joblib and trackeval. Inputs are synthetic: 100 videos with 6
segments of 63 classes on average and 50 predictions each; 40 questions of 24 frames, 3 true and 10 predicted tracks. Time is
CPU time, the least of several rounds; both sides start from what they have read, and end at their scores.
"""

import argparse
import json
import runpy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.systems.perception_test.annotations import annotations_of
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.predictions import read_predictions

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "make_perception_test_golden.py"
WANTED = {"map": 50.0, "hota": 5.0}
"""Times as fast as the notebooks."""


def segments_case(videos: int = 100, predictions: int = 50, classes: int = 63) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make annotations and predictions of actions."""
    rng = np.random.default_rng(0)
    truth, said = {}, {}
    for v in range(videos):
        starts = rng.random(int(rng.integers(1, 12))) * 25
        found = [
            {
                "id": k,
                "label": "a",
                "label_id": int(rng.integers(classes)),
                "timestamps": [round(s * 1e6), round((s + 1 + 4 * rng.random()) * 1e6)],
            }
            for k, s in enumerate(starts)
        ]
        meta = {"resolution": [100, 200], "frame_rate": 30.0, "num_frames": 900}
        truth[f"video_{v}"] = {"metadata": meta, "action_localisation": found}
        rows = []
        for _ in range(predictions):
            near = found[int(rng.integers(len(found)))]
            start, end = np.sort(np.array(near["timestamps"]) / 1e6 + rng.normal(size=2))
            label = near["label_id"] if rng.random() < 0.5 else int(rng.integers(classes))
            rows.append({"label": str(label), "score": str(float(rng.random())), "timestamps": [float(start), float(end)]})
        said[f"video_{v}"] = {"action_localisation": rows}
    known = {segment["label_id"] for item in truth.values() for segment in item["action_localisation"]}
    for item in said.values():
        item["action_localisation"] = [row for row in item["action_localisation"] if int(row["label"]) in known]
    return truth, said


def grounded_case(
    questions: int = 40, frames: int = 24, true: int = 3, predicted: int = 10
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make annotations and predictions of grounded questions, one a video."""
    rng = np.random.default_rng(1)
    truth, said = {}, {}
    at = list(range(0, 30 * frames, 30))

    def boxes() -> np.ndarray:
        corner = rng.random(2) * 0.6 + np.cumsum(rng.normal(size=(frames, 2)) * 0.01, 0)
        return np.clip(np.concatenate([corner, corner + 0.2], 1), 0, 1)

    for v in range(questions):
        tracks = [{"id": k, "label": "o", "bounding_boxes": boxes().tolist(), "frame_ids": at, "initial_tracking_box": [1] + [0]
        * (frames - 1)}
                  for k in range(true)]  # fmt: skip
        rows = []
        for k in range(predicted):
            near = np.array(tracks[k % true]["bounding_boxes"]) + rng.normal(size=(frames, 4)) * 0.02
            near[:, 2:] = np.maximum(near[:, 2:], near[:, :2])
            rows.append({"id": k, "score": float(rng.random()), "bounding_boxes": near.tolist(), "frame_ids": at})
        asked = {"id": 0, "question": "which?", "answers": list(range(true)), "area": "physics", "reasoning": "descriptive"}
        meta = {"resolution": [100, 200], "frame_rate": 30.0, "num_frames": 30 * frames}
        truth[f"video_{v}"] = {"metadata": meta, "object_tracking": tracks, "grounded_question": [asked]}
        said[f"video_{v}"] = {"grounded_question": {0: rows}}
    return truth, said


def timed(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Give the least CPU seconds of some rounds, and what was made."""
    best, made = float("inf"), None
    for _ in range(rounds):
        began = time.process_time()
        made = work()
        best = min(best, time.process_time() - began)
    return best, made


def ours(task: str, truth: Mapping[str, Any], said: Mapping[str, Any], rounds: int) -> tuple[float, Mapping[str, Any]]:
    """Score with the reading of the notebooks."""
    annotations = annotations_of(truth)
    predictions = read_predictions(task, said, annotations)
    seconds, found = timed(lambda: score(task, annotations, predictions, "notebook"), rounds)
    return seconds, found.numbers


def public_map(localisation: Path, truth: Mapping[str, Any], said: Mapping[str, Any], rounds: int) -> tuple[float, float]:
    """Score with the public code of segments."""
    import pandas as pd

    scope: dict[str, Any] = {}
    exec(compile(localisation.read_text(), str(localisation), "exec"), scope)
    judge = object.__new__(scope["ANETdetection"])
    judge.tiou_thresholds, judge.top_k, judge.num_workers = np.linspace(0.1, 0.5, 5), (1, 5), 1
    judge.ap, judge.split, judge.dataset_name = None, "valid", "perception"
    true = [
        (v, e["timestamps"][0] / 1e6, e["timestamps"][1] / 1e6, e["label_id"])
        for v, i in truth.items()
        for e in i["action_localisation"]
    ]
    judge.ground_truth = pd.DataFrame(true, columns=["video-id", "t-start", "t-end", "label"])
    judge.activity_index = {j: i for i, j in enumerate(sorted(judge.ground_truth["label"].unique()))}
    judge.ground_truth["label"] = judge.ground_truth["label"].replace(judge.activity_index)
    rows = [
        (v, *e["timestamps"], int(e["label"]), float(e["score"])) for v, i in said.items() for e in i["action_localisation"]
    ]
    predictions = pd.DataFrame(rows, columns=["video-id", "t-start", "t-end", "label", "score"])
    seconds, found = timed(lambda: judge.evaluate(predictions.copy(), verbose=False), rounds)
    return seconds, float(found[1])


def public_hota(notebooks: Path, truth: Mapping[str, Any], said: Mapping[str, Any], rounds: int) -> tuple[float, float]:
    """Score with the notebook of grounded questions and TrackEval."""
    from trackeval.metrics import HOTA

    maker = runpy.run_path(str(GOLDEN))
    scope = {"np": np, "Dict": dict, "List": list, "Tuple": tuple, "Any": Any, "Mapping": Mapping}
    names = ["get_start_frame", "get_start_info", "filter_pred_boxes", "search_frame_ids", "build_gt_ids", "calculate_iou"]
    names += ["top_k_tracks", "run_iou", "eval_sequences"]
    maker["functions"](maker["cells"](notebooks / "grounded_vqa.ipynb"), names, scope)
    seconds, found = timed(lambda: scope["eval_sequences"](HOTA(), scope["run_iou"](said, truth)), rounds)
    return seconds, float(found["HOTA"])


def main() -> None:
    """Time, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("localisation", type=Path)
    parser.add_argument("notebooks", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    for name, task, case, public, path in (
        ("map", "action", segments_case, public_map, given.localisation),
        ("hota", "grounded", grounded_case, public_hota, given.notebooks),
    ):
        truth, said = case()
        own, numbers = ours(task, truth, said, 5 * given.rounds)
        theirs, wanted = public(path, truth, said, given.rounds)
        difference = abs(float(numbers[name]) - wanted)
        ratio = theirs / own
        results[name] = {
            "ms": 1e3 * own,
            "public_ms": 1e3 * theirs,
            "ratio": ratio,
            "wanted": WANTED[name],
            "difference": difference,
        }
        said_ms = (
            f"tapetum {1e3 * own:9.2f} ms  public {1e3 * theirs:9.1f} ms  {ratio:7.1f} times as fast (wanted {WANTED[name]:g})"
        )
        good = ratio >= WANTED[name] and difference < 1e-9
        print(f"{name:5} {said_ms}  numbers differ by {difference:.1e}  {'good' if good else 'NOT GOOD'}")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
