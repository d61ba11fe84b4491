"""`tapetum eval perception-test` and `tapetum submit perception-test`, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.perception_test.test_scores import GOLDEN

from tapetum.cli.main import main


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
