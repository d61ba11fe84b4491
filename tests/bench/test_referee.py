"""One model on every benchmark whose files are there: what is scored, what is left out and why, and a run that goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapetum
from bench.test_registry import davis, tapvid, votsp
from tapetum.core.errors import BadInput

Run = Callable[..., tuple[int, str, str]]


def test_every_benchmark_whose_files_are_there_is_scored_once(tmp_path: Path, run: Run) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    _, _, accuracy = votsp(root / "votsp")
    _, _, jaccard = tapvid(root / "tapvid-davis")
    davis(root / "davis")
    (root / "egoschema").mkdir()
    code, text, _ = run("eval", "all", "--model", "static", "--data", root, "--out", out)
    assert code == 0
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert f"{accuracy:.3f}" in rows["votsp"]
    assert "davis left out: " in text  # a tracker is no encoder
    assert "egoschema left out: " in text
    found = tapetum.evaluate_all(model="static", data=root, out=out)
    scored = {each.benchmark: each for each in found.standings if each.value is not None}
    assert {name: each.value for name, each in scored.items()} == {
        "tapvid-davis": pytest.approx(jaccard), "votsp": pytest.approx(accuracy)
    }  # fmt: skip
    low, high = scored["votsp"].interval or (1, 0)
    assert low <= accuracy <= high
    ledger = json.loads((out / "votsp" / "ledger.json").read_text())
    assert len(ledger["sessions"]) == 1  # the second call had nothing to do
    assert scored["votsp"].wall_seconds == ledger["total"]["wall_seconds"]
    assert np.isfinite(scored["votsp"].energy_kwh or np.nan)


def test_a_fault_of_tapetum_is_no_benchmark_left_out(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    davis(tmp_path / "davis")
    monkeypatch.setattr("tapetum.bench.davis.propagate", lambda *_: 1 / 0)
    code, out, said = run("eval", "all", "--model", "xy", "--data", tmp_path, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "unforeseen ZeroDivisionError" in said


def test_what_cannot_be_scored_is_said(tmp_path: Path, run: Run) -> None:
    with pytest.raises(BadInput, match="no folder of a benchmark"):
        tapetum.evaluate_all(model="static", data=tmp_path, out=tmp_path / "out")
    davis(tmp_path / "davis")
    code, _, said = run("eval", "all", "--model", "static", "--data", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert "no benchmark could be scored" in said
    assert "davis is left out: " in said  # the reason is there too where stdout is thrown away
    tapvid(tmp_path / "tapvid-davis")
    (tmp_path / "exiting_file.py").write_text("class Exits:\n    def track(self, *_, **__):\n        raise SystemExit(0)\n")
    reference = f"{tmp_path}/exiting_file.py:Exits"
    code, _, said = run("eval", "all", "--model", reference, "--data", tmp_path, "--out", tmp_path / "out2")
    assert code == 2
    assert "tapvid-davis is left out: exiting_file.py:Exits, line 3, in track: ended the program (exit 0)" in said
    text = "from tapetum.core.errors import MissingExtra\nclass Lacks:\n    def track(self, *_, **__):\n        raise "
    (tmp_path / "lacking_file.py").write_text(text + "MissingExtra('scipy', 'scores', 'a score')\n")
    found = tapetum.evaluate_all(model=f"{tmp_path}/lacking_file.py:Lacks", data=tmp_path, out=tmp_path / "out3").standings
    assert any("a score needs the package scipy" in each.left_out for each in found)
