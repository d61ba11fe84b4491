"""`tapetum tapvid3d make`: clips of TAPVid-3D from the raw data of its three sources."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.cli.output import note, print_json, progress
from tapetum.errors import BadInput

if TYPE_CHECKING:
    from tapetum.tapvid3d.makers.common import Job, Report


@dataclass(frozen=True, kw_only=True)
class Make:
    """Make clips of TAPVid-3D from raw data: Aria Digital Twin, Waymo Open (DriveTrack) or Panoptic Studio (Gaussians).

    Clips that are in the folder already are kept, so that an interrupted run goes on when it is started again. With
    --annotations only the pictures are added to downloaded annotations, as the official build does.
    """

    source: tyro.conf.Positional[Literal["adt", "drivetrack", "pstudio"]]
    """Which of the three."""
    raw: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RAW")]
    """adt: a folder of sequences (version 2); drivetrack: a split, such as training; pstudio: a folder with data and output."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder to write NAME.npz into."""
    annotations: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of downloaded annotations without pictures (adt or pstudio)."""
    tracks: int | None = None
    """Points to sample for each clip; by default 1024 (adt) or 256."""
    frames: int = 300
    """adt: frames of each clip."""
    people: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """adt: folder with CLIP.npy, probabilities (t, h, w) that a pixel shows a person; points on people count as hidden."""
    experiment: str = "pretrained"
    """pstudio: folder in RAW/output."""
    seed: int = 0
    """The same seed makes the same clips."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what was made as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tapvid3d.makers.common import run

        self._check()
        with progress() as bars:
            task = bars.add_task(self.source, total=None)

            def show(report: "Report") -> None:
                bars.update(task, completed=sum(map(len, (report.made, report.kept, report.empty, report.failed))))

            report = run(self._jobs(), self.out, show)
        if self.source == "adt" and self.people is None and self.annotations is None and report.made:
            note("people are not filtered out: points that a person hides may count as visible; see --people")
        if self.json:
            print_json({"source": self.source, "out": str(self.out), **vars(report)})
        else:
            print(_summary(report))
        if report.failed:
            name, reason = next(iter(report.failed.items()))
            more = f" (and {len(report.failed) - 1} more)" if len(report.failed) > 1 else ""
            raise BadInput(f"{len(report.failed)} clips could not be made: {name}: {reason}{more}")
        if not (report.made or report.kept):
            raise BadInput(f"nothing was made: no clip in {self.raw} is long enough and has a point to track")

    def _check(self) -> None:
        given: dict[str, tuple[Any, str]] = {
            "--people": (self.people, "adt"),
            "--frames": (self.frames if self.frames != 300 else None, "adt"),
            "--experiment": (self.experiment if self.experiment != "pretrained" else None, "pstudio"),
        }
        for option, (value, source) in given.items():
            if value is not None and source != self.source:
                raise BadInput(f"{option} is for {source}, not for {self.source}; leave it out")
        if self.annotations is not None and self.source == "drivetrack":
            raise BadInput("the annotations of drivetrack have their pictures already; leave --annotations out")
        if self.frames < 2 or (self.tracks is not None and self.tracks < 1):
            raise BadInput(f"asked for {self.tracks} tracks of {self.frames} frames; give 1 track or more of 2 frames or more")

    def _jobs(self) -> "Iterator[Job]":
        from tapetum.tapvid3d.makers import adt, drivetrack, pstudio

        if self.annotations is not None:
            return (adt if self.source == "adt" else pstudio).annotated(self.raw, self.annotations)
        sampled: dict[str, Any] = {"seed": self.seed} | ({} if self.tracks is None else {"tracks": self.tracks})
        if self.source == "adt":
            return adt.jobs(self.raw, length=self.frames, people=self.people, **sampled)
        if self.source == "pstudio":
            return pstudio.jobs(self.raw, experiment=self.experiment, **sampled)
        return drivetrack.jobs(self.raw, **sampled)


def _summary(report: "Report") -> str:
    lines = [f"made        {len(report.made)}"]
    rows = {"kept": (report.kept, "there already"), "left out": (report.empty, "no point can be tracked")}
    lines += [f"{name:11} {len(names)} ({why})" for name, (names, why) in rows.items() if names]
    return "\n".join(lines + [f"failed      {name}: {reason}" for name, reason in report.failed.items()])
