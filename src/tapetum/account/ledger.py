"""The ledger: what a run cost, stored beside it as ledger.json and extended each time the run resumes.

After "Where Should I Spend My FLOPS?" (arXiv 2209.15589): FLOPs of forward and backward, energy, and CO2 as energy times the
carbon intensity of the grid. Work lost in a crash also counts, because its cost was incurred: `steps` here
may exceed the steps of the finished run.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tapetum.account.config import Interval, LedgerConfig
from tapetum.account.machine import (
    JOULES_PER_KWH,
    CodeCarbon,
    carbon,
    git_commit,
    machine,
    package_versions,
    pick_meters,
    read_meters,
    without_paths,
)
from tapetum.core.errors import visible
from tapetum.core.files import write_json
from tapetum.core.reading import read_json

SUMMED = ("wall_seconds", "cpu_seconds", "steps", "samples", "flops_forward", "flops_backward", "energy_kwh", "co2_kg")
"""Fields of a session that the totals add up."""
_BY_STEPS = "steps", "samples", "flops_forward", "flops_backward"
RUNNING = "running"
"""State of a session of training that has not ended; one whose process is gone was killed (`close_killed`)."""
ENDS = "energy_kwh_low", "energy_kwh_high", "co2_kg_low", "co2_kg_high"
"""Fields that they add up too; sessions of older ledgers lack them, and have no interval."""


@dataclass(frozen=True)
class Gpu:
    """A GPU in use: its NVML name ('GPU-...' without the prefix) and the model's name."""

    uuid: str
    name: str


class Ledger:
    """Opens or continues the ledger at `path` and starts a session in it.

    `command` is by default the command line of this process; `records` are the last lines of the run's log (`close_killed`).
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        settings: LedgerConfig | None = None,
        *,
        gpus: Sequence[Gpu] = (),
        command: str | None = None,
        records: Sequence[Mapping[str, Any]] = (),
    ):
        self.path = path
        self._settings = settings or LedgerConfig()
        self._began, self._began_cpu = time.perf_counter(), time.process_time()
        self._meters = pick_meters(self._settings, [gpu.uuid for gpu in gpus])
        self._check = CodeCarbon() if self._settings.cross_check else None
        if command is None:
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        self._earlier = _sessions(path, records)
        self.flops_per_step: dict[str, int] = dict(self._earlier[-1]["flops_per_step"]) if self._earlier else {}
        self.phases_per_step: dict[str, int] = dict(self._earlier[-1].get("phases_per_step", {})) if self._earlier else {}
        """FLOPs of a step by phase: student, teacher, heads and so on, and backward, of which `recomputed` is a part."""
        used = [meter.constant for meter in self._meters if meter.constant is not None]
        used += [self._settings.constant(name) for name in ("overhead", "grams_co2_per_kwh")]
        self.session: dict[str, Any] = {
            "command": without_paths(command),
            "config": without_paths(config),
            "commit": git_commit(Path(__file__)),
            "packages": package_versions(),
            "machine": machine([gpu.name for gpu in gpus]),
            "started": _now(),
            "energy_method": "; ".join(meter.method for meter in self._meters),
            "energy_measured": all(meter.constant is None for meter in self._meters),
            "co2_method": f"energy x {self._settings.grams_co2_per_kwh:g} gCO2/kWh",
            "constants": [asdict(constant) for constant in used],
            **dict.fromkeys(("steps", "samples", "flops_forward", "flops_backward"), 0),
        }

    def add(self, steps: int, samples: int) -> None:
        """Count completed work, at `flops_per_step`, which may differ from that of earlier steps."""
        for name, flops in self.flops_per_step.items():  # `part/forward`, `part/backward`
            self.session[f"flops_{name.rpartition('/')[2]}"] += steps * flops
        self.session["steps"] += steps
        self.session["samples"] += samples

    def add_machines(self, processes: int, machines: int, measured: bool) -> None:
        """Set the number of machines of the run's processes, and whether the energy of the others is measured."""
        self.session |= {"processes": processes, "machines": machines}
        self.session["energy_measured"] &= measured
        if machines > 1:
            self.session["energy_method"] += f"; the sum over {machines} machines"

    def write(
        self, cpu_seconds: float | None = None, *, own_cpu_seconds: float | None = None, others: Interval | None = None
    ) -> dict[str, Any]:
        """Update time, FLOPs and energy, and save the file; returns its content.

        Args:
            cpu_seconds: CPU time of all processes of the run since the session began; None: of this process.
            own_cpu_seconds: of the processes whose energy this ledger's meters report; None: `cpu_seconds`.
            others: kWh that other processes have read from their meters; None: there are none.
        """
        session = self.session
        wall = time.perf_counter() - self._began
        cpu = time.process_time() - self._began_cpu if cpu_seconds is None else cpu_seconds
        energy = read_meters(self._meters, cpu if own_cpu_seconds is None else own_cpu_seconds, wall)
        energy = energy.plus(others or Interval(0.0, 0.0, 0.0)).times(self._settings.constant("overhead"))
        co2 = carbon(energy, self._settings)
        session |= {
            "ended": _now(),
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "flops_per_step": self.flops_per_step,
            "phases_per_step": self.phases_per_step,
        }
        for name, interval in (("energy_kwh", energy), ("co2_kg", co2)):
            session |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        if self._check is not None:
            session["codecarbon_kwh"] = self._check.joules(cpu, wall) / JOULES_PER_KWH
        content = _with_total([*self._earlier, session])
        write_json(self.path, content, own=True)
        return content


