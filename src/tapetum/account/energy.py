"""Joules used by a run, and by which method they were found.

In order of trust: counters of the hardware (RAPL for the CPU's package, NVML for NVIDIA GPUs), or codecarbon, which wraps
the same; else an estimate. Counters measure the whole machine, other people's work included; the estimate only this run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tapetum.account.config import LedgerConfig
from tapetum.errors import MissingExtra

JOULES_PER_KWH = 3.6e6
POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """Counts from its making on."""

    @property
    def method(self) -> str:
        """How the joules are found, in words."""
        ...

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        """Joules so far, given the CPU seconds and wall seconds that this run has used since the meter was made."""
        ...


@dataclass(frozen=True)
class Estimate:
    """CPU seconds times watts per core."""

    watts_per_core: float

    @property
    def method(self) -> str:
        return f"estimate: CPU-seconds x {self.watts_per_core:g} W per core"

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        return cpu_seconds * self.watts_per_core


@dataclass(frozen=True)
class GpuEstimate:
    """Wall seconds times watts, for each GPU used."""

    watts: float
    gpus: int

    @property
    def method(self) -> str:
        return f"estimate: {self.gpus} GPU x wall seconds x {self.watts:g} W"

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        return wall_seconds * self.watts * self.gpus


class Rapl:
    """Intel's and AMD's running average power limit counters, one a CPU package, in microjoules; they wrap around."""

    method = "RAPL: energy counters of the CPU packages, whole machine"

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
    """Total energy counters of NVIDIA GPUs (Volta and newer), in millijoules."""

    def __init__(self, gpus: list[str]):
        import pynvml  # pyright: ignore[reportMissingImports]

        pynvml.nvmlInit()
        self._read: Callable[[], float] = lambda: sum(
            pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")) / 1e3 for uuid in gpus
        )
        self._start = self._read()
        self.method = f"NVML: energy counters of {len(gpus)} GPU"

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        return self._read() - self._start


class CodeCarbon:
    """The codecarbon package, offline, measuring the whole machine; only its energy is used."""

    method = "codecarbon: whole machine"

    def __init__(self) -> None:
        try:
            from codecarbon import OfflineEmissionsTracker  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("codecarbon", "energy", "measuring energy with codecarbon") from error
        self._tracker = OfflineEmissionsTracker(country_iso_code="USA", save_to_file=False, log_level="error")
        self._tracker.start()

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        self._tracker.flush()
        return self._tracker.final_emissions_data.energy_consumed * JOULES_PER_KWH


def pick_meters(config: LedgerConfig, gpus: list[str]) -> list[Meter]:
    """The meters whose sum is the run's energy, the best that can be read here."""
    if config.energy == "codecarbon":
        return [CodeCarbon()]
    estimates: list[Meter] = [Estimate(config.watts_per_core)]
    if gpus:
        estimates.append(GpuEstimate(config.watts_per_gpu, len(gpus)))
    if config.energy == "estimate":
        return estimates
    meters: list[Meter] = []
    try:
        meters.append(Rapl())
    except (OSError, ValueError):
        meters.append(estimates[0])
    if gpus:
        try:
            meters.append(Nvml(gpus))
        except Exception as error:
            if type(error).__name__ not in ("ImportError", "ModuleNotFoundError") and "NVML" not in type(error).__name__:
                raise
            meters.append(estimates[1])
    return meters
