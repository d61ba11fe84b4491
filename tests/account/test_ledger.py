"""The ledger, its meters and what it says of the machine."""

import importlib.util
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tapetum.account.config import Interval, LedgerConfig
from tapetum.account.ledger import ENDS, Gpu, Ledger, format_ledger, read
from tapetum.account.machine import (
    Estimate,
    Rapl,
    git_commit,
    machine,
    of_flops,
    package_versions,
    pick_meters,
    read_meters,
    without_paths,
)
from tapetum.core.errors import BadInput, MissingExtra


def test_sessions_add_up(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    settings = LedgerConfig(energy="estimate", watts_per_core=36.0, grams_co2_per_kwh=500.0)
    for steps in (3, 4):
        ledger = Ledger(path, {"lr": 0.1}, settings, command="train")
        if steps == 3:
            ledger.flops_per_step = {"forward": 10, "backward": 20}
        assert ledger.flops_per_step == {"forward": 10, "backward": 20}  # the second session has it from the first
        ledger.add(steps=steps, samples=2 * steps)
        ledger.write(cpu_seconds=1.0)
        ledger.write(cpu_seconds=100_000.0)  # 3.6 MJ: 1 kWh
    total = read(path)["total"]
    assert (total["steps"], total["samples"]) == (7, 14)
    assert (total["flops_forward"], total["flops_backward"]) == (70, 140)
    assert total["cpu_seconds"] == 200_000.0
    assert total["energy_kwh"] == pytest.approx(2.0)
    assert total["co2_kg"] == pytest.approx(1.0)
    first, second = read(path)["sessions"]
    assert first["config"] == {"lr": 0.1}
    assert second["energy_method"] == "estimate: CPU-seconds x 36 W per core"
    assert second["co2_method"] == "energy x 500 gCO2/kWh"
    text = format_ledger(read(path))
    assert "7 (14 samples) in 2 sessions" in text
    assert "FLOPs    210 (70 forward, 140 backward)" in text
    assert "2 kWh (2 to 3.2), estimated, not measured  [estimate: CPU-seconds x 36 W per core]" in text
    assert "1 kg (1 to 1.6)  [energy x 500 gCO2/kWh]" in text  # the building's share alone is not known
    assert second["constants"][0]["source"] == "set by you"


def test_what_is_not_known_makes_an_interval(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json", {}, LedgerConfig(energy="estimate"))
    total = ledger.write(cpu_seconds=360_000.0)["total"]  # 100 core-hours: 1 kWh at 10 W
    assert total["energy_kwh"] == pytest.approx(1.0)
    assert (total["energy_kwh_low"], total["energy_kwh_high"]) == pytest.approx((0.4, 2.0 * 1.6))
    assert (total["co2_kg_low"], total["co2_kg_high"]) == pytest.approx((0.4 * 0.060, 3.2 * 0.710))
    sources = {constant["name"]: constant["source"] for constant in ledger.session["constants"]}
    assert set(sources) == {"watts_per_core", "overhead", "grams_co2_per_kwh"}
    assert all(len(source) > 30 for source in sources.values())
    hours, kwh, co2 = of_flops(70e9 * 3600 * 100, LedgerConfig())
    assert (hours.value, kwh.value, co2.value) == pytest.approx((100, 1.0, 0.48))
    assert hours.low == pytest.approx(70)
    assert hours.high == pytest.approx(350)


def test_forecast_and_run_pay_for_the_building(tmp_path: Path) -> None:
    """kWh = hours x watts / 1000 x PUE; kg of CO2 = kWh x g / 1000 (the paper's notes, 4.2), for the ends, too."""
    settings = LedgerConfig(energy="estimate", watts_per_core=20.0, overhead=1.5, grams_co2_per_kwh=300.0, gflops_per_core=50.0)
    hours, kwh, co2 = of_flops(9e15, settings)  # 50 hours at 50 GFLOP/s
    for interval, value in ((hours, 50.0), (kwh, 50 * 20 / 1000 * 1.5), (co2, 50 * 20 / 1000 * 1.5 * 300 / 1000)):
        assert (interval.value, interval.low, interval.high) == pytest.approx((value,) * 3)
    total = Ledger(tmp_path / "ledger.json", {}, settings).write(cpu_seconds=50 * 3600.0)["total"]
    assert (total["energy_kwh"], total["co2_kg"]) == pytest.approx((1.5, 0.45))
    hours, kwh, co2 = of_flops(70e9 * 3600 * 100, LedgerConfig())
    assert (kwh.low, kwh.high) == pytest.approx((70 * 4 / 1000, 350 * 20 / 1000 * 1.6))
    assert (co2.low, co2.high) == pytest.approx((70 * 4 / 1000 * 0.060, 350 * 20 / 1000 * 1.6 * 0.710))


def test_a_ledger_from_before_intervals_has_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    content = Ledger(path, {}, LedgerConfig(energy="estimate")).write(cpu_seconds=360_000.0)
    for session in content["sessions"]:
        for name in ENDS:
            del session[name]
    path.write_text(json.dumps(content))
    total = Ledger(path, {}, LedgerConfig(energy="estimate")).write(cpu_seconds=0.0)["total"]
    assert total["energy_kwh_high"] == total["energy_kwh_low"] == total["energy_kwh"] == pytest.approx(1.0)


def test_measured_energy_has_no_interval_but_the_buildings(tmp_path: Path) -> None:
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    (folder / "energy_uj").write_text("0\n")
    (folder / "max_energy_range_uj").write_text("9000000000\n")
    meter = Rapl(tmp_path)
    (folder / "energy_uj").write_text("3600000000\n")
    assert read_meters([meter], 0, 0) == Interval(0.001, 0.001, 0.001)


def test_time_is_that_of_this_process(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json", {})
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    total = ledger.write()["total"]
    assert 0.05 <= total["cpu_seconds"] < 1
    assert total["cpu_seconds"] <= total["wall_seconds"] + 0.02


def test_it_names_neither_host_nor_paths(tmp_path: Path) -> None:
    command = f"tapetum train nano --out {tmp_path} --photos={tmp_path / 'photos'}"
    Ledger(tmp_path / "ledger.json", {"data": str(tmp_path / "clips")}, command=command).write()
    text = (tmp_path / "ledger.json").read_text()
    session = json.loads(text)["sessions"][0]
    assert session["command"] == f"tapetum train nano --out {tmp_path.name} --photos=photos"
    assert session["config"] == {"data": "clips"}
    assert str(tmp_path.parent) not in text
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text.replace("x86_64", ""))
    assert session["machine"]["cores"] >= 1
    assert session["packages"]["torch"] == package_versions()["torch"]


def test_a_damaged_ledger_is_put_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.json"
    path.write_text('{"sessions": [')
    Ledger(path, {}).write()
    assert "ledger.json can't be read" in capsys.readouterr().err
    assert (tmp_path / "ledger.json.damaged").read_text() == '{"sessions": ['
    assert len(read(path)["sessions"]) == 1


def test_rapl_adds_packages_and_follows_a_wrap(tmp_path: Path) -> None:
    for name, value in (("intel-rapl:0", 900), ("intel-rapl:1", 100), ("intel-rapl:0:0", 5)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "energy_uj").write_text(f"{value}\n")
        (folder / "max_energy_range_uj").write_text("1000\n")
    meter = Rapl(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100\n")  # over the top: 200 more
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("150\n")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("999\n")  # a part of package 0, counted there
    assert meter.joules(0, 0) == pytest.approx(250e-6)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("130\n")
    assert meter.joules(0, 0) == pytest.approx(280e-6)
    with pytest.raises(OSError, match="no RAPL counter"):
        Rapl(tmp_path / "nothing")


def test_meters_are_chosen_and_named() -> None:
    estimate = LedgerConfig(energy="estimate", watts_per_core=5, watts_per_gpu=100)
    cpu, gpu = pick_meters(estimate, ["some-gpu", "another"])
    assert isinstance(cpu, Estimate)
    assert isinstance(gpu, Estimate)
    assert cpu.joules(10, 3) == 50
    assert gpu.joules(10, 3) == 600
    assert "2 GPU" in gpu.method
    auto = pick_meters(LedgerConfig(), ["no-such-gpu"])
    assert len(auto) == 2
    assert all(meter.method for meter in auto)
    with pytest.raises(BadInput, match="watts_per_core is -1"):
        LedgerConfig(watts_per_core=-1)


def test_codecarbon_measures_or_is_asked_for() -> None:
    if importlib.util.find_spec("codecarbon") is None:
        with pytest.raises(MissingExtra, match=r"pip install 'tapetum\[energy\]'"):
            pick_meters(LedgerConfig(energy="codecarbon"), [])
        return
    (meter,) = pick_meters(LedgerConfig(energy="codecarbon"), [])
    time.sleep(0.3)
    first = meter.joules(0, 0)
    assert 0 < first < meter.joules(0, 0)


def test_gpus_are_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.json", {}, LedgerConfig(energy="estimate"), gpus=[Gpu("u", "Some GPU")])
    content = ledger.write(cpu_seconds=0)
    assert content["sessions"][0]["machine"]["gpus"] == ["Some GPU"]
    assert content["total"]["energy_kwh"] > 0
    assert "Some GPU" in format_ledger(content)


def test_commit_only_of_tracked_files(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", tmp_path, *author, *words], capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    file = tmp_path / "a.py"
    file.write_text("1")
    assert git_commit(file) is None
    git("add", "a.py")
    git("commit", "-qm", "a")
    assert git_commit(file) == git("rev-parse", "HEAD")
    file.write_text("2")
    assert git_commit(file) == git("rev-parse", "HEAD") + "+changes"
    (tmp_path / "b.py").write_text("3")
    assert git_commit(tmp_path / "b.py") is None


def test_paths_and_machine() -> None:
    assert without_paths(["C:\\Users\\ann\\x.npz", "a/b", 3, None]) == ["x.npz", "a/b", 3, None]
    assert set(machine()) == {"cpu", "cores", "memory_gib", "gpus", "system"}


def test_config_and_ledger_import_no_torch() -> None:
    code = "import sys, tapetum.train.config, tapetum.account.ledger, tapetum.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_codecarbon_checks_beside_our_own_meters(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon")
    ledger = Ledger(tmp_path / "ledger.json", {}, LedgerConfig(energy="estimate", cross_check=True))
    time.sleep(0.3)
    content = ledger.write(cpu_seconds=360_000.0)
    assert content["total"]["energy_kwh"] == pytest.approx(1.0)  # ours stays ours
    assert 0 < content["sessions"][0]["codecarbon_kwh"] < 0.1
    assert "says codecarbon; we 1" in format_ledger(content)
