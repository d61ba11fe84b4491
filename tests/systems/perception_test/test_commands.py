"""`tapetum eval perception-test` and `tapetum submit perception-test`, as a user runs them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.systems.perception_test.test_scores import GOLDEN

from support.traced import memory_below
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.systems.perception_test import predicting
from tapetum.systems.perception_test.annotations import annotations_of
from tapetum.systems.perception_test.predicting import PredictionJob


def test_jobs_are_made_as_they_are_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"resolution": [8, 8], "frame_rate": 1.0, "num_frames": 1}
    point = {"id": 0, "points": [[0.5], [0.5]], "frame_ids": [0]}
    videos = annotations_of({f"video_{number}": {"metadata": metadata, "point_tracking": [point]} for number in range(100)})

    def names(_: object, jobs: Sequence[PredictionJob], *__: object, **___: object) -> Iterator[None]:
        assert jobs[99].identities["point"]["model"] == model
        raise BadInput(f"{len(jobs)} jobs")

    monkeypatch.setattr(predicting, "run_jobs", names)
    model = "static" * 10_000
    with memory_below(1 << 22), pytest.raises(BadInput, match="100 jobs"):  # of 6 MB of names, if each job had its own
        predicting.predict_videos(videos, list, {"point": {"model": model}}, tmp_path)


def run(capsys: Any, *words: object) -> tuple[int, str, str]:
    code = main([*map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def files(tmp_path: Path) -> Any:
    def write(task: str) -> tuple[Path, Path]:
        for side in ("truth", "said"):
            (tmp_path / f"{side}.json").write_text(json.dumps(GOLDEN[task][side]))
        return tmp_path / "truth.json", tmp_path / "said.json"

    return write


@pytest.mark.parametrize("task", ["object", "point", "action", "grounded"])
def test_scores_are_printed_and_said_as_json(task: str, files: Any, capsys: Any) -> None:
    truth, said = files(task)
    words = ("eval", "perception-test", "--task", task, "--annotations", truth, "--predictions", said, "--reading", "notebook")
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    found = json.loads(out)
    for name, wanted in GOLDEN[task]["wanted"].items():
        assert found[name] == pytest.approx(wanted, abs=1e-9)
    code, out, _ = run(capsys, *words)
    assert code == 0
    first = next(iter(GOLDEN[task]["wanted"].items()))
    assert f"{first[1]:.3f}" in out.splitlines()[0]


@pytest.mark.parametrize("task", ["object", "point", "action", "grounded"])
def test_what_is_submitted_is_scored_alike(task: str, files: Any, capsys: Any, tmp_path: Path) -> None:
    truth, said = files(task)
    out = tmp_path / "submission.json"
    common = ("--task", task, "--annotations", truth)
    code, _, _ = run(capsys, "submit", "perception-test", *common, "--predictions", said, "--out", out)
    assert code == 0
    scores = []
    for file in (said, out):
        code, text, _ = run(capsys, "eval", "perception-test", *common, "--predictions", file, "--json")
        assert code == 0
        scores.append(json.loads(text))
    headline = {"object": "average_iou", "point": "average_jaccard", "action": "map", "grounded": "hota"}[task]
    assert scores[1][headline] == pytest.approx(scores[0][headline], abs=1e-3)  # places have six digits
    code, text, _ = run(capsys, "submit", "perception-test", *common, "--check", out, "--json")
    assert (code, json.loads(text)["errors"]) == (0, 0)


def test_a_check_lists_what_is_wrong_and_fails(files: Any, capsys: Any, tmp_path: Path) -> None:
    truth, said = files("object")
    content = json.loads(said.read_text())
    content["video_0"][0]["id"] = "0"
    content["video_1"][0]["frame_ids"][0] = 100_000
    said.write_text(json.dumps(content))
    code, out, err = run(capsys, "submit", "perception-test", "--task", "object", "--annotations", truth, "--check", said)
    assert code == 2
    assert "[id-as-text]" in out
    assert "[frame-outside]" in out
    assert err.count("\n") == 1
    code, _, err = run(capsys, "eval", "perception-test", "--task", "object", "--annotations", truth, "--predictions", said)
    assert (code, err.count("\n")) == (2, 1)
    where = tmp_path / "out.json"
    common = ("submit", "perception-test", "--task", "object", "--annotations", truth, "--predictions", said)
    code, _, _ = run(capsys, *common, "--out", where)
    assert (code, where.exists()) == (2, False)
    code, _, err = run(capsys, *common)
    assert code == 2
    assert "--check FILE, or --predictions FILE and --out FILE" in err


def test_joint_tracking_is_scored_as_its_parts_and_written_back(capsys: Any, tmp_path: Path) -> None:
    """Videos of both kinds, some with objects alone and some with points alone, in one submission."""
    truth: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for task, key in (("object", "object_tracking"), ("point", "point_tracking")):
        for name, item in GOLDEN[task]["truth"].items():
            truth[f"{task}_{name}"] = item
            found = GOLDEN[task]["said"].get(name)
            if found is not None:
                said[f"{task}_{name}"] = {key: found[key] if isinstance(found, dict) else found}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "said.json").write_text(json.dumps(said))
    common = ("perception-test", "--annotations", tmp_path / "truth.json")
    words = ("--task", "joint", "--predictions", tmp_path / "said.json", "--out", tmp_path / "s.json")
    code, out, err = run(capsys, "submit", *common, *words)
    assert code == 0, err
    numbers = []
    for task in ("joint", "object", "point"):
        for reading in ("default", "notebook"):
            words = ("--task", task, "--predictions", tmp_path / "said.json", "--reading", reading, "--json")
            code, out, err = run(capsys, "eval", *common, *words)
            assert code == 0, err
            numbers.append(json.loads(out))
    joint, joint_notebook, objects, objects_notebook, points, points_notebook = numbers
    assert (joint["average_iou"], joint["average_jaccard"]) == (objects["average_iou"], points["average_jaccard"])
    assert joint_notebook["average_iou"] == pytest.approx(GOLDEN["object"]["wanted"]["average_iou"], abs=1e-9)
    assert joint_notebook["average_jaccard"] == pytest.approx(GOLDEN["point"]["wanted"]["average_jaccard"], abs=1e-9)
    assert objects_notebook["average_iou"] == joint_notebook["average_iou"]
    assert points_notebook["by_camera"] == {
        name.removeprefix("point "): value for name, value in joint_notebook["by_camera"].items() if name.startswith("point")
    }
    code, out, _ = run(capsys, "submit", *common, "--task", "joint", "--check", tmp_path / "s.json", "--json")
    assert (code, json.loads(out)["errors"]) == (0, 0)
    written = json.loads((tmp_path / "s.json").read_text())
    assert {name: set(item) for name, item in written.items()} == {name: set(item) for name, item in said.items()}
    code, _, err = run(capsys, "eval", *common, "--task", "joint", "--model", "static")
    assert (code, "predict object and point, each into a file of its own" in err) == (2, True)
