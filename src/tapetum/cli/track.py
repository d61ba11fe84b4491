"""`tapetum track`: points through a video, as a video to look at and a table to work with."""

import csv
import json
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.cli import track3d
from tapetum.cli.output import View, note, print_json, progress, results_folder, write_overlay
from tapetum.cli.track3d import View3D
from tapetum.errors import BadInput, TapetumError

if TYPE_CHECKING:
    from tapetum.bench.baselines import Tracker
    from tapetum.types import Tracks
    from tapetum.video import Video

Queries = list[tuple[float, float, float]]
"""frame, x, y of each point, in raster pixels of the video."""

_GRID = 10


@dataclass(frozen=True, kw_only=True)
class Track:
    """Track points through a video.

    Writes overlay.mp4, tracks.npz (xy, visible, confidence, queries) and tracks.csv into a folder. Points are x, y in
    pixels from the top left corner of the picture, so that the centre of the first pixel is 0.5, 0.5; frames count
    from 0.
    """

    videos: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VIDEO ...")]
    """Video file, folder of pictures, or npy/npz array; several of them, or a folder of videos, to track in each; with --online
    also the number of a camera, an address such as rtsp://..., or - for standard input."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Name of weights (see: tapetum weights list), a file of weights, or static (no motion at all). By default tapir-nano, with
    --online causal-tapir-nano."""
    grid: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Track N x N points, the centres of a regular grid of cells; 10 where no other points are given."""
    frame: int = 0
    """Frame on which the grid is laid."""
    points: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """CSV file of points with the header t,x,y or x,y (then on frame 0)."""
    query: tyro.conf.UseAppendAction[Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="t,x,y ...")]] = ()
    """Single points: frame, x and y, with commas; may be repeated."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the results; by default the name of the video with -tracks. Of several videos each has a folder in it, and
    those that are done are not done again."""
    view: View | View3D = "tracks"
    """How overlay.mp4 is drawn. tracks: dots and fading paths; rainbow: the paths of what moves by itself, without the camera's
    motion. Or, with --3d, another file to look at: html (a page with a view that turns), still (a PNG), rerun (needs
    tapetum[view])."""
    three_d: Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(name="3d")] = False
    """Put the points into space too: tracks3d.npz and tracks3d.csv, x right, y down, z forward from each frame's camera."""
    intrinsics: Annotated[str | None, tyro.conf.arg(metavar="fx,fy,cx,cy")] = None
    """With --3d, the camera in pixels of the video; by default estimated, or guessed where depth is given."""
    depth: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """With --3d, where depth comes from. adjust (default): the tracks themselves, by bundle adjustment, in an unknown unit; or
    a file or folder of depth maps (.npz, .npy, .png of 16 bits); or a network: zoedepth, depth-anything, OWNER/NAME (needs
    tapetum[depth])."""
    engine: Literal["local", "ray"] = "local"
    """What works on several videos: this process, one after the other, or Ray, many at a time (needs tapetum[cluster])."""
    online: tyro.conf.FlagCreatePairsOff[bool] = False
    """Follow points frame by frame as they come, with a causal model, until the source ends or Ctrl-C. Frames of cameras and
    addresses that come too fast are dropped."""
    preview: Annotated[str | None, tyro.conf.arg(metavar="TO")] = None
    """With --online, show the overlay meanwhile: window, or a file (or - for stdout) that gets it as mjpeg."""
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
    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compile the network with torch.compile first: a minute or two, and a C++ compiler on a CPU; for long videos and GPUs."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.cli.many import sources, track_many

        self._check_3d()
        if self.online:
            self._live()
            return
        if self.preview is not None:
            raise BadInput("--preview belongs to --online; without it, look at overlay.mp4 afterwards")
        named = sources(self.videos)
        if len(named) > 1 or self.engine == "ray":
            track_many(self, named, self.out or Path("tracks"))
            return
        out = self.out or Path(f"{Path(self._video).resolve().stem}-tracks")
        summary = self.track(named[0][1], out)
        if self.json:
            print_json(summary)
        else:
            print(_text(summary))
            if self.three_d:
                print(track3d.text(summary))

    def track(self, source: str, out: Path) -> dict[str, Any]:
        """Tracks in one video, as files in the folder `out`; what there is to say of it."""
        from tapetum.video import open_video

        with open_video(source) as video, results_folder(out) as folder:
            # Decode all to know the true number of frames: queries and tracks are held against it. What fits is kept meanwhile,
            # so that the network, the polish and the overlay need not decode it again.
            video.hold()
            report = video.check()
            if report.damaged:
                note(f"{source}: {report.damaged} of {report.promised} frames are damaged or missing")
            queries = self._queries(video.width, video.height, len(video))
            lifting = (
                track3d.Lifting(self.depth, self.intrinsics, self._model == "static", self.device) if self.three_d else None
            )
            tracker = self._tracker()
            start = time.perf_counter()
            tracks = _track(tracker, video, queries if lifting is None else queries + lifting.further(video))
            if lifting is not None:
                tracks = lifting.wanted(tracks, len(queries))
            seconds = time.perf_counter() - start
            tracks.save(folder / "tracks.npz")
            tracks.save(folder / "tracks.csv")
            view3d = None if self.view in ("tracks", "rainbow") else self.view
            write_overlay(folder / "overlay.mp4", video, tracks, "rainbow" if self.view == "rainbow" else "tracks")
            trouble, in_space = None, {}
            if lifting is not None:
                try:
                    in_space = track3d.write(lifting.lift(tracks, video), video, view3d, folder, out)
                except TapetumError as error:
                    trouble = error
            summary = {
                "video": source,
                "frames": tracks.frames,
                "width": video.width,
                "height": video.height,
                "rate": video.rate,
                "frames_damaged": report.damaged,
                "model": self._model,
                "points": tracks.points,
                "visible_share": float(tracks.visible.mean()),
                "seconds": seconds,
                "overlay": str(out / "overlay.mp4"),
                "tracks": str(out / "tracks.npz"),
                "table": str(out / "tracks.csv"),
                **in_space,
            }
        if trouble is not None:
            raise BadInput(f"{trouble}; the tracks in the picture are in {out}") from trouble
        return summary

    def _check_3d(self) -> None:
        if self.three_d:
            return
        for option, given in (("--intrinsics", self.intrinsics), ("--depth", self.depth)):
            if given is not None:
                raise BadInput(f"{option} belongs to --3d; add that, or leave it out")
        if self.view not in ("tracks", "rainbow"):
            raise BadInput(f"--view {self.view} shows points in space; add --3d, or choose tracks or rainbow")

    @property
    def _video(self) -> str:
        """The only one."""
        if len(self.videos) != 1:
            raise BadInput(f"{len(self.videos)} videos were given; --online takes one")
        return self.videos[0]

    def _tracker(self) -> "Tracker":
        """The tracker as asked for."""
        from tapetum.bench.baselines import load_tracker

        tracker = load_tracker(self._model, self.device, self.dtype)
        asked = {k: v == "yes" for k in ("second_look", "polish") if (v := getattr(self, k)) != "auto"}
        if asked and (model := getattr(tracker, "model", None)):
            model.config = replace(model.config, **asked)
        if self.compile and (compiled := getattr(tracker, "compile", None)):
            compiled()
        return tracker

    @property
    def _model(self) -> str:
        return self.model or ("causal-tapir-nano" if self.online else "tapir-nano")

    def _live(self) -> None:
        """The same for frames as they come."""
        from tapetum.cli import live
        from tapetum.video import LiveVideo, write_video

        source_name = self._video
        if self.three_d:
            raise BadInput("--3d needs the whole video; leave --online out")
        if self.view != "tracks":
            raise BadInput(f"--view {self.view} needs the whole video; without it, or with tapetum show afterwards")
        out = self.out or live.default_folder(source_name)
        start = getattr(tracker := self._tracker(), "start", None)
        if start is None or not tracker.model.config.causal:  # type: ignore[attr-defined]
            raise BadInput(f"{self._model} needs the future; --online takes a causal model, such as causal-tapir-nano")
        with ExitStack() as cleanup:
            folder = cleanup.enter_context(results_folder(out))
            source = cleanup.enter_context(LiveVideo(source_name))
            show = live.preview(self.preview, cleanup)
            run = live.Run(source, tracker, lambda width, height: self._queries(width, height, None), show)  # type: ignore[arg-type]
            begin = time.perf_counter()
            with live.interruptible(source):
                write_video(folder / "overlay.mp4", run.frames(), source.rate)
            seconds = time.perf_counter() - begin
            tracks = run.tracks()
            tracks.save(folder / "tracks.npz")
            tracks.save(folder / "tracks.csv")
            summary = {
                "video": source_name,
                "width": run.size[0],
                "height": run.size[1],
                "rate": source.rate,
                "model": self._model,
                "points": tracks.points,
                "visible_share": float(tracks.visible.mean()),
                **run.report(seconds),
                "overlay": str(out / "overlay.mp4"),
                "tracks": str(out / "tracks.npz"),
                "table": str(out / "tracks.csv"),
            }
        if self.preview == "-":
            note(json.dumps(summary))
        elif self.json:
            print_json(summary)
        else:
            print(_live_text(summary))

    def _queries(self, width: int, height: int, frames: int | None) -> Queries:
        """The points that were asked for, checked against the video; the number of frames is None where nobody knows it."""
        single = [text for group in self.query for text in group]
        if (self.grid is not None) + (self.points is not None) + bool(self.query) > 1:
            raise BadInput("more than one of --grid, --points and --query was given; choose one of them")
        if self.points is not None:
            named = read_points(self.points)
        elif self.query:
            named = [(f"--query {text}", parse_query(text)) for text in single]
        else:
            named = [("--grid", point) for point in self._grid(width, height)]
        if not named:
            raise BadInput("--query has no point; give frame, x and y as in --query 0,120.5,80")
        for name, point in named:
            check_query(name, point, width, height, frames)
        return [point for _, point in named]

    def _grid(self, width: int, height: int) -> Queries:
        count = _GRID if self.grid is None else self.grid
        if not 1 <= count <= 1000:
            raise BadInput(f"--grid is {count}; give a number of points a side from 1 to 1000")
        cells = [(index + 0.5) / count for index in range(count)]
        return [(self.frame, x * width, y * height) for y in cells for x in cells]


