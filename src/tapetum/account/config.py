"""The constants of estimates of energy and CO2, and the settings of a ledger. Imports no torch.

Energy is power times time times the building's overhead; CO2 is energy times the grid's carbon intensity (Patterson et al.,
arXiv 2104.10350). Estimating tools differ by a factor of four on the same work (docs/systems/account.md), so values that
were not measured are reported as intervals.
"""

from dataclasses import dataclass
from typing import Literal

from tapetum.core.fields import check_fields


@dataclass(frozen=True)
class Constant:
    """A number that an estimate rests on."""

    name: str
    """The field of `LedgerConfig` that sets it."""
    value: float
    low: float
    high: float
    unit: str
    source: str
    """Where value and ends are from."""

    def line(self) -> str:
        """Write everything in one line.

        >>> CONSTANTS["overhead"].set_to(1.2).line()
        'overhead 1.2 (set by you)'
        """
        unit = f" {self.unit}" if self.unit else ""
        ends = "" if self.low == self.high else f", {self.low:g} to {self.high:g}"
        return f"{self.name} {self.value:g}{unit}{ends} ({self.source})"

    def set_to(self, value: float) -> "Constant":
        """Set the constant to a user's value, which has no interval."""
        if value == self.value:
            return self
        return Constant(self.name, value, value, value, self.unit, "set by you")


_ALL = (
    Constant(
        "watts_per_core", 10.0, 4.0, 20.0, "W",
        "a busy core with its share of memory and fans: a round guess, from no measurement of ours; low: what codecarbon takes "
        "for a thread of an unknown processor; high: twice the guess",
    ),
    Constant(
        "watts_per_gpu", 400.0, 250.0, 700.0, "W",
        "board power by the makers' data sheets, as recalled: A100 PCIe 250, A100 SXM 400, H100 SXM 700",
    ),
    Constant(
        "overhead", 1.0, 1.0, 1.6, "",
        "power usage effectiveness: 1 at a desk; about 1.1 in Google's halls and 1.6 on average in the United States, as "
        "recalled from Patterson et al., arXiv 2104.10350",
    ),
    Constant(
        "grams_co2_per_kwh", 480.0, 60.0, 710.0, "gCO2/kWh",
        "the world's average in 2023, from France's grid to India's: Ember, Global Electricity Review 2024",
    ),
    Constant(
        "gflops_per_core", 70.0, 20.0, 100.0, "GFLOP/s",
        "69 to 78 measured for nine training steps in float32 on one core of an AMD EPYC (Zen 4); small layers and older cores "
        "are slower",
    ),
)  # fmt: skip

CONSTANTS: dict[str, Constant] = {constant.name: constant for constant in _ALL}
"""By name."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the least and the most that it may be."""

    value: float
    low: float
    high: float

    def times(self, other: "Interval | Constant") -> "Interval":
        """Multiply; matching ends are combined."""
        return Interval(self.value * other.value, self.low * other.low, self.high * other.high)

    def plus(self, other: "Interval") -> "Interval":
        """Add; matching ends are combined."""
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)

    def over(self, other: "Interval | Constant | float") -> "Interval":
        """Divide by a number, or the low end by the high one of another.

        >>> Interval(2, 1, 4).over(Interval(2, 1, 4))
        Interval(value=1.0, low=0.25, high=4.0)
        """
        if isinstance(other, float | int):
            return Interval(self.value / other, self.low / other, self.high / other)
        return Interval(self.value / other.value, self.low / other.high, self.high / other.low)

    def text(self, unit: str) -> str:
        """Write it in words.

        >>> Interval(2.0, 1.0, 4.0).text("kWh")
        '2 kWh (1 to 4)'
        """
        ends = "" if self.low == self.high else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g} {unit}{ends}"


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
        check_fields(
            self,
            **dict.fromkeys(("watts_per_core", "watts_per_gpu", "grams_co2_per_kwh"), "[0, inf)"),
            overhead="[1, inf)",
            gflops_per_core="(0, inf)",
        )

    def constant(self, name: str) -> Constant:
        """Look up a constant with its configured value, its source and its lower and upper bounds.

        >>> LedgerConfig(watts_per_core=5).constant("watts_per_core").high
        5
        """
        return CONSTANTS[name].set_to(getattr(self, name))
