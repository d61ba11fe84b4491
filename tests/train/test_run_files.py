"""What the folder of a run says: the end of a long log, costs of killed sessions, and whether its process lives."""

import json
from pathlib import Path
from typing import Any

import pytest

from tapetum.account.ledger import format_ledger
from tapetum.train.launch import lock_folder
from tapetum.train.run_files import is_locked, read_costs, read_tail


def record(step: int, loss: float | None = 1.0, speed: float = 50.0, **more: object) -> str:
    return json.dumps({"step": step, "loss": loss, "samples_per_s": speed, "metrics": {}, **more}) + "\n"


def write_run(run: Path, lines: list[str], steps: int = 200, **session: object) -> Path:
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text("".join(lines))
    total = {"wall_seconds": 7200.0, "cpu_seconds": 3600.0, "flops_forward": 2e12, "flops_backward": 4e12}
    total |= {"energy_kwh": 2.0, "energy_kwh_low": 1.0, "energy_kwh_high": 3.0, "co2_kg": 1.0}
    config = {"steps": steps, "batch_size": 10, "parallel": "fsdp"}
    (run / "ledger.json").write_text(json.dumps({"total": total, "sessions": [{"config": config} | session]}))
    return run


def test_only_the_end_of_a_long_log_is_read_and_half_a_line_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [record(step, note="x" * 500) for step in range(1, 2001)])
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 2001, "los')
    records = read_tail(run / "log.jsonl")
    assert 300 < len(records) < 600
    assert [each["step"] for each in records] == list(range(2001 - len(records), 2001))


def test_looking_at_a_lock_does_not_keep_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    with lock_folder(tmp_path):
        assert is_locked(tmp_path / ".lock")
    assert not is_locked(tmp_path / ".lock")
    with lock_folder(tmp_path):
        pass


def test_what_a_killed_session_did_stays_on_the_books(jobs: Any, tmp_path: Path) -> None:
    """It dies as it saves step 4, its ledger being of step 2; the next session does steps 3 to 6."""
    run, settings = tmp_path / "run", {"checkpoint_every": 2}
    assert jobs.run("train", run, 1, "os.rename:tmp-step_00000004", task="contrast", config=settings) == [-9]
    stored = json.loads((run / "ledger.json").read_text())
    assert (stored["sessions"][0]["state"], stored["total"]["steps"]) == ("running", 2)
    costs = read_costs(run / "ledger.json")
    [killed], total, per_step = costs["sessions"], costs["total"], costs["sessions"][0]["flops_per_step"]
    assert (killed["state"], killed["steps"], killed["samples"]) == ("killed", 4, 32)
    assert (total["flops_forward"], total["flops_backward"]) == (4 * per_step["forward"], 4 * per_step["backward"])
    times = [record["time"] for record in read_tail(run / "log.jsonl")]
    grown = total["wall_seconds"] - stored["total"]["wall_seconds"]
    assert grown == pytest.approx(times[3] - times[1])
    for name in ("cpu_seconds", "energy_kwh", "energy_kwh_high", "co2_kg"):
        assert total[name] / stored["total"][name] == pytest.approx(1 + grown / stored["total"]["wall_seconds"]), name
    assert "in 1 sessions, 1 of them killed" in format_ledger(costs)
    assert jobs.run("train", run, 1, task="contrast", config=settings) == [0]
    whole = json.loads((run / "ledger.json").read_text())
    assert [(session["state"], session["steps"]) for session in whole["sessions"]] == [("killed", 4), ("finished", 4)]
    assert whole["total"]["steps"] == 8
    assert whole["total"]["flops_forward"] == 8 * per_step["forward"]


def test_a_session_that_still_trains_is_left_as_it_stands(tmp_path: Path) -> None:
    session = {"state": "running", "start": 0, "steps": 2, "samples": 20, "wall_seconds": 1.0, "machine": {}}
    run = write_run(tmp_path / "run", [record(step, time=step / 2) for step in (1, 2, 3, 4)], **session)
    with lock_folder(run):
        assert read_costs(run / "ledger.json")["sessions"][0]["state"] == "running"
