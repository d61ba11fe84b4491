"""The energy of a run is that of its machines, whatever the number of processes on each."""

import json
from pathlib import Path
from typing import Any

import pytest

from tapetum.account.config import LedgerConfig
from tapetum.account.machine import Estimate, meters_of_process


def trained(jobs: Any, out: Path, machines: int, counters: bool) -> dict[str, Any]:
    codes = jobs.run("metered", out, 4, machines=machines, counters=counters)
    assert codes == [0] * 4, (out / "stderr").read_text()
    [session] = json.loads((out / "ledger.json").read_text())["sessions"]
    assert (session["processes"], session["machines"]) == (4, machines)
    return session


@pytest.mark.slow
def test_counters_are_added_up_over_machines_and_not_over_processes(jobs: Any, tmp_path: Path) -> None:
    session = trained(jobs, tmp_path / "run", 2, counters=True)
    assert session["energy_kwh"] == 2.0
    assert session["energy_measured"]
    assert session["energy_method"] == "RAPL; the sum over 2 machines"


@pytest.mark.slow
def test_estimates_are_of_the_cpu_seconds_of_all_processes(jobs: Any, tmp_path: Path) -> None:
    session = trained(jobs, tmp_path / "run", 2, counters=False)
    assert session["energy_kwh"] == pytest.approx(session["cpu_seconds"] * 10 / 3.6e6, rel=1e-6)  # 10 W a core
    assert not session["energy_measured"]


def test_counters_of_a_machine_are_read_by_its_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = [Estimate(LedgerConfig().constant("watts_per_core"))]
    monkeypatch.setattr("tapetum.account.machine._rapl", lambda: None)
    assert meters_of_process(LedgerConfig(), [], True) == meters_of_process(LedgerConfig(), [], False) == estimate
    monkeypatch.setattr("tapetum.account.machine._rapl", lambda: "counter")
    assert meters_of_process(LedgerConfig(), [], True) == ["counter"]
    assert meters_of_process(LedgerConfig(), [], False) == []
    assert meters_of_process(LedgerConfig(energy="codecarbon"), [], False) == []
