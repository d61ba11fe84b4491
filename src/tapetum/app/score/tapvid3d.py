"""`tapetum.app.score.tapvid3d`: checks and makes clips of TAPVid-3D."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Group
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options

if TYPE_CHECKING:
    from tapetum.systems.tapvid3d.makers.common import MakeReport


@dataclass(frozen=True)
class CheckOptions:
    """Find missing, damaged or inconsistent clips: can they be read, do tracks land in the image and on their queries?

    Exits with 0 where nothing was found and with 2 where something was.
    """

    folder: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DIR")]
    """Folder with adt, drivetrack and pstudio in it, or with clips."""
    _: KW_ONLY
    split: Literal["minival", "full", "all"] | None = None
    """Which clips of the official lists there must be; by default whatever is there is checked."""


@dataclass(frozen=True, kw_only=True)
class Checked(Result):
    """Findings about a folder of clips."""

    files: int
    findings: tuple[dict[str, str], ...]
    sources: dict[str, dict[str, Any]]

    def as_text(self) -> str:
        lines = [f"{'source':11} {'clips':>13} {'with frames':>12} {'frames':>9} {'tracks':>9} {'visible':>8}"]
        for source, counts in self.sources.items():
            clips = f"{counts['clips']} of {counts['wanted']}"
            visible = "-" if counts["visible"] is None else f"{counts['visible']:.3f}"
            numbers = f"{counts['with_frames']:12} {counts['frames']:9} {counts['tracks']:9} {visible:>8}"
            lines.append(f"{source:11} {clips:>13} {numbers}")
        width = max((len(finding["kind"]) for finding in self.findings), default=0)
        findings = [f"{finding['kind']:{width}}  {finding['file']}: {finding['text']}" for finding in self.findings]
        return "\n".join([*lines, "", *(findings or ["nothing wrong was found"])])

    def failure(self) -> str | None:
        if not self.findings:
            return None
        return f"findings: {len(self.findings)}, in {self.files} files; mend these, or fetch them again"


@verb(CheckOptions, data=("folder",))
def check(options: CheckOptions, listener: Listener) -> Checked:
    """Find missing, damaged or inconsistent clips: can they be read, do tracks land in the image and on their queries?

    Raises BadInput if there is no folder, or no clip in it.
    """
    from tapetum.systems.tapvid3d.check import check

    report = check(options.folder, options.split, listener.counting("checking"))
    return Checked(files=report["files"], findings=tuple(report["findings"]), sources=report["sources"])


@dataclass(frozen=True)
class ScenesOptions:
    """Write synthetic videos with exact truth in the format of the benchmark: a moving camera, moving objects."""

    folder: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DIR")]
    """Folder to write into."""
    _: KW_ONLY
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
    textures: Annotated[File | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of images to paint surfaces with, or its address; by default patterns that are made up."""
    depth: bool = False
    """Write the true depth of every pixel beside each clip, as NAME.depth.npz."""


@dataclass(frozen=True, kw_only=True)
class ClipsWritten(Result):
    """Synthetic clips in a folder."""

    folder: Path
    clips: int
    frames: int
    points: int

    def as_text(self) -> str:
        return f"wrote {self.clips} clips of {self.frames} frames and {self.points} tracks into {self.folder}"


@verb(ScenesOptions, data=("textures",))
def scenes(options: ScenesOptions, listener: Listener) -> ClipsWritten:
    """Write synthetic videos with exact ground truth in the format of the benchmark: a moving camera, moving objects.

    Raises BadInput for numbers that yield no video, and for textures that cannot be read.
    """
    from tapetum.systems.tapvid3d.made_clips import finished, write_scenes

    if done := finished(options.folder):
        listener.note(f"{options.folder} holds {done} scenes of a run that was interrupted, which are not made again")
    listener.progress("rendering", 0, options.n)
    more = {name: getattr(options, name) for name in ("seed", "size", "frames", "points", "textures", "depth")}
    write_scenes(Path(options.folder), options.n, **more, progress=lambda done: listener.progress("rendering", done, options.n))
    return ClipsWritten(folder=Path(options.folder), clips=options.n, frames=options.frames, points=options.points)


