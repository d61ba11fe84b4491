"""`tapetum ledger`: one run for people, several side by side, all of it as JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tapetum.account.ledger import Ledger, read

Run = Callable[..., tuple[int, str, str]]


def made(run: Path, steps: int) -> Path:
    run.mkdir(parents=True)
    ledger = Ledger(run / "ledger.json", {}, command="test")
    ledger.flops_per_step = {"forward": 1000, "backward": 2000}
    ledger.add(steps, 4 * steps)
    ledger.write()
    return run


def test_one_run(run: Run, tmp_path: Path) -> None:
    made(tmp_path / "a", 12)
    code, out, err = run("ledger", tmp_path / "a")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"run      {tmp_path / 'a'}"
    assert "steps    12 (48 samples) in 1 sessions" in out
    assert "FLOPs    3.6e+04 (1.2e+04 forward, 2.4e+04 backward)" in out
    code, file, _ = run("ledger", tmp_path / "a" / "ledger.json")
    assert (code, file) == (0, out)


def test_several_side_by_side_and_phases(run: Run, tmp_path: Path) -> None:
    made(tmp_path / "a", 12)
    for phase, steps in (("1-masked", 5), ("2-classes", 1_000)):
        made(tmp_path / "b" / phase, steps)
    code, out, _ = run("ledger", tmp_path / "b", tmp_path / "a", tmp_path / "a")
    assert code == 0
    rows = {line[:14].strip(): line[14:].split() for line in out.splitlines()}
    assert rows["steps"] == ["5", "1,000", "12"]
    assert rows["FLOPs backward"] == ["1e+04", "2e+06", "2.4e+04"]
    assert rows["machine"] == ["a", "a", "a"]
    assert rows["measured by"] == ["b", "b", "b"]
    code, out, _ = run("ledger", tmp_path / "b", tmp_path / "a", "--json")
    told = json.loads(out)["runs"]
    assert [Path(each["run"]).name for each in told] == ["1-masked", "2-classes", "a"]
    assert told[2]["total"] == read(tmp_path / "a" / "ledger.json")["total"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no ledger.json"), ("{", "is no ledger"), ("\x00\xff", "is no ledger")]
)
def test_what_is_no_ledger(run: Run, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "ledger.json").write_text(content, encoding="latin-1")
    code, out, err = run("ledger", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_no_folder(run: Run, tmp_path: Path) -> None:
    assert "there is no folder" in run("ledger", tmp_path / "none")[2]
    assert run("ledger")[0] == 2


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf"), -float("inf"), 10**400])
@pytest.mark.parametrize("place", ["total energy_kwh", "total steps", "total co2_kg_low", "phases_per_step", "codecarbon_kwh"])
def test_costs_that_no_run_has(run: Run, tmp_path: Path, place: str, value: float) -> None:
    file = made(tmp_path / "a", 12) / "ledger.json"
    content = read(file)
    if place.startswith("total"):
        content["total"][place.split()[1]] = value
    elif place == "phases_per_step":
        content["sessions"][-1][place] = {"student": value}
    else:
        content["sessions"][-1][place] = value
    file.write_text(json.dumps(content))
    made(tmp_path / "b", 3)
    for runs in ((tmp_path / "a",), (tmp_path / "a", tmp_path / "b")):
        code, out, error = run("ledger", *runs)
        assert (code, out, error.count("\n")) == (2, "", 1)
        name = {"phases_per_step": "FLOPs of student"}.get(place, place.split()[-1])
        assert f"{file} says {name}" in error
