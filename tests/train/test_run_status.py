"""The state of a run as its folder tells it: a log that is longer than what is read, damage, and whether its process lives."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tapetum.account.ledger import format_ledger
from tapetum.train import Task, TrainConfig, fit
from tapetum.train.launch import lock_folder
from tapetum.train.run_status import find_runs, is_locked, loss_trend, read_costs, read_status, read_tail


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


def test_a_run_is_told_by_its_log_and_ledger(tmp_path: Path) -> None:
    lines = [record(step, 3.0 if step <= 20 else 2.0, speed=40.0 + step % 3) for step in range(1, 41)]
    lines[29] = record(30, 2.0, eval={"knn": 0.5})
    run = write_run(tmp_path / "run", lines, processes=16, machines=2, energy_measured=True)
    (run / "checkpoints" / "step_00000030").mkdir(parents=True)
    (run / "checkpoints" / "step_00000020").mkdir()
    (run / "checkpoints" / "tmp-step_00000040").mkdir()
    os.utime(run / "log.jsonl", (0, 0))
    found = read_status(run)
    assert (found.state, found.alive, found.step, found.steps, found.share) == ("stopped", False, 40, 200, 0.2)
    assert (found.loss, found.loss_before, found.trend) == (2.0, 3.0, "falling")
    assert found.samples_per_s == 41.0
    assert found.seconds_left == pytest.approx(160 * 10 / 41)
    assert (found.checkpoint, dict(found.scores), found.scored_at) == (30, {"knn": 0.5}, 30)
    assert (found.processes, found.machines, found.parallel) == (16, 2, "fsdp")
    assert (found.wall_seconds, found.cpu_seconds, found.flops) == (7200.0, 3600.0, 6e12)
    assert found.energy_kwh is not None
    assert (found.energy_kwh.value, found.energy_kwh.low, found.energy_kwh.high) == (2.0, 1.0, 3.0)
    assert found.logged_s_ago is not None
    assert found.logged_s_ago > 1e9
    (run / "checkpoints" / "step_00000200").mkdir()
    assert read_status(run).state == "finished"


def test_a_run_with_checkpoints_elsewhere_is_finished_by_its_log(tmp_path: Path) -> None:
    config = {"steps": 30, "batch_size": 10, "checkpoint_folder": "/scratch/run"}
    run = write_run(tmp_path / "run", [record(29)], config=config)
    assert (read_status(run).state, read_status(run).checkpoint) == ("stopped", None)
    with (run / "log.jsonl").open("a") as log:
        log.write(record(30))
    assert read_status(run).state == "finished"


def test_only_the_end_of_a_long_log_is_read_and_half_a_line_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [record(step, note="x" * 500) for step in range(1, 2001)])
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 2001, "los')
    records = read_tail(run / "log.jsonl")
    assert 300 < len(records) < 600
    assert [each["step"] for each in records] == list(range(2001 - len(records), 2001))


@pytest.mark.parametrize("ledger", ["", "[]", "{}", '{"total": 3, "sessions": []}', '{"total": {}, "sessions": [7]}'])
def test_what_is_damaged_counts_as_missing(tmp_path: Path, ledger: str) -> None:
    run = write_run(tmp_path / "run", ["no json\n", '{"step": "many"}\n', "[1]\n", record(3, None), record(4, 2.0)])
    (run / "ledger.json").write_text(ledger)
    found = read_status(run)
    assert (found.step, found.steps, found.loss, found.trend, found.energy_kwh) == (4, None, 2.0, None, None)
    assert found.seconds_left is None


def test_a_difference_within_the_noise_is_no_trend() -> None:
    noise = torch.randn(400, generator=torch.Generator().manual_seed(1))
    assert loss_trend((3 + noise[:200]).tolist())[2] == "level"
    assert loss_trend((3 + 0.1 * noise[:200] + torch.linspace(0, 1, 200)).tolist())[2] == "rising"


class Spy(Task):
    """Reads the state of its own run, of which the process that trains it holds the lock."""

    def __init__(self, run: Path):
        self.run = run

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def dataset(self) -> list[torch.Tensor]:
        return [torch.ones(1)] * 100

    def loss(self, model, batch, context):
        return model(batch).square().mean(), {}

    def evaluate(self, model, step):
        found = read_status(self.run)
        return {"alive": found.alive, "step": found.step, "steps": found.steps or 0}


def test_a_run_lives_while_its_process_does_and_says_its_length_from_the_first_step_on(tmp_path: Path) -> None:
    config = TrainConfig(steps=3, batch_size=2, eval_every=1, threads=1, tensorboard=False)
    fit(Spy(tmp_path), replace(config, max_minutes=0), tmp_path)
    assert read_status(tmp_path).state == "stopped"
    fit(Spy(tmp_path), config, tmp_path)
    scores = [json.loads(line)["eval"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert scores == [{"alive": True, "step": n, "steps": 0 if n == 0 else 3} for n in range(3)]
    found = read_status(tmp_path)
    assert (found.state, found.step, found.processes, found.machines) == ("finished", 3, 1, 1)


def test_looking_at_a_lock_does_not_keep_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    with lock_folder(tmp_path):
        assert is_locked(tmp_path / ".lock")
    assert not is_locked(tmp_path / ".lock")
    with lock_folder(tmp_path):
        pass


def test_runs_are_found_below_a_folder(tmp_path: Path) -> None:
    names = ["b", "a/phase-2", "a/phase-1"]
    for name in names:
        write_run(tmp_path / name, [record(1)])
    (tmp_path / "a" / "phase-1" / "checkpoints" / "step_00000001").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert [str(run.relative_to(tmp_path)) for run in find_runs(tmp_path)] == sorted(names)
    assert find_runs(tmp_path / "b") == [tmp_path / "b"]
    assert find_runs(tmp_path / "notes") == []


def test_what_a_folder_that_is_locked_trains_is_below_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "stills").mkdir()
    (tmp_path / ".lock").touch()
    assert find_runs(tmp_path) == [tmp_path]
    (tmp_path / "run" / "log.jsonl").touch()
    assert find_runs(tmp_path) == [tmp_path / "run"]


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
    assert read_status(run).flops == total["flops_forward"] + total["flops_backward"]
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
