"""`tapetum doctor`: what is here and what works, and that what does not work is told."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tapetum.app.shell.doctor import EXTRAS, doctor
from tapetum.bench import trials as doctor_systems
from tapetum.bench import trials as doctor_trials
from tapetum.bench.trials import SYSTEMS, try_system
from tapetum.core.devices import choose_dtype
from tapetum.layers import cpu

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TAPETUM_WEIGHTS", raising=False)
    monkeypatch.setattr(doctor_trials, "_STRIDED", "")  # a process that imports torch takes seconds
    return tmp_path / "cache"


def test_a_healthy_machine(run: Run, own_cache: Path) -> None:
    code, out, err = run("doctor", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["findings"] == []
    assert told["devices"][0]["name"] == "cpu"
    assert [trial["works"] for trial in told["trials"]] == [True] * len(told["trials"])
    names = [trial["name"] for trial in told["trials"]]
    assert names[0] == "matrix product on cpu"
    assert names[-3:] == ["video written and read", "cache written", "bundled tracker"]
    assert told["processor"]["linear"] in ("onednn", "torch")
    assert told["processor"]["dtype"] == choose_dtype("auto")
    assert not own_cache.exists()  # nothing is left of the trial


def test_what_does_not_work_is_told_and_is_no_error(run: Run, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache.write_text("a file where a folder is wanted")
    monkeypatch.setattr(doctor_trials, "_track", lambda: 1 / 0)
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert "FAILED  cache written: " in out
    assert "FAILED  bundled tracker: ZeroDivisionError" in out
    assert "CANNOT BE WRITTEN" in out
    assert "4 things to mend:" in out


@pytest.mark.parametrize(
    ("code", "works", "detail"),
    [
        ("", True, "torch's own lives"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", True, "torch's own dies of SIGSEGV here"),
        ("raise RuntimeError('no memory')", False, "RuntimeError: no memory"),
    ],
)
def test_a_process_is_told_to_die_or_live(code: str, works: bool, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_trials, "_STRIDED", code)
    tried = doctor_trials.try_out("strided", doctor_trials._strided)
    assert tried.works == works
    assert detail in tried.detail


def test_the_kernel_of_linear_layers_is_told_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "KERNEL", "torch")
    assert doctor_trials._linear().startswith("torch's float32 products, ")
    assert cpu.KERNEL == "torch"


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_tried_on_a_device(name: str) -> None:
    assert re.fullmatch(r"\d+ ms the first time, then [\d.]+ ms; off by 0e\+00 of the CPU's", try_system(name, "cpu"))


def test_what_a_device_computes_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    results = iter([torch.tensor([1.0, 2.0]), *[torch.tensor([1.0, 2.1])] * 50])
    monkeypatch.setitem(SYSTEMS, "hip", lambda: lambda device: next(results))
    tried = doctor_trials.try_out("hip on cpu", lambda: try_system("hip", "cpu"))
    assert (tried.works, tried.detail) == (
        False,
        "ArithmeticError: the result differs from the CPU's by 5.0% of its largest number",
    )
    monkeypatch.setitem(SYSTEMS, "hip", lambda: lambda device: torch.tensor([torch.nan]))
    with pytest.raises(ArithmeticError, match="not finite"):
        try_system("hip", "cpu")


def test_a_system_takes_two_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that takes long is not made again."""
    passes: list[int] = []
    monkeypatch.setitem(SYSTEMS, "hip", lambda: lambda device: passes.append(0) or torch.ones(1))
    monkeypatch.setattr(doctor_systems, "BUDGET_S", 0.0)
    try_system("hip", "cpu")
    assert len(passes) == 2  # the CPU's and the device's


@pytest.mark.slow
def test_systems_are_tried_where_it_is_asked(run: Run) -> None:
    code, out, _ = run("doctor", "--systems")
    assert code == 0
    assert [line.split(": ")[0].strip() for line in out.splitlines() if " on cpu: " in line][1:] == [
        f"works   {name} on cpu" for name in SYSTEMS
    ]


def test_quick_tries_nothing() -> None:
    assert doctor(quick=True).trials == ()


def test_extras_are_those_of_the_package() -> None:
    published = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for_users = {name: packages for name, packages in published.items() if name not in ("dev", "docs")}
    plain = {
        name: tuple(re.split(r"[<>=]", package)[0] for package in packages if "[" not in package)
        for name, packages in for_users.items()
    }
    assert {name: packages for name, (packages, _) in EXTRAS.items()} == plain
