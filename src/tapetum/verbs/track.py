"""`tapetum.track`: points through a video, as arrays, as a video to look at, and as a table to work with."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.errors import BadInput, TapetumError
from tapetum.files import whole_folder
from tapetum.verbs.points import choose_points
from tapetum.verbs.show import View, write_overlay
from tapetum.verbs.space import Lifting, View3D, write_space
from tapetum.verbs.verb import File, Listener, count_frames, verb

if TYPE_CHECKING:
    from tapetum.bench.baselines import Tracker
    from tapetum.types import Tracks, Tracks3D

MODEL = "tapir-nano"
"""Tracker of those who ask for none."""
OVERLAY, TRACKS, TABLE = "overlay.mp4", "tracks.npz", "tracks.csv"
"""What lies in a folder of results."""


@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """How points are tracked, whatever the video."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Name of weights (see: tapetum weights list), a file of weights, or static (no motion at all). By default tapir-nano, with
    --online causal-tapir-nano."""
    grid: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Track N x N points, the centres of a regular grid of cells; 10 where no other points are given."""
    frame: int = 0
    """Frame on which the grid is laid."""
    points: Annotated[File | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """CSV file of points with the header t,x,y or x,y (then on frame 0)."""
    query: tyro.conf.UseAppendAction[Annotated[tuple[tuple[str | float, ...], ...], tyro.conf.arg(metavar="t,x,y ...")]] = ()
    """Single points: frame, x and y, with commas; may be repeated."""
    view: View | View3D = "tracks"
    """How overlay.mp4 is drawn. tracks: dots and fading paths; rainbow: the paths of what moves by itself, without the camera's
    motion. Or, with --3d, another file to look at: html (a page with a view that turns), still (a PNG), rerun (needs
    tapetum[view])."""
    three_d: Annotated[bool, tyro.conf.arg(name="3d")] = False
    """Put the points into space too: tracks3d.npz and tracks3d.csv, x right, y down, z forward from each frame's camera."""
    intrinsics: Annotated[str | None, tyro.conf.arg(metavar="fx,fy,cx,cy")] = None
    """With --3d, the camera in pixels of the video; by default estimated, or guessed where depth is given."""
    depth: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """With --3d, where depth comes from. adjust (default): the tracks themselves, by bundle adjustment, in an unknown unit; or
    a file or folder of depth maps (.npz, .npy, .png of 16 bits); or a network: zoedepth, depth-anything, OWNER/NAME (needs
    tapetum[depth])."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of most computation; positions stay float32. bfloat16 is about twice as fast where the processor knows it."""
    second_look: Literal["auto", "yes", "no"] = "auto"
    """Seek each point once more, with what it looks like wherever it was seen; auto: tapir-nano does. Takes a network that is
    not causal."""
    polish: Literal["auto", "yes", "no"] = "auto"
    """Make tracks exact by laying each point's first look on every frame; auto: the bundled models do, the published ones do
    not."""
    compile: bool = False
    """Compile the network with torch.compile first: a minute or two, and a C++ compiler on a CPU; for long videos and GPUs."""

    def check(self) -> None:
        """Raise `BadInput` for options that do not fit together."""
        if self.three_d:
            return
        for option, given in (("--intrinsics", self.intrinsics), ("--depth", self.depth)):
            if given is not None:
                raise BadInput(f"{option} belongs to --3d; add that, or leave it out")
        if self.view not in ("tracks", "rainbow"):
            raise BadInput(f"--view {self.view} shows points in space; add --3d, or choose tracks or rainbow")


@dataclass(frozen=True, kw_only=True)
class TrackOptions(TrackSettings):
    """What may be asked of `track`."""

    video: Any = field(kw_only=False)
    """Path of a video file, a folder of pictures or an npy/npz array; an array (t, h, w, 3); or an open `Video`."""
    out: File | None = None
    """Folder for overlay.mp4, tracks.npz and tracks.csv; None writes nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracked:
    """Points through a video."""

    video: str
    """What was given, or the name of an array."""
    width: int
    """Width of the video in pixels."""
    height: int
    rate: float
    """Frames per second."""
    frames_damaged: int
    """Frames of the video that are damaged or missing."""
    model: str
    """Name or file of the tracker."""
    seconds: float
    """Spent tracking."""
    tracks: "Tracks"
    """The points in the picture."""
    tracks3d: "Tracks3D | None"
    """The points in space, if that was asked for."""
    out: Path | None
    """Folder of overlay.mp4, tracks.npz and tracks.csv, and of tracks3d.npz and tracks3d.csv; None where nothing is written."""
    view: Path | None
    """Another file to look at the points in space."""

    def as_json(self) -> dict[str, Any]:
        """Summarise, with the files where there are any."""
        tracks, space, out = self.tracks, self.tracks3d, self.out
        content: dict[str, Any] = {
            "video": self.video,
            "frames": tracks.frames,
            "width": self.width,
            "height": self.height,
            "rate": self.rate,
            "frames_damaged": self.frames_damaged,
            "model": self.model,
            "points": tracks.points,
            "visible_share": float(tracks.visible.mean()),
            "seconds": self.seconds,
        }
        if out is not None:
            content |= {"overlay": str(out / OVERLAY), "tracks": str(out / TRACKS), "table": str(out / TABLE)}
        if space is not None:
            content |= {"metric": space.metric, "intrinsics": [float(number) for number in space.intrinsics]}
            if out is not None:
                content |= {"tracks3d": str(out / "tracks3d.npz"), "table3d": str(out / "tracks3d.csv")}
        return content if self.view is None else {**content, "view": str(self.view)}


@verb(TrackOptions)
def track(options: TrackOptions, listener: Listener) -> Tracked:
    """Track points through a video, and write what was found into the folder `out` if there is one.

    Raises BadInput for options that do not fit together and for what cannot be opened. Where the points cannot be put into
    space, the tracks in the picture are written before it is raised.

    >>> import numpy as np
    >>> import tapetum
    >>> done = tapetum.track(np.zeros((3, 48, 64, 3), np.uint8), model="static", query=[(0, 10.5, 20)])
    >>> done.tracks.xy.tolist()
    [[[10.5, 20.0], [10.5, 20.0], [10.5, 20.0]]]
    """
    from tapetum.video import open_video

    options.check()
    out = None if options.out is None else Path(options.out)
    space, view, trouble = None, None, None
    with ExitStack() as cleanup:
        video = cleanup.enter_context(open_video(options.video))
        folder = None if out is None else cleanup.enter_context(whole_folder(out))
        report = count_frames(video, options.video, listener)  # queries and tracks are held against the true number
        queries = chosen(options, video.width, video.height, len(video))
        lifting = lifted(options, listener) if options.three_d else None
        tracker = make_tracker(options, MODEL)
        start = time.perf_counter()
        tracks = _tracked(tracker, video, queries if lifting is None else queries + lifting.support_points(video), listener)
        if lifting is not None:
            tracks = lifting.take_support(tracks, len(queries))
        seconds = time.perf_counter() - start
        if folder is not None:
            save(tracks, folder)
            write_overlay(folder / OVERLAY, video, tracks, "rainbow" if options.view == "rainbow" else "tracks", listener)
        if lifting is not None:
            try:
                space = lifting.lift(tracks, video)
                view = None if folder is None else write_space(space, video, options.view, folder)
            except TapetumError as error:
                trouble = error
    if trouble is not None:
        where = "" if out is None else f"; the tracks in the picture are in {out}"
        raise BadInput(f"{trouble}{where}") from trouble
    return Tracked(
        video=str(options.video) if isinstance(options.video, str | Path) else video.name,
        width=video.width,
        height=video.height,
        rate=video.rate,
        frames_damaged=report.damaged,
        model=options.model or MODEL,
        seconds=seconds,
        tracks=tracks,
        tracks3d=space,
        out=out,
        view=None if out is None or view is None else out / view,
    )


def make_tracker(settings: TrackSettings, default: str) -> "Tracker":
    """Load the tracker that is asked for, or the one named `default`. Raises BadInput where there is no such one."""
    from tapetum.bench.baselines import load_tracker

    tracker = load_tracker(settings.model or default, settings.device, settings.dtype)
    asked = {name: how == "yes" for name in ("second_look", "polish") if (how := getattr(settings, name)) != "auto"}
    if asked and (model := getattr(tracker, "model", None)):
        model.config = replace(model.config, **asked)
    if settings.compile and (compile_network := getattr(tracker, "compile", None)):
        compile_network()
    return tracker


def chosen(settings: TrackSettings, width: int, height: int, frames: int | None) -> list[tuple[float, float, float]]:
    """Give the points that are asked for, see `choose_points`."""
    asked = {name: getattr(settings, name) for name in ("grid", "frame", "points", "query")}
    return choose_points(width, height, frames, **asked)


def lifted(settings: TrackSettings, listener: Listener) -> Lifting:
    """Say how the tracks are put into space."""
    static = settings.model == "static"
    return Lifting(settings.depth, settings.intrinsics, static, settings.device, listener)


def save(tracks: "Tracks", folder: Path) -> None:
    """Write the tracks as an array file and as a table."""
    tracks.save(folder / TRACKS)
    tracks.save(folder / TABLE)


def _tracked(tracker: "Tracker", video: Any, queries: list[tuple[float, float, float]], listener: Listener) -> "Tracks":
    import numpy as np

    return tracker.track(video, np.array(queries, np.float32), progress=listener.counting("tracking"))
