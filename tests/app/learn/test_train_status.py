"""`tapetum train status`: one run in lines, several in a table, and what is no run."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tapetum.app.learn.train_status import status
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.train import run_status

NOW = time.time()


def write_run(run: Path, steps: int) -> None:
    run.mkdir(parents=True)
    lines = [{"step": step, "loss": 2.0 + (step <= 10), "samples_per_s": 8.0, "metrics": {}} for step in range(1, 21)]
    lines[-1]["eval"] = {"knn": 0.25}
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    total = {"wall_seconds": 3600, "cpu_seconds": 7200, "flops_forward": 1e12, "flops_backward": 2e12}
    total |= {"energy_kwh": 0.5, "energy_kwh_low": 0.25, "energy_kwh_high": 1, "co2_kg": 0.125}
    session = {"config": {"steps": steps, "batch_size": 32, "parallel": "fsdp"}, "processes": 16, "machines": 2}
    (run / "ledger.json").write_text(json.dumps({"total": total, "sessions": [session]}))
    (run / "checkpoints" / "step_00000020").mkdir(parents=True)
    for path in (run / "log.jsonl", run / "checkpoints" / "step_00000020"):
        os.utime(path, (NOW - 30,) * 2)


def test_one_run_is_told_in_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_status, "time", SimpleNamespace(time=lambda: NOW))
    write_run(tmp_path / "run", 2000)
    lines = dict(line.split(maxsplit=1) for line in status(str(tmp_path / "run")).as_text().splitlines())
    assert lines == {
        "run": str(tmp_path / "run"),
        "state": "stopped, the same command goes on; last line 30 s ago",
        "step": "20 of 2,000, 1.0%",
        "loss": "2, falling (3 before)",
        "speed": "8 samples/s",
        "left": "2:12:00",
        "checkpoint": "step 20, 30 s ago",
        "scores": "knn 0.25 at step 20",
        "processes": "16 on 2 machines, fsdp",
        "cost": "1 h wall, 2 h CPU, 3e+12 FLOP",
        "energy": "0.5 kWh (0.25 to 1), 0.125 kg CO2, estimated, not measured",
    }


def test_runs_of_a_folder_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "sweep" / "b", 20)
    write_run(tmp_path / "sweep" / "a", 2000)
    assert main(["train", "status", str(tmp_path / "sweep")]) == 0
    head, one, other = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "state", "step", "done", "loss", "samples/s", "left", "checkpoint", "kWh"]
    assert one.split()[1:] == ["stopped", "20", "1%", "2", "falling", "8", "2:12:00", "20", "0.5"]
    assert other.split()[1:] == ["finished", "20", "100%", "2", "falling", "8", "20", "0.5"]
    assert main(["train", "status", str(tmp_path / "sweep"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert [row["run"] for row in rows] == [str(tmp_path / "sweep" / name) for name in "ab"]
    assert rows[0]["energy_kwh"] == {"value": 0.5, "low": 0.25, "high": 1.0}
    assert (rows[0]["alive"], rows[0]["seconds_left"], rows[0]["share"]) == (False, 7920.0, 0.01)


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no folder .*nowhere; give the folder of a run"):
        status(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"has no log\.jsonl, nor has a folder in it; give the folder of a run, --out of its"):
        status(tmp_path)
    with pytest.raises(BadInput, match="there is no RUN; give folders of runs"):
        status(())
