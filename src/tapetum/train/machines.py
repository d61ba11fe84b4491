"""Energy of all machines of a run: what meters of the other machines say goes to the main process with each step's numbers.

A counter of a machine (RAPL, NVML) is read by the first process there; CPU seconds that are only estimated are each process's
own. So the sum over all processes is that over machines, whatever the number of processes on each.
"""

from collections.abc import Mapping

from tapetum.account.config import Interval, LedgerConfig
from tapetum.account.energy import meters_of_process, read_meters
from tapetum.account.ledger import Gpu
from tapetum.train import launch
from tapetum.train.process_group import ProcessGroup

_NAMES = "/kwh", "/kwh_low", "/kwh_high"


class Machines:
    """The machines of a run, seen from one process; all processes make it alike, before their first step."""

    def __init__(self, config: LedgerConfig, processes: ProcessGroup):
        first = launch.local_rank() == 0
        gpus = [gpu.uuid for gpu in gpus_of(processes)] if first else []
        self._meters = [] if processes.main else meters_of_process(config, gpus, first)  # the ledger has the main one's
        self._processes = processes
        estimated = any(meter.constant is not None for meter in self._meters)
        shared = processes.mean({"first": float(first), "estimated": float(estimated)})
        self.count = round(shared["first"] * processes.size)
        """Machines that the processes run on."""
        self.measured = shared["estimated"] == 0
        """Whether every other process reads meters; what the main one reads is the ledger's to say."""

    def numbers(self, cpu_seconds: float, wall_seconds: float) -> dict[str, float]:
        """Read this process's meters, for `ProcessGroup.mean`: kWh, and the least and the most that they may be."""
        kwh = read_meters(self._meters, cpu_seconds, wall_seconds)
        return dict(zip(_NAMES, (kwh.value, kwh.low, kwh.high), strict=True))

    def others(self, shared: Mapping[str, float]) -> Interval:
        """Sum the kWh of all processes but the main one, from the means that `ProcessGroup.mean` returned."""
        value, low, high = (shared[name] * self._processes.size for name in _NAMES)
        return Interval(value, low, high)


def gpus_of(processes: ProcessGroup) -> list[Gpu]:
    """List the GPUs that the processes on this machine use."""
    if processes.device.type != "cuda":
        return []
    import torch

    used = range(torch.cuda.device_count()) if processes.size > 1 else [processes.device.index or 0]
    return [Gpu(str(p.uuid), p.name) for p in (torch.cuda.get_device_properties(i) for i in used)]
