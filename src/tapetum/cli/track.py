"""`tapetum track`: points through a video, as a video to look at and a table to work with."""

import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.cli.output import note, print_json, progress, results_folder
from tapetum.errors import BadInput

if TYPE_CHECKING:
    from tapetum.bench.baselines import Tracker
    from tapetum.tap.tracks import Tracks
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

    video: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="VIDEO")]
    """Video file, folder of pictures, or npy/npz array."""
    model: str = "tapir-nano"
    """Name of weights (see: tapetum weights list), a file of weights, or static (no motion at all)."""
    grid: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Track N x N points, the centres of a regular grid of cells; 10 where no other points are given."""
    frame: int = 0
    """Frame on which the grid is laid."""
    points: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """CSV file of points with the header t,x,y or x,y (then on frame 0)."""
    query: tyro.conf.UseAppendAction[Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="t,x,y ...")]] = ()
    """Single points: frame, x and y, with commas; may be repeated."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the results; by default the name of the video with -tracks."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.bench.baselines import load_tracker
        from tapetum.video import open_video

        out = self.out or Path(f"{self.video.resolve().stem}-tracks")
        with open_video(self.video) as video, results_folder(out) as folder:
            # Decode once to know the true number of frames: queries and tracks are held against it.
            report = video.check()
            if report.damaged:
                note(f"{self.video}: {report.damaged} of {report.promised} frames are damaged or missing")
            queries = self._queries(video)
            tracker = load_tracker(self.model, self.device)
            start = time.perf_counter()
            tracks = _track(tracker, video, queries)
            seconds = time.perf_counter() - start
            _write(folder, video, tracks)
            summary = {
                "video": str(self.video),
                "frames": tracks.frames,
                "width": video.width,
                "height": video.height,
                "rate": video.rate,
                "frames_damaged": report.damaged,
                "model": self.model,
                "points": tracks.points,
                "visible_share": float(tracks.visible.mean()),
                "seconds": seconds,
                "overlay": str(out / "overlay.mp4"),
                "tracks": str(out / "tracks.npz"),
                "table": str(out / "tracks.csv"),
            }
        if self.json:
            print_json(summary)
        else:
            print(_text(summary))

    def _queries(self, video: "Video") -> Queries:
        """The points that were asked for, checked against the video."""
        single = [text for group in self.query for text in group]
        if (self.grid is not None) + (self.points is not None) + bool(self.query) > 1:
            raise BadInput("more than one of --grid, --points and --query was given; choose one of them")
        if self.points is not None:
            named = read_points(self.points)
        elif self.query:
            named = [(f"--query {text}", parse_query(text)) for text in single]
        else:
            named = [("--grid", point) for point in self._grid(video)]
        if not named:
            raise BadInput("--query has no point; give frame, x and y as in --query 0,120.5,80")
        for name, point in named:
            check_query(name, point, video)
        return [point for _, point in named]

    def _grid(self, video: "Video") -> Queries:
        count = _GRID if self.grid is None else self.grid
        if not 1 <= count <= 1000:
            raise BadInput(f"--grid is {count}; give a number of points a side from 1 to 1000")
        cells = [(index + 0.5) / count for index in range(count)]
        return [(self.frame, x * video.width, y * video.height) for y in cells for x in cells]


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


def check_query(name: str, point: tuple[float, float, float], video: "Video") -> None:
    """Raise `BadInput` unless the point lies in the video."""
    t, x, y = point
    if not all(map(math.isfinite, point)):
        raise BadInput(f"{name}: the point {t:g},{x:g},{y:g} holds NaN or infinity; give finite numbers for t,x,y")
    if not 0 <= t <= len(video) - 1:
        raise BadInput(f"{name}: frame {t:g} is not in the video, which has {len(video)} frames (0 to {len(video) - 1})")
    if not (0 <= x <= video.width and 0 <= y <= video.height):
        raise BadInput(f"{name}: the point {x:g},{y:g} is outside the picture of {video.width}x{video.height} pixels")


def _track(tracker: "Tracker", video: "Video", queries: Queries) -> "Tracks":
    import numpy as np

    with progress() as bars:
        task = bars.add_task("tracking", total=None)
        show = lambda seen, frames: bars.update(task, completed=seen, total=frames)  # noqa: E731
        return tracker.track(video, np.array(queries, np.float32), progress=show)


def _write(folder: Path, video: "Video", tracks: "Tracks") -> None:
    from tapetum.video import draw_tracks, write_video

    tracks.save(folder / "tracks.npz")
    tracks.save(folder / "tracks.csv")
    with progress() as bars:
        frames = draw_tracks(video, tracks.xy, tracks.visible)
        write_video(folder / "overlay.mp4", bars.track(frames, tracks.frames, description="drawing"), video.rate)


def _text(summary: dict[str, Any]) -> str:
    return (
        f"tracked {summary['points']} points through {summary['frames']} frames of {summary['video']}"
        f" ({summary['width']}x{summary['height']}) with {summary['model']} in {summary['seconds']:.1f} s\n"
        f"overlay  {summary['overlay']}\n"
        f"tracks   {summary['tracks']}\n"
        f"table    {summary['table']}"
    )