@dataclass(frozen=True)
class ClipsOptions:
    """Make clips of TAPVid-3D from raw data: Aria Digital Twin or Waymo Open (DriveTrack).

    Clips that are in the folder already are kept, so that an interrupted run goes on when it is started again. With
    --annotations only the images are added to downloaded annotations, of Panoptic Studio too, as the official build does.
    """

    source: tyro.conf.Positional[Literal["adt", "drivetrack", "pstudio"]]
    """Which of the three."""
    raw: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="RAW")]
    """adt: a folder of sequences (version 2); drivetrack: a split, such as training; pstudio: a folder with data."""
    _: KW_ONLY
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder to write NAME.npz into."""
    annotations: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of downloaded annotations without images; pstudio needs it."""
    tracks: int | None = None
    """Points to sample for each clip; by default 1024 (adt) or 256."""
    frames: int = 300
    """adt: frames of each clip."""
    people: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """adt: folder with CLIP.npy, probabilities (t, h, w) that a pixel shows a person; points on people count as hidden."""
    seed: int = 0
    """The same seed makes the same clips."""

    def check(self) -> None:
        for option, given in (("--people", self.people is not None), ("--frames", self.frames != 300)):
            if given and self.source != "adt":
                raise BadInput(f"{option} is for adt, not for {self.source}; leave it out")
        if self.annotations is None and self.source == "pstudio":
            raise BadInput("pstudio needs --annotations: how its tracks were made is not public; download them first")
        if self.annotations is not None and self.source == "drivetrack":
            raise BadInput("the annotations of drivetrack have their images already; leave --annotations out")
        check_options(self, frames="[2, inf)", tracks="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class ClipsMade(Result):
    """Clips of a source."""

    source: str
    raw: Path
    out: Path
    report: "MakeReport"

    def as_json(self) -> dict[str, Any]:
        return {"source": self.source, "out": str(self.out), **vars(self.report)}

    def as_text(self) -> str:
        lines = [f"made        {len(self.report.made)}"]
        rows = {"kept": (self.report.kept, "there already"), "left out": (self.report.empty, "no point can be tracked")}
        lines += [f"{name:11} {len(names)} ({why})" for name, (names, why) in rows.items() if names]
        return "\n".join(lines + [f"failed      {name}: {reason}" for name, reason in self.report.failed.items()])

    def failure(self) -> str | None:
        if failed := self.report.failed:
            name, reason = next(iter(failed.items()))
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"{len(failed)} clips could not be made: {name}: {reason}{more}"
        if not (self.report.made or self.report.kept):
            return f"nothing was made: no clip in {self.raw} is long enough and has a point to track"
        return None


@verb(ClipsOptions)
def make(options: ClipsOptions, listener: Listener) -> ClipsMade:
    """Make clips of TAPVid-3D from raw data, or add images to downloaded annotations.

    Raises BadInput for conflicting options, and for missing raw data; clips that fail are in the report.
    """
    from tapetum.systems.tapvid3d.makers import adt, drivetrack, pstudio
    from tapetum.systems.tapvid3d.makers.common import run

    options.check()
    raw, source, people = Path(options.raw), options.source, None if options.people is None else Path(options.people)
    sampled: dict[str, Any] = {"seed": options.seed} | ({} if options.tracks is None else {"tracks": options.tracks})
    if options.annotations is not None:
        jobs = (adt if source == "adt" else pstudio).annotated(raw, Path(options.annotations))
    elif source == "adt":
        jobs = adt.jobs(raw, length=options.frames, people=people, **sampled)
    else:
        jobs = drivetrack.jobs(raw, **sampled)

    def show(report: "MakeReport") -> None:
        listener.progress(source, sum(map(len, (report.made, report.kept, report.empty, report.failed))), None)

    report = run(jobs, Path(options.out), show)
    if source == "adt" and people is None and options.annotations is None and report.made:
        listener.note("people are not filtered out: points that a person hides may count as visible; see --people")
    return ClipsMade(source=source, raw=raw, out=Path(options.out), report=report)


COMMANDS = Group(
    """Check or make clips of TAPVid-3D, the benchmark of points in metres (to score on it: tapetum eval tapvid3d).""",
    {"check": check, "scenes": scenes, "make": make},
)
