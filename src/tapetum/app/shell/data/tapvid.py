"""`tapetum data tapvid-davis` and its like: benchmarks of point tracking, fetched."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.data import BenchmarkOptions, benchmark
from tapetum.app.shell.output import downloads, print_json


@dataclass(frozen=True, kw_only=True)
class _Fetch:
    json: bool = False
    """Print what was fetched as JSON."""

    def fetch(self, name: str) -> None:
        """Fetch it, and say where it is."""
        with downloads() as listener:
            made = benchmark.run(BenchmarkOptions(name), listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"{made.path}    tapetum eval tapvid --data {made.name}\nlicence: {made.licence}")


@dataclass(frozen=True, kw_only=True)
class Davis(_Fetch):
    """Fetch TAP-Vid-DAVIS, 30 real videos; a fetch that was cut off goes on where it was."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.fetch("davis")


@dataclass(frozen=True, kw_only=True)
class RgbStacking(_Fetch):
    """Fetch TAP-Vid-RGB-Stacking, 50 synthetic videos of a robot; a fetch that was cut off goes on where it was."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.fetch("rgb-stacking")


@dataclass(frozen=True, kw_only=True)
class RoboTap(_Fetch):
    """Fetch RoboTAP, 265 real videos of robots; a fetch that was cut off goes on where it was."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.fetch("robotap")


TapVidData = (
    Annotated[Davis, tyro.conf.subcommand("tapvid-davis", prefix_name=False)]
    | Annotated[RgbStacking, tyro.conf.subcommand("tapvid-rgb-stacking", prefix_name=False)]
    | Annotated[RoboTap, tyro.conf.subcommand("tapvid-robotap", prefix_name=False)]
)
