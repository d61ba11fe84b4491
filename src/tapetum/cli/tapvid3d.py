"""`tapetum tapvid3d`: clips of TAPVid-3D checked and made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.cli.output import print_json, progress
from tapetum.cli.tapvid3d_make import Make
from tapetum.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Check:
    """Find missing, damaged or inconsistent clips: can they be read, do tracks land in the picture and on their queries?

    Exits with 0 where nothing was found and with 2 where something was.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder with adt, drivetrack and pstudio in it, or with clips."""
    split: Literal["minival", "full", "all"] | None = None
    """Which clips of the official lists there must be; by default whatever is there is checked."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the counts and findings as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tapvid3d.format.check import check

        with progress() as bars:
            task = bars.add_task("checking", total=None)
            report = check(self.folder, self.split, lambda done, every: bars.update(task, completed=done, total=every))
        if self.json:
            print_json(report)
        else:
            print(_table(report))
        if report["findings"]:
            raise BadInput(f"findings: {len(report['findings'])}, in {report['files']} files; mend these, or fetch them again")


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Write synthetic videos with exact truth in the format of the benchmark: a moving camera, moving objects."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder to write into."""
    n: int
    """Number of videos."""
    seed: int = 0
    """The same seed makes the same videos."""
    size: int = 256
    """Width and height in pixels."""
    frames: int = 24
    """Frames of each video."""
    points: int = 256
    """Tracks of each video."""
    textures: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of pictures to paint surfaces with; by default patterns that are made up."""
    depth: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the true depth of every pixel beside each clip, as NAME.depth.npz."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tapvid3d.makers.from_scenes import write_scenes

        with progress() as bars:
            task = bars.add_task("rendering", total=self.n)
            write_scenes(
                self.folder,
                self.n,
                seed=self.seed,
                size=self.size,
                frames=self.frames,
                points=self.points,
                textures=self.textures,
                depth=self.depth,
                progress=lambda done: bars.update(task, completed=done),
            )
        print(f"wrote {self.n} clips of {self.frames} frames and {self.points} tracks into {self.folder}")


Action = (
    Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
    | Annotated[Scenes, tyro.conf.subcommand("scenes", prefix_name=False)]
    | Annotated[Make, tyro.conf.subcommand("make", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class TapVid3D:
    """Check or make clips of TAPVid-3D, the benchmark of points in metres (to score on it: tapetum eval tapvid3d)."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'source':11} {'clips':>13} {'with frames':>12} {'frames':>9} {'tracks':>9} {'visible':>8}"]
    for source, counts in report["sources"].items():
        clips = f"{counts['clips']} of {counts['wanted']}"
        visible = "-" if counts["visible"] is None else f"{counts['visible']:.3f}"
        numbers = f"{counts['with_frames']:12} {counts['frames']:9} {counts['tracks']:9} {visible:>8}"
        lines.append(f"{source:11} {clips:>13} {numbers}")
    width = max((len(finding["kind"]) for finding in report["findings"]), default=0)
    found = [f"{finding['kind']:{width}}  {finding['file']}: {finding['text']}" for finding in report["findings"]]
    return "\n".join([*lines, "", *(found or ["nothing wrong was found"])])
