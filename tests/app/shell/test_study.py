"""`tapetum study`, as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from systems.pretraining.study.sweep_script import FEW, TINY

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_run_then_report(tmp_path: Path, run: Run) -> None:
    plan, out = tmp_path / "own.toml", tmp_path / "out"
    plan.write_text(TINY.format(minutes=2) + FEW)
    code, told, errors = run("study", "run", "--plan", plan, "--out", out, "--dry")
    assert (code, told) == (0, "0 of 2 points\n"), errors
    assert "2 points, 0 of them done; left are " in errors
    assert not out.exists()
    code, told, errors = run("study", "run", "--plan", plan, "--out", out)
    assert code == 0, errors
    assert told.splitlines() == ["2 of 2 points", f"table   {out / 'points.jsonl'}", f"report  tapetum study report {out}"]
    assert "2/2  s_byol_5e+06_curated_1" in errors
    code, told, errors = run("study", "report", out)
    assert code == 0, errors
    assert told.startswith("point ")
    assert told.splitlines()[-2:] == ["points   2 of 2", f"results  {out / 'results.json'}"]
    code, told, _ = run("study", "report", out, "--json")
    assert json.loads(told) == {"results": str(out / "results.json"), "points": 2, "wanted": 2}
    assert json.loads((out / "results.json").read_text())["wanted"] == 2
    code, told, errors = run("study", "run", "--plan", "tiny", "--out", out)
    assert (code, told) == (2, "")
    assert "is of a study with another plan or other data" in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("study run --plan smal --out o", "there is no plan smal; it is one of paper, small, tiny, or a TOML file"),
        ("study run --plan tiny --out o --most 0", "--most is 0; it must be 1 or more"),
        ("study run --plan tiny --out o --images nowhere", "nowhere; give a folder of images"),
        ("study run --plan paper --out o --pixels nowhere", "there is no folder"),
        ("study report nowhere", "nowhere is no folder of a study; give the --out of tapetum study run"),
    ],
)
def test_a_slip_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, words: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, told, errors = run(*words.split())
    assert (code, told, errors.count("\n")) == (2, "", 1), errors
    assert said in errors
    assert not (tmp_path / "o").exists()
