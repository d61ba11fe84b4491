"""How energy and CO2 are estimated, as a frozen config that imports no torch."""

from dataclasses import dataclass
from typing import Literal

from tapetum.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class LedgerConfig:
    """Constants of the ledger. Where a meter can be read, only the carbon intensity is used."""

    energy: Literal["auto", "codecarbon", "estimate"] = "auto"
    """auto: the machine's own meters (RAPL for the CPU, NVML for GPUs) where they can be read, else an estimate;
    codecarbon: that package measures, if it is installed; estimate: CPU seconds times watts_per_core, always."""
    watts_per_core: float = 10.0
    """Watts of one busy core with its share of memory and fans. A round guess for servers and laptops alike, from no
    measurement of ours: take it as right within a factor of two, or set your own."""
    watts_per_gpu: float = 400.0
    """Watts of a busy GPU, where one is used and NVML can't be read."""
    grams_co2_per_kwh: float = 480.0
    """Carbon intensity of the electricity: the world's average in 2023 (Ember, Global Electricity Review 2024). Other
    grids, roughly: France 60, United Kingdom 240, United States 370, Germany 380, India 710."""

    def __post_init__(self) -> None:
        for name in ("watts_per_core", "watts_per_gpu", "grams_co2_per_kwh"):
            if not getattr(self, name) >= 0:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be 0 or more")
