"""How energy and CO2 are estimated, as a frozen config that imports no torch."""

from dataclasses import dataclass
from typing import Literal

from tapetum.account.constants import CONSTANTS, Constant
from tapetum.core.errors import BadInput


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
    overhead: float = 1.0
    """What the building adds to a watt of the machine (power usage effectiveness): 1 at a desk, 1.1 to 1.6 in a data centre."""
    gflops_per_core: float = 70.0
    """Thousand million operations that a core does in a second: for time where there are FLOPs alone."""
    cross_check: bool = False
    """Let codecarbon measure beside the meters above, and write down what it says (pip install 'tapetum[energy]')."""

    def __post_init__(self) -> None:
        for name in ("watts_per_core", "watts_per_gpu", "grams_co2_per_kwh"):
            if not getattr(self, name) >= 0:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not self.overhead >= 1 or not self.gflops_per_core > 0:
            raise BadInput(
                f"overhead is {self.overhead} and gflops_per_core {self.gflops_per_core}; wanted 1 or more, and above 0"
            )

    def constant(self, name: str) -> Constant:
        """Give a constant as it is set here, with its source and how low and high it may be.

        >>> LedgerConfig(watts_per_core=5).constant("watts_per_core").high
        5
        """
        return CONSTANTS[name].set_to(getattr(self, name))
