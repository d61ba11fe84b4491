"""What the processes of a run exchange after a step: requests to stop or save, CPU seconds, the energy of all machines.

A machine's counters (RAPL, NVML) are read by its first process; estimated CPU seconds are counted by each process for itself.
So the sum over all processes equals the sum over machines, however many processes each machine runs.
"""

from dataclasses import dataclass

from tapetum.account.config import Interval, LedgerConfig
from tapetum.account.machine import meters_of_process, read_meters
from tapetum.train import launch
from tapetum.train.process_group import ProcessGroup


class Machines:
    """The machines of a run, seen from one process; all processes must create it, before their first step."""

    def __init__(self, config: LedgerConfig, processes: ProcessGroup):
        first = launch.local_rank() == 0
        gpus = [uuid for uuid, _ in gpus_of(processes)] if first else []
        self._meters = [] if processes.main else meters_of_process(config, gpus, first)  # the ledger has the main one's
        self._processes = processes
        estimated = any(meter.constant is not None for meter in self._meters)
        shared = processes.mean({"first": float(first), "estimated": float(estimated)})
        self.count = round(shared["first"] * processes.size)
        """Machines that the processes run on."""
        self.measured = shared["estimated"] == 0
        """Whether every other process reads meters; what the main one reads is the ledger's to say."""

    def read_energy(self, cpu_seconds: float, wall_seconds: float) -> Interval:
        kwh = read_meters(self._meters, cpu_seconds, wall_seconds)
        return Interval(kwh.value, kwh.low, kwh.high)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a process reports after a step; `shared` makes of it what all processes report, so that all do the same."""

    stop: bool
    save: bool
    save_failed: bool
    """The checkpoint that is being saved cannot be written."""
    signal: int | None
    """Number of the signal that asks to stop."""
    cpu_seconds: float
    """Of the process and its workers since the session began; shared, of all processes."""
    kwh: Interval
    """Energy that the process has read from its meters; shared, the sum over the processes."""

    def shared(self, processes: ProcessGroup) -> "StepReport":
        """Exchange the reports: a request of one process applies to all; CPU seconds and energy are summed."""
        flags = {name: float(getattr(self, name)) for name in ("stop", "save", "save_failed")}
        signals = {"signal": float(self.signal or 0), "signalled": float(self.signal is not None)}
        kwh = {"kwh": self.kwh.value, "kwh_low": self.kwh.low, "kwh_high": self.kwh.high}
        means = processes.mean({**flags, **signals, **kwh, "cpu_seconds": self.cpu_seconds})
        return StepReport(
            **{name: means[name] > 0 for name in flags},
            signal=round(means["signal"] / means["signalled"]) if means["signalled"] else None,
            cpu_seconds=means["cpu_seconds"] * processes.size,
            kwh=Interval(*(means[name] * processes.size for name in kwh)),
        )


def gpus_of(processes: ProcessGroup) -> list[tuple[str, str]]:
    """List the UUID and name of each GPU that the processes on this machine use."""
    if processes.device.type != "cuda":
        return []
    import torch

    used = range(torch.cuda.device_count()) if processes.size > 1 else [processes.device.index or 0]
    return [(str(p.uuid), p.name) for p in (torch.cuda.get_device_properties(i) for i in used)]
