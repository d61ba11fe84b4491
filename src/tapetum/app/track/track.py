"""`tapetum.track`: point tracking through a video; results are arrays, a video with drawn tracks, and a table."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
from tapetum.app.track import track_files as files
from tapetum.app.track.point_tasks import CutSettings, find_point_task
from tapetum.app.track.show import DrawSettings, View
from tapetum.app.verb import File, Listener, Result, count_frames, one_text, verb
from tapetum.core.devices import check_compiler, choose_device, choose_dtype, memory_size, peak_bytes
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.files import results
from tapetum.core.stages import stage, timed
from tapetum.report import check_report
from tapetum.tracks.points import check_support

if TYPE_CHECKING:
    from tapetum.report.view import TrackView
    from tapetum.tracks.doubtful import Span
    from tapetum.tracks.tracker import Tracker
    from tapetum.types import Tracks, Tracks3D

MODEL = "tapir-nano"
"""Default tracker."""
SPACE = "tracks3d.npz", "tracks3d.csv"
"""Further results with --3d."""
SHOWN_BY = "reference", "points", "region", "tracks", "depth"
"""Settings that may be files or addresses."""


@dataclass(frozen=True, kw_only=True)
class TrackSettings(DrawSettings, CutSettings):
    """Settings of tracking, whatever the video."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Name of weights (see: tapetum weights list), a file of weights, or static (no motion at all). By default tapir-nano, with
    --online causal-tapir-nano."""
    grid: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Track N x N points, the centres of a regular grid of cells; 10 where no other points are given."""
    frame: int | None = None
    """Frame on which the grid is laid; by default the first that is tracked."""
    region: Annotated[Any, one_text("FILE.png|x1,y1,x2,y2")] = None
    """Lay the grid on a part of the image: on what is not black in a mask of its size, or in a box."""
    points: Annotated[File | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """CSV file of points with the header t,x,y or x,y (then on frame 0). A column name gives them names; with a column id, rows
    of one id are clicks of one point, which its track goes through."""
    query: tyro.conf.UseAppendAction[tuple[Annotated[Any, one_text("t,x,y")], ...]] = ()
    """A single point: frame, x and y, with commas; may be repeated, and join --points."""
    reference: Annotated[Any, one_text("IMAGE|VIDEO")] = None
    """Another image or video that shows the points; --points, --query and the grid are in that, and sought in the video."""
    support: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Track N more points around each, which are not in the tracks; trackers that let points attend to each other, such as
    tapnext++, gain by it. 64 is a grid of 8 x 8, as its authors take for VOTSp."""
    correct: tyro.conf.UseAppendAction[tuple[Annotated[Any, one_text("point,frame,x,y")], ...]] = ()
    """Track a point of --tracks anew, through this place in this frame and all that was clicked before; may be repeated. The
    point is a number or a name. All other points stay as they are."""
    tracks: Annotated[File | None, tyro.conf.arg(metavar="TRACKS")] = None
    """With --correct, the tracks that are corrected."""
    view: View | Literal["rerun"] = "tracks"
    """How overlay.mp4 is drawn. tracks: dots and fading paths; rainbow: the paths of what moves by itself, without the camera's
    motion. Or, with --3d, rerun: tracks3d.rrd for the viewer of rerun (needs tapetum[view])."""
    three_d: Annotated[bool, tyro.conf.arg(name="3d")] = False
    """Put the points into space too: tracks3d.npz and tracks3d.csv, x right, y down, z forward from each frame's camera."""
    intrinsics: Annotated[str | None, tyro.conf.arg(metavar="fx,fy,cx,cy")] = None
    """With --3d, the camera in pixels of the video; by default estimated, or guessed where depth is given."""
    depth: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """With --3d, where depth comes from. adjust (default): the tracks themselves, by bundle adjustment, in an unknown unit; or
    a file or folder of depth maps (.npz, .npy, .png of 16 bits); or a network: zoedepth, depth-anything, OWNER/NAME (needs
    tapetum[depth])."""
    no_overlay: bool = False
    """Draw nothing, and write no overlay.mp4."""
    keep_features: Annotated[int, tyro.conf.arg(metavar="MIB")] = 0
    """Keep what the network saw of the frames beside the tracks, in features.bin of at most so many MiB (a frame of 854x480
    takes about 8), so that --correct need not look at the video again; 0 keeps nothing."""
    device: Device = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Precision of most computation; positions stay float32. bfloat16 is about twice as fast where the processor knows it; auto
    takes it there, and float32 elsewhere."""
    second_pass: Literal["auto", "yes", "no"] = "auto"
    """Match each point once more, by features averaged over where it was visible; auto: tapir-nano does. Takes a network that
    is not causal."""
    polish: Literal["auto", "yes", "no"] = "auto"
    """Make tracks exact by laying each point's first look on every frame; auto: the bundled models do, the published ones do
    not."""
    timing: bool = False
    """Say how long each stage took, and the most memory that was used."""
    compile: bool = False
    """Compile the network with torch.compile first: a minute or two, and a C++ compiler on a CPU; for long videos and GPUs."""
    doubt: bool = False
    """List the spans of frames in which a point is likely to be wrong, the worst first; of one video, by a bundled
    tracker or one with an error model (tapetum bootstrap --calibrate)."""
    until: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """End that list where, once its spans are right, less than this share of the visible places is expected wrong."""

    def check(self) -> None:
        super().check()
        if bool(self.correct) != (self.tracks is not None):
            have, lack = ("--correct", "--tracks") if self.correct else ("--tracks", "--correct")
            raise BadInput(f"{have} needs {lack}; give both, as in --correct 3,40,120.5,80 --tracks tracks.npz")
        given = {
            "--grid": self.grid,
            "--region": self.region,
            "--points": self.points,
            "--query": self.query if len(self.query) else None,
            "--reference": self.reference,
            "--support": self.support or None,
            "--start, --end or --stride": self.cuts or None,
        }
        if self.correct and (other := next((option for option, value in given.items() if value is not None), None)):
            raise BadInput(f"{other} was given with --correct, which works on the points of --tracks; leave it out")
        if self.three_d and (self.correct or self.reference is not None):
            option = "--correct" if self.correct else "--reference"
            raise BadInput(f"--3d does not go together with {option}; leave one of them out")
        check_support(self.support)
        if self.support and self.reference is not None:
            raise BadInput("--support does not go together with --reference; leave one of them out")
        if self.until is not None and not (self.doubt and 0 <= self.until <= 1):
            raise BadInput(f"--until is {self.until:g}; give it with --doubt, and a share from 0 to 1, such as 0.02")
        if self.keep_features < 0:
            raise BadInput(f"--keep-features is {self.keep_features}; expected MiB; 0 disables it")
        if self.three_d:
            return
        for option, given in (("--intrinsics", self.intrinsics), ("--depth", self.depth)):
            if given is not None:
                raise BadInput(f"{option} belongs to --3d; add that, or leave it out")
        if self.view not in ("tracks", "rainbow"):
            raise BadInput(f"--view {self.view} shows points in space; add --3d, or choose tracks or rainbow")


@dataclass(frozen=True, kw_only=True)
class TrackOptions(TrackSettings):
    """Options of `track`."""

    video: Any = field(kw_only=False)
    """Path or address of a video file, a folder of images or an npy/npz array; an array (t, h, w, 3); or an open `Video`."""
    out: File | None = None
    """Folder for overlay.mp4, tracks.npz and tracks.csv; None writes nothing. A name that ends in .csv, .npz, .json, .parquet,
    .mp4, .webm or .gif is one file: the tracks, or the overlay."""
    report: File | None = None
    """HTML page with the film, the points drawn over it, and what to look at first; each point is tracked back for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracked(Result):
    """Points through a video."""

    video: str
    """What was given, or the name of an array."""
    width: int
    height: int
    frame_rate: float
    frames_damaged: int
    model: str
    dtype: str
    """Precision of most computation, as chosen by `auto`."""
    seconds: float
    tracks: "Tracks"
    tracks3d: "Tracks3D | None"
    out: Path | None
    """Folder of results, if written, as `overlay`, `view` (a recording for rerun) and `file`, which is in place of a folder."""
    overlay: Path | None
    view: Path | None
    file: Path | None = None
    report: Path | None = None
    doubt: "Sequence[Span] | None" = None
    """Spans in which a point is likely to be wrong, if requested."""
    stages: Mapping[str, float] | None = None
    """Seconds by stage, if timed: load, decode, features, keep features, refine, polish, track, write, overlay, other."""
    peak_memory_bytes: int | None = None
    """Peak memory of the process, if timed and known."""
    source: Any = field(default=None, repr=False)
    """The video as given."""

    def show(self) -> "TrackView":
        """Build a view of the tracks over the video for a notebook."""
        from tapetum.report.view import view_tracks

        return view_tracks(self.tracks, self.source)

    def as_json(self) -> dict[str, Any]:
        tracks, space, out = self.tracks, self.tracks3d, self.out
        content: dict[str, Any] = {
            "video": self.video,
            "frames": tracks.frames,
            "width": self.width,
            "height": self.height,
            "rate": self.frame_rate,
            "frames_damaged": self.frames_damaged,
            "model": self.model,
            "dtype": self.dtype,
            "points": tracks.points,
            "visible_share": float(tracks.visible.mean()),
            "seconds": self.seconds,
        }
        if out is not None:
            content |= {
                "overlay": self.overlay and str(self.overlay),
                "tracks": str(out / files.TRACKS),
                "table": str(out / files.TABLE),
            }
        if self.file is not None:
            content |= {"overlay": None, "tracks": None, "table": None, files.FILES[self.file.suffix.lower()]: str(self.file)}
        if space is not None:
            content |= {"metric": space.metric, "intrinsics": [float(number) for number in space.intrinsics]}
            if out is not None:
                content |= {"tracks3d": str(out / "tracks3d.npz"), "table3d": str(out / "tracks3d.csv")}
        content |= {name: str(page) for name in ("view", "report") if (page := getattr(self, name)) is not None}
        if self.doubt is not None:
            content["doubt"] = [span._asdict() for span in self.doubt]
        if self.stages is not None:
            content |= {"stages": dict(self.stages), "peak_memory_bytes": self.peak_memory_bytes}
        return content

    def as_text(self) -> str:
        content = self.as_json()
        lines = [
            f"tracked {content['points']} points through {content['frames']} frames of {self.video}"
            f" ({self.width}x{self.height}) with {self.model} in {self.seconds:.1f} s",
            *files.file_lines(content),
        ]
        if self.tracks3d is not None:
            unit = "metres" if self.tracks3d.metric else "an unknown unit, the same everywhere"
            lines += [f"in space {content['tracks3d']} (in {unit})", f"table    {content['table3d']}"]
            lines += [f"view     {content['view']}"] if "view" in content else []
        lines += [f"report   {self.report}"] if self.report is not None else []
        lines += [] if self.doubt is None else files.span_lines(self.doubt, self.tracks)
        if self.stages is not None:
            whole = sum(self.stages.values())
            lines += [f"{name:14}{seconds:7.2f} s {seconds / whole:5.0%}" for name, seconds in self.stages.items()]
            lines += [f"{'all':14}{whole:7.2f} s"]
            lines += [] if self.peak_memory_bytes is None else [f"memory    {memory_size(self.peak_memory_bytes)} at most"]
        return "\n".join(lines)


@verb(TrackOptions, data=("video", *SHOWN_BY))
def track(options: TrackOptions, listener: Listener) -> Tracked:
    """Track points through a video, and write the results to the folder `out` if given.

    The tracks are saved before anything is drawn, and remain whatever happens then: if the overlay cannot be drawn, the
    listener receives the reason; if the points cannot be lifted into space, an error is raised.

    Raises BadInput for conflicting options and for sources that cannot be opened.

    >>> import numpy as np
    >>> import tapetum
    >>> done = tapetum.track(np.zeros((3, 48, 64, 3), np.uint8), model="static", query=[(0, 10.5, 20)])
    >>> done.tracks.xy.tolist()
    [[[10.5, 20.0], [10.5, 20.0], [10.5, 20.0]]]
    """
    options.check()
    return track_into(options, listener, files.one_file(options.out))


def track_into(
    options: TrackOptions, listener: Listener, file: Path | None, load: "Callable[[], Tracker] | None" = None
) -> Tracked:
    """Track as `track` does, with checked options, into one `file` or the folder `options.out`; `load` gives the tracker."""
    with timed() if options.timing else nullcontext() as seconds:
        tracked = _track_into(options, listener, file, load)
    return tracked if seconds is None else replace(tracked, stages=dict(seconds), peak_memory_bytes=peak_bytes())


def _track_into(options: TrackOptions, listener: Listener, file: Path | None, load: "Callable[[], Tracker] | None") -> Tracked:
    from tapetum.tracks.doubtful import find_doubtful_spans
    from tapetum.video import open_video

    if file is not None:
        files.check_file(file, options)
    report_file = None if options.report is None else check_report(options.report)
    out = None if options.out is None or file is not None else Path(options.out)
    space = view = overlay = trouble = lifting = None
    with ExitStack() as cleanup:
        video = cleanup.enter_context(open_video(options.video))
        names = (files.OVERLAY, files.TRACKS, files.TABLE, *(SPACE if options.three_d else ()))
        written = None if out is None else cleanup.enter_context(results(out, (*names, files.FEATURES)))
        with stage("decode"):
            report = count_frames(video, options.video, listener)  # queries and tracks are held against the true number
        task = find_point_task(options, video, cleanup, listener)
        video = task.part.video
        if options.three_d:
            from tapetum.systems.tapvid3d.lifting import Lifting

            device = choose_device(options.device)
            lifting = Lifting(options.depth, options.intrinsics, options.model == "static", device, listener)
        with stage("load"):
            tracker = make_tracker(options, MODEL) if load is None else load()
        if options.doubt:
            errors = getattr(tracker, "error_model", None)
            polishes = getattr(getattr(getattr(tracker, "model", None), "config", None), "polish", False)
            if errors is None or options.reference is not None or not (polishes or errors.few):
                raise BadInput(
                    "--doubt needs predicted errors: take a bundled tracker as it is, or a tracker with an error "
                    "model (tapetum bootstrap --calibrate), and no --reference"
                )
        start = time.perf_counter()
        support = [] if lifting is None else lifting.support_points(video)
        scratch = None
        if report_file is not None and not (written is not None and options.keep_features):
            scratch = Path(cleanup.enter_context(TemporaryDirectory()))  # its points are tracked back through the same frames
        features = files.open_features(options, written, scratch)
        with stage("track"):
            tracks = task.track(tracker, support, listener.counting("tracking"), features)
        if lifting is not None:
            tracks = lifting.take_support(tracks, task.count)
        tracks = options.choose_visible(tracks, options.model or MODEL)
        seconds = time.perf_counter() - start
        if file is not None:
            files.write_file(file, video, tracks, options, listener)
        if written is not None:
            listener.status("saving")
            with stage("write"):
                files.save(tracks, written.folder)
            listener.status("")
            written.commit(instead_of=(*names, *files.finish_features(features, written.out)))
        with files.tracks_kept(out):
            if written is not None and not options.no_overlay:
                overlay = files.draw(written, video, tracks, options, listener)
            if lifting is not None:
                from tapetum.systems.tapvid3d.lifting import write_space

                try:
                    space = replace(lifting.lift(tracks, video), times=tracks.times, numbers=tracks.numbers, names=tracks.names)
                    view = None if written is None else write_space(space, video, options.view, written.folder)
                except TapetumError as error:
                    trouble = error
                if written is not None and all((written.folder / name).exists() for name in SPACE):
                    written.commit()
            if report_file is not None:
                from tapetum.app.track.report import write_track_report
                from tapetum.systems.tap.tracking.feature_file import FeatureFile

                features = FeatureFile((scratch or out or Path()) / files.FEATURES, None, 0)
                backward = files.track_back(tracker, task.part, tracks, listener.counting("tracking back"), features)
                features.close()
                write_track_report(report_file, video, tracks, listener, backward)
    if trouble is not None:
        where = "" if out is None else f"; the tracks in the image are in {out}"
        raise BadInput(f"{trouble}{where}") from trouble
    return Tracked(
        video=str(options.video) if isinstance(options.video, str | Path) else video.name,
        width=video.width,
        height=video.height,
        frame_rate=video.frame_rate,
        frames_damaged=report.damaged,
        model=options.model or MODEL,
        dtype=choose_dtype(options.dtype, options.device),
        seconds=seconds,
        tracks=tracks,
        tracks3d=space,
        out=out,
        overlay=overlay,
        view=None if out is None or view is None else out / view,
        file=file,
        report=report_file,
        doubt=find_doubtful_spans(tracks, options.until or 0.0) if options.doubt else None,
        source=options.video,
    )


def make_tracker(settings: TrackSettings, default: str) -> "Tracker":
    """Load the requested tracker, or the one named `default`. Raises BadInput if it does not exist."""
    from tapetum.bench.baselines import load_tracker

    device = choose_device(settings.device)
    tracker = load_tracker(settings.model or default, device, choose_dtype(settings.dtype, device))
    switches = {name: how == "yes" for name in ("second_pass", "polish") if (how := getattr(settings, name)) != "auto"}
    if switches and (model := getattr(tracker, "model", None)):
        if missing := [name for name in switches if not hasattr(model.config, name)]:
            option = f"--{missing[0].replace('_', '-')}"
            raise BadInput(f"{option} is of TAPIR, and {settings.model or default} is another network; leave it out")
        config, model.config = model.config, replace(model.config, **switches)
        if config.second_pass != model.config.second_pass:  # it learned from tracks of the other kind
            tracker.error_model = None  # type: ignore[attr-defined]
    if settings.compile and (compile_network := getattr(tracker, "compile", None)):
        check_compiler(tracker.device)  # type: ignore[attr-defined]
        compile_network()
    return tracker