def parse_query(text: str) -> tuple[float, float, float]:
    """Frame, x, y from a text such as "0,120.5,80".

    >>> parse_query("0,120.5,80")
    (0.0, 120.5, 80.0)
    """
    try:
        t, x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--query {text!r} is not a point; give frame, x and y as in --query 0,120.5,80") from None
    return t, x, y


def read_points(path: Path) -> list[tuple[str, tuple[float, float, float]]]:
    """Points of a CSV file with the header t,x,y or x,y, each with the name of its line for messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadInput(f"cannot read points from {path}: {reason}; give a CSV file with the header t,x,y") from error
    rows = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(rows, [])]
    if any(header.count(name) > 1 for name in "txy") or not {"x", "y"} <= set(header):
        raise BadInput(f"{path} begins with the header {','.join(header)[:80]!r}; it must be t,x,y (or x,y)")
    columns = [header.index(name) if name in header else None for name in ("t", "x", "y")]
    points = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        name = f"line {rows.line_num} of {path}"
        try:
            t, x, y = (0.0 if column is None else float(row[column]) for column in columns)
        except (ValueError, IndexError):
            raise BadInput(f"{name} is {','.join(row)[:80]!r}; it must hold numbers for {','.join(header)[:80]}") from None
        points.append((name, (t, x, y)))
    if not points:
        raise BadInput(f"{path} holds no points; put one on each line below the header")
    return points


def check_query(name: str, point: tuple[float, float, float], width: int, height: int, frames: int | None) -> None:
    """Raise `BadInput` unless the point lies in a video of this size and, if that is known, this number of frames."""
    t, x, y = point
    if not all(map(math.isfinite, point)):
        raise BadInput(f"{name}: the point {t:g},{x:g},{y:g} holds NaN or infinity; give finite numbers for t,x,y")
    if t < 0 or (frames is not None and t > frames - 1):
        has = "" if frames is None else f", which has {frames} frames (0 to {frames - 1})"
        raise BadInput(f"{name}: frame {t:g} is not in the video{has}")
    if not (0 <= x <= width and 0 <= y <= height):
        raise BadInput(f"{name}: the point {x:g},{y:g} is outside the picture of {width}x{height} pixels")


def _track(tracker: "Tracker", video: "Video", queries: Queries) -> "Tracks":
    import numpy as np

    with progress() as bars:
        task = bars.add_task("tracking", total=None)
        show = lambda seen, frames: bars.update(task, completed=seen, total=frames)  # noqa: E731
        return tracker.track(video, np.array(queries, np.float32), progress=show)


def _live_text(summary: dict[str, Any]) -> str:
    return (
        f"followed {summary['points']} points through {summary['frames']} frames of {summary['video']}"
        f" ({summary['width']}x{summary['height']}) with {summary['model']}: {summary['frames_per_second']:.1f} frames/s,"
        f" {summary['frames_dropped']} dropped\n"
        f"latency  {summary['latency_ms_median']:.0f} ms (median), {summary['latency_ms_95']:.0f} (95 %),"
        f" {summary['latency_ms_max']:.0f} (most)\n"
        f"overlay  {summary['overlay']}\n"
        f"tracks   {summary['tracks']}\n"
        f"table    {summary['table']}"
    )


def _text(summary: dict[str, Any]) -> str:
    return (
        f"tracked {summary['points']} points through {summary['frames']} frames of {summary['video']}"
        f" ({summary['width']}x{summary['height']}) with {summary['model']} in {summary['seconds']:.1f} s\n"
        f"overlay  {summary['overlay']}\n"
        f"tracks   {summary['tracks']}\n"
        f"table    {summary['table']}"
    )