def _with_total(sessions: list[dict[str, Any]]) -> dict[str, Any]:
    total = {key: sum(s[key] for s in sessions) for key in SUMMED}
    total |= {key: sum(s.get(key, s[key.rpartition("_")[0]]) for s in sessions) for key in ENDS}
    return {"total": total, "sessions": sessions}


def close_killed(content: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mark a last session that never ended as killed, and count its work after the last save of its ledger.

    `records` are the last lines of its log: `step`, of the run, and `time`, the seconds of all steps so far. Energy and CPU
    time are scaled with the wall time. Content whose last session ended is returned unchanged.
    """
    *earlier, last = content["sessions"]
    if last.get("state") != RUNNING:
        return dict(content)
    last = {**last, "state": "killed"}
    counted = last["start"] + last["steps"]
    steps = records[-1]["step"] - counted if records else 0
    if steps > 0 and last["steps"]:
        known = next((r for r in reversed(records) if r["step"] <= counted), {"step": 0, "time": 0.0})
        seconds = (records[-1]["time"] - known["time"]) * steps / (records[-1]["step"] - known["step"])
        growth = 1 + max(seconds, 0.0) / last["wall_seconds"]
        last |= {name: last[name] * growth for name in ("wall_seconds", "cpu_seconds", "energy_kwh", "co2_kg", *ENDS)}
        last |= {name: last[name] * (last["steps"] + steps) // last["steps"] for name in _BY_STEPS}
    return _with_total([*earlier, last])


def read(path: Path) -> dict[str, Any]:
    """Read the content of a ledger.json."""
    return read_json(path)


def format_ledger(content: Mapping[str, Any]) -> str:
    """Write a readable summary of the ledger, in a few lines."""
    total, last = content["total"], content["sessions"][-1]
    flops = total["flops_forward"] + total["flops_backward"]
    host, phases = last["machine"], last.get("phases_per_step", {})
    measured = "" if last.get("energy_measured", "estimate" not in last["energy_method"]) else ", estimated, not measured"
    killed = sum(session.get("state") == "killed" for session in content["sessions"])
    ended = f", {killed} of them killed" if killed else ""
    ended += ", the last not ended" if last.get("state") == RUNNING else ""
    lines = [
        f"steps    {total['steps']} ({total['samples']} samples) in {len(content['sessions'])} sessions{ended}",
        f"time     {total['wall_seconds'] / 3600:.3g} h wall, {total['cpu_seconds'] / 3600:.3g} h CPU",
        f"FLOPs    {flops:.3g} ({total['flops_forward']:.3g} forward, {total['flops_backward']:.3g} backward)",
    ]
    if phases:
        parts = [f"{name} {count / 1e9:.3g}" for name, count in phases.items() if name != "recomputed"]
        again = phases.get("recomputed", 0)
        lines.append(f"a step   {', '.join(parts)} GFLOP" + (f"; of backward {again / 1e9:.3g} recomputed" if again else ""))
    lines += [
        f"energy   {_interval(total, 'energy_kwh').text('kWh')}{measured}  [{last['energy_method']}]",
        f"CO2      {_interval(total, 'co2_kg').text('kg')}  [{last['co2_method']}]",
    ]
    if "codecarbon_kwh" in last:
        lines.append(
            f"check    {last['codecarbon_kwh']:.3g} kWh in the last session, says codecarbon; we {last['energy_kwh']:.3g}"
        )
    several = f"{last['machines']} machines, the first " if last.get("machines", 1) > 1 else ""
    lines.append(f"machine  {several}" + ", ".join([host["cpu"], f"{host['cores']} cores", *host["gpus"]]))
    return "\n".join(lines)


def _interval(total: Mapping[str, Any], name: str) -> Interval:
    value = total[name]
    return Interval(value, total.get(f"{name}_low", value), total.get(f"{name}_high", value))


def _sessions(path: Path, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return list(close_killed(read(path), records)["sessions"])
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        print(visible(f"warning: {path.name} can't be read; it is kept as {path.name}.damaged"), file=sys.stderr)
        path.replace(path.with_name(f"{path.name}.damaged"))
        return []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
