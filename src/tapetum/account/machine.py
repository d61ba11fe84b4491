"""A run's machine: its packages, processor, memory and commit, and meters of the joules that the run uses.

No host name, no path: a ledger can be published. Joules come from hardware counters (RAPL for CPU packages, NVML for NVIDIA
GPUs), otherwise from an estimate. Counters measure the whole machine, including other users' work; the estimate only this run.
With several machines, a process on each reads its meters (`meters_of_process`). codecarbon is used when requested by name: it
reads the same counters and otherwise guesses.
"""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

from tapetum.account.config import Constant, Interval, LedgerConfig
from tapetum.core.errors import MissingExtra, hide_secrets

PACKAGES = ("tapetum", "torch", "numpy", "av", "safetensors", "einops")


def package_versions() -> dict[str, str]:
    """List the versions of the packages that affect results; those not installed are omitted."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def machine(gpus: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the machine: processor, cores that this process may use, memory in GiB, GPU names, operating system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "cpu": _cpu_name(),
        "cores": usable,
        "memory_gib": memory,
        "gpus": list(gpus),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit(file: Path) -> str | None:
    """Read the commit of the checkout that tracks `file`, with '+changes' if tracked files differ from it; None outside of
    one.

    A file that merely lies inside a checkout, as an installed package lies inside a project's .venv, is not tracked by it.
    """
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        return _git(file.parent, "rev-parse", "HEAD") + ("+changes" if _git(file.parent, "status", "-s", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def without_paths(value: Any) -> Any:
    """Replace every absolute path in the strings of a value by its last part, and hide secrets in addresses.

    >>> without_paths({"command": "train --data=/home/ann/photos", "steps": 3})
    {'command': 'train --data=photos', 'steps': 3}
    """
    if isinstance(value, str):
        value = hide_secrets(value)
        return " ".join("=".join(_last_part(part) for part in word.split("=")) for word in value.split(" "))
    if isinstance(value, Mapping):
        return {str(key): without_paths(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(entry) for entry in value]
    return value


def _last_part(text: str) -> str:
    paths = (kind(text) for kind in (PurePosixPath, PureWindowsPath))
    return next((path.name for path in paths if path.is_absolute()), text)


JOULES_PER_KWH = 3.6e6
POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """Counts from its creation on."""

    @property
    def method(self) -> str:
        """Name the method by which the joules are measured or estimated."""
        ...

    @property
    def constant(self) -> Constant | None:
        """Name the constant to which estimated joules are proportional; None if they are measured."""
        ...

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        """Compute the joules so far, from the CPU seconds and wall seconds used by this run since the meter was created."""
        ...


@dataclass(frozen=True)
class Estimate:
    """CPU seconds times watts per core; or wall seconds times watts, for each of `gpus`."""

    constant: Constant
    gpus: int = 0

    @property
    def method(self) -> str:
        watts = f"{self.constant.value:g} W"
        return "estimate: " + (f"{self.gpus} GPU x wall seconds x {watts}" if self.gpus else f"CPU-seconds x {watts} per core")

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        watts = self.constant.value
        return wall_seconds * watts * self.gpus if self.gpus else cpu_seconds * watts


class Rapl:
    """Intel's and AMD's running average power limit counters, one per CPU package, in microjoules; they wrap around."""

    method = "RAPL: energy counters of the CPU packages, whole machine"
    constant = None

    def __init__(self, root: Path = POWERCAP):
        self._files = sorted(root.glob("intel-rapl:[0-9]*/energy_uj"))
        self._files = [f for f in self._files if f.parent.name.count(":") == 1]
        if not self._files:
            raise OSError("no RAPL counter")
        self._ranges = [int((f.parent / "max_energy_range_uj").read_text()) for f in self._files]
        self._last = self._read()
        self._total = 0

    def _read(self) -> list[int]:
        return [int(f.read_text()) for f in self._files]

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        now = self._read()
        for before, after, span in zip(self._last, now, self._ranges, strict=True):
            self._total += after - before if after >= before else after - before + span
        self._last = now
        return self._total / 1e6


class Nvml:
    """Total energy counters of NVIDIA GPUs (Volta and newer), in millijoules. `library` is the module pynvml."""

    constant = None

    def __init__(self, library: Any, uuids: list[str]):
        library.nvmlInit()
        self._library = library
        self._handles = [library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}") for uuid in uuids]
        self._start = self._read()
        self.method = f"NVML: energy counters of {len(uuids)} GPU"

    def _read(self) -> float:
        return sum(self._library.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles) / 1e3

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        return self._read() - self._start


class CodeCarbon:
    """The codecarbon package, offline; only its energy is used. Without a readable meter it guesses from the CPU's name."""

    method = "codecarbon: CPU, memory and GPUs of the whole machine"
    constant = None

    def __init__(self) -> None:
        try:
            from codecarbon import OfflineEmissionsTracker  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("codecarbon", "energy", "measuring energy with codecarbon") from error
        self._tracker = OfflineEmissionsTracker(
            country_iso_code="USA", save_to_file=False, log_level="critical", allow_multiple_runs=True
        )
        self._tracker.start_task()
        self._total = 0.0

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        self._total += self._tracker.stop_task().energy_consumed * JOULES_PER_KWH
        self._tracker.start_task()
        return self._total


