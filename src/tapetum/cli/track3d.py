"""What `tapetum track --3d` does beside tracking in the picture: depth, files of tracks in space, views of them."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.cli.output import note, progress
from tapetum.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from tapetum.bench.baselines import Tracker
    from tapetum.cli.points import Queries
    from tapetum.cli.track import Track
    from tapetum.tapvid3d.tracks3d import Tracks3D
    from tapetum.video import Video

FILES = {"html": "tracks3d.html", "still": "tracks3d.png", "rerun": "tracks3d.rrd"}
"""What each view writes."""


def check_options(verb: "Track") -> None:
    """Raise `BadInput` for options that do not go together, `MissingExtra` for what they need, before any work is done."""
    if verb.intrinsics is not None:
        parse_intrinsics(verb.intrinsics)
    if verb.median_depth is not None and (_source(verb) != "adjust" or not 0 < verb.median_depth < math.inf):
        raise BadInput(
            f"--median-depth {verb.median_depth:g} is for --depth adjust, in metres above 0; depth maps have their scale"
        )
    if _source(verb) == "adjust" and find_spec("scipy") is None:
        raise MissingExtra("scipy", "track3d", "--depth adjust")
    if verb.view == "rerun" and find_spec("rerun") is None:
        raise MissingExtra("rerun-sdk", "view", "--view rerun")


def parse_intrinsics(text: str) -> tuple[float, ...]:
    """fx, fy, cx, cy from a text such as "280,280,256,256".

    >>> parse_intrinsics("280,280,256,256")
    (280.0, 280.0, 256.0, 256.0)
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or min(numbers[:2]) <= 0:
        raise BadInput(f"--intrinsics {text!r} is no camera; give fx,fy,cx,cy in pixels, as in --intrinsics 280,280,256,256")
    return numbers


def track_in_space(verb: "Track", tracker: "Tracker", video: "Video", queries: "Queries") -> "Tracks3D":
    """Tracks of the queries (t, x, y) in space, with a bar while that goes on."""
    import numpy as np

    from tapetum.tapvid3d.depth import load_depth
    from tapetum.tapvid3d.lift import Lifter, Static3D

    source = _source(verb)
    depth = source if source == "adjust" else load_depth(source, verb.device)
    lifter = Static3D(depth) if verb.model == "static" else Lifter(tracker, depth, median_depth=verb.median_depth)
    intrinsics = None if verb.intrinsics is None else np.array(parse_intrinsics(verb.intrinsics))
    asked = np.array(queries, np.float32)[:, [1, 2, 0]]
    with progress() as bars:
        task = bars.add_task("tracking", total=None)
        show = lambda seen, frames: bars.update(task, completed=seen, total=frames)  # noqa: E731
        tracks = lifter.track(video, asked, intrinsics, progress=show)
    if intrinsics is None:
        focal, angle = tracks.intrinsics[0], _angle(tracks, video)
        how = "found by adjustment" if source == "adjust" else "assumed; give --intrinsics fx,fy,cx,cy"
        note(f"focal length {focal:.0f} pixels ({angle:.0f} degrees along the longer side), {how}")
    if not tracks.metric:
        note("the unit of length is unknown: distances are right up to one common factor")
    return tracks


def write_space(verb: "Track", tracks: "Tracks3D", video: "Video", folder: Path, out: Path) -> dict[str, Any]:
    """Write tracks and view into `folder`, which becomes `out`; what there is to say of them."""
    tracks.save(folder / "tracks3d.npz")
    tracks.save(folder / "tracks3d.csv")
    summary: dict[str, Any] = {
        "depth": _source(verb),
        "metric": tracks.metric,
        "intrinsics": tracks.intrinsics.tolist(),
        "tracks3d": str(out / "tracks3d.npz"),
        "table3d": str(out / "tracks3d.csv"),
    }
    if verb.view in FILES:
        _write_view(verb.view, folder / FILES[verb.view], tracks, video)
        summary["view"] = str(out / FILES[verb.view])
    return summary


def _write_view(view: str, path: Path, tracks: "Tracks3D", video: "Video") -> None:
    size = video.width, video.height
    if view == "still":
        from tapetum.tapvid3d.views.still import write_still

        write_still(path, tracks, size, picture=video[tracks.frames - 1])
    elif view == "html":
        from tapetum.tapvid3d.views.html import write_html

        write_html(path, tracks, size, video, rate=video.rate, title=video.name)
    else:
        from tapetum.tapvid3d.views.rerun_view import write_rerun

        write_rerun(path, tracks, size, video, rate=video.rate)


def _source(verb: "Track") -> str:
    """Where depth comes from; a tracker that stands still has nothing to adjust."""
    return verb.depth or ("static" if verb.model == "static" else "adjust")


def _angle(tracks: "Tracks3D", video: "Video") -> float:
    """Degrees that the camera sees along the longer side of its picture."""
    across = (video.width / tracks.intrinsics[0], video.height / tracks.intrinsics[1])
    return math.degrees(2 * math.atan(max(across) / 2))
