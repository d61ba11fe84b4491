"""`tapetum tapvid3d make`: clips of TAPVid-3D from the raw data of its three sources."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tapetum.app.shell.output import print_json, terminal
from tapetum.app.tapvid3d import MakeOptions, make
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.systems.tapvid3d.makers.common import MakeReport


@dataclass(frozen=True, kw_only=True)
class Make(MakeOptions):
    """Make clips of TAPVid-3D from raw data: Aria Digital Twin, Waymo Open (DriveTrack) or Panoptic Studio (Gaussians).

    Clips that are in the folder already are kept, so that an interrupted run goes on when it is started again. With
    --annotations only the images are added to downloaded annotations, as the official build does.
    """

    json: bool = False
    """Print what was made as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = make.run(self, listener)
        report = made.report
        if self.json:
            print_json(made.as_json())
        else:
            print(_summary(report))
        if report.failed:
            name, reason = next(iter(report.failed.items()))
            more = f" (and {len(report.failed) - 1} more)" if len(report.failed) > 1 else ""
            raise BadInput(f"{len(report.failed)} clips could not be made: {name}: {reason}{more}")
        if not (report.made or report.kept):
            raise BadInput(f"nothing was made: no clip in {self.raw} is long enough and has a point to track")


def _summary(report: "MakeReport") -> str:
    lines = [f"made        {len(report.made)}"]
    rows = {"kept": (report.kept, "there already"), "left out": (report.empty, "no point can be tracked")}
    lines += [f"{name:11} {len(names)} ({why})" for name, (names, why) in rows.items() if names]
    return "\n".join(lines + [f"failed      {name}: {reason}" for name, reason in report.failed.items()])