def pick_meters(config: LedgerConfig, gpus: list[str]) -> list[Meter]:
    """Pick the best readable meters whose sum is the run's energy."""
    if config.energy == "codecarbon":
        return [CodeCarbon()]
    meters: list[Meter] = [Estimate(config.constant("watts_per_core"))]
    if gpus:
        meters.append(Estimate(config.constant("watts_per_gpu"), len(gpus)))
    if config.energy == "estimate":
        return meters
    better = [_rapl(), _nvml(gpus)]
    return [counter or estimate for counter, estimate in zip(better, meters, strict=False)]


def meters_of_process(config: LedgerConfig, gpus: list[str], first: bool) -> list[Meter]:
    """Pick the meters of one process of a run, so that the readings of all processes add up to the run's energy.

    The `first` process on a machine reads the machine's counters; the others only count their own CPU seconds, if the
    machine has no counter for them.
    """
    if first:
        return pick_meters(config, gpus)
    if config.energy == "codecarbon":
        return []
    return [meter for meter in pick_meters(config, []) if isinstance(meter, Estimate)]


def read_meters(meters: Sequence[Meter], cpu_seconds: float, wall_seconds: float) -> Interval:
    """Sum the readings of meters, in kWh; measured values have no interval."""
    total = Interval(0.0, 0.0, 0.0)
    for meter in meters:
        kwh, constant = meter.joules(cpu_seconds, wall_seconds) / JOULES_PER_KWH, meter.constant
        share = (constant.low / constant.value, constant.high / constant.value) if constant and constant.value else (1.0, 1.0)
        total = Interval(total.value + kwh, total.low + kwh * share[0], total.high + kwh * share[1])
    return total


def of_flops(flops: float, config: LedgerConfig) -> tuple[Interval, Interval, Interval]:
    """Estimate core-hours, kWh and kg of CO2 of a number of FLOPs on cores of a CPU; nothing is measured."""
    hours = Interval(flops, flops, flops).over(config.constant("gflops_per_core")).over(3.6e12)
    return hours, *of_core_hours(hours, config)


def of_core_hours(hours: Interval, config: LedgerConfig) -> tuple[Interval, Interval]:
    """Estimate kWh and kg of CO2 of busy core-hours; nothing is measured."""
    kwh = hours.times(config.constant("watts_per_core")).times(config.constant("overhead")).over(1e3)
    return kwh, carbon(kwh, config)


def carbon(kwh: Interval, config: LedgerConfig) -> Interval:
    """Compute the kg of CO2 of an amount of energy."""
    return kwh.times(config.constant("grams_co2_per_kwh")).over(1e3)


def _rapl() -> Rapl | None:
    with suppress(OSError, ValueError):
        return Rapl()


def _nvml(gpus: list[str]) -> Nvml | None:
    if not gpus:
        return None
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    try:
        return Nvml(pynvml, gpus)
    except pynvml.NVMLError:
        return None
