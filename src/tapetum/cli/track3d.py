"""`tapetum track --3d`: tracks in the picture put into space, by depth maps, a network, or the tracks themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tapetum.cli.output import note, progress
from tapetum.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from tapetum.cli.track import Queries
    from tapetum.types import Tracks, Tracks3D
    from tapetum.video import Video

View3D = Literal["html", "still", "rerun"]
"""Ways to look at tracks in space."""
FILES: dict[View3D, str] = {"html": "tracks3d.html", "still": "tracks3d.png", "rerun": "tracks3d.rrd"}

_ADJUST = "adjust"
_VIEW = 53.0
"""Degrees of the longer side that a camera without --intrinsics is taken to see, where they cannot be estimated."""


def parse_intrinsics(text: str) -> tuple[float, ...]:
    """fx, fy, cx, cy in pixels.

    >>> parse_intrinsics("500,500,320,240")
    (500.0, 500.0, 320.0, 240.0)
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(0 < number < float("inf") for number in numbers):
        raise BadInput(f"--intrinsics {text!r} is no camera; give fx,fy,cx,cy in pixels, as in --intrinsics 500,500,320,240")
    return numbers


class Lifting:
    """How the tracks of a command are put into space; made before anything is tracked, so that errors come at once."""

    def __init__(self, depth: str | None, intrinsics: str | None, static: bool, device: str | None):
        """`static`: every point keeps its place before the camera, with the depth at its query if there is `depth`."""
        from tapetum.tapvid3d.depth import load_depth

        self.intrinsics = None if intrinsics is None else parse_intrinsics(intrinsics)
        self.static = static
        self.adjusts = depth in (None, _ADJUST)
        self.support: Tracks | None = None
        self.depth = None if depth is None or self.adjusts else load_depth(depth, device)

    def further(self, video: "Video") -> "Queries":
        """Points to be tracked beside those that are wanted: grids, from which adjustment finds the camera."""
        if self.static or not self.adjusts:
            return []
        from tapetum.tapvid3d.reconstruction.adjust import support_queries

        return [(float(t), float(x), float(y)) for t, x, y in support_queries(len(video), (video.height, video.width))]

    def wanted(self, tracks: "Tracks", count: int) -> "Tracks":
        """The first `count` points of `tracks`; the others are kept for `lift`."""
        if tracks.points == count:
            return tracks
        from tapetum.tapvid3d.reconstruction.adjust import split_support

        tracks, self.support = split_support(tracks, count)
        return tracks

    def lift(self, tracks: "Tracks", video: "Video") -> "Tracks3D":
        """The tracks in space. Raises `BadInput` where there is no depth for them."""
        import numpy as np

        from tapetum.tapvid3d.lift import lift, lift_static
        from tapetum.tapvid3d.reconstruction.adjust import adjusted

        size = video.height, video.width
        if self.adjusts and not self.static:
            with progress() as bars:
                bars.add_task("adjusting the camera", total=None)
                camera = None if self.intrinsics is None else np.array(self.intrinsics)
                return adjusted(tracks, size, camera, support=self.support)
        camera = _guess(size) if self.intrinsics is None else np.array(self.intrinsics)
        maps = None if self.depth is None else self._maps(video, tracks.frames)
        if self.static:
            return lift_static(tracks, maps, size, camera)
        assert maps is not None
        return lift(tracks, maps, size, camera)

    def _maps(self, video: "Video", frames: int) -> Any:
        """Depth maps, with a bar while they are looked up."""
        assert self.depth is not None
        with progress() as bars:
            yield from bars.track(self.depth.maps(video), frames, description="depth")


def write(tracks: "Tracks3D", video: "Video", view: View3D | None, folder: Path, out: Path) -> dict[str, Any]:
    """Files of the tracks in `folder`; what there is to say of them, as if they were in `out`."""
    tracks.save(folder / "tracks3d.npz")
    tracks.save(folder / "tracks3d.csv")
    told: dict[str, Any] = {
        "metric": tracks.metric,
        "intrinsics": [float(number) for number in tracks.intrinsics],
        "tracks3d": str(out / "tracks3d.npz"),
        "table3d": str(out / "tracks3d.csv"),
    }
    if view is None:
        return told
    path = folder / FILES[view]
    if view == "html":
        from tapetum.tapvid3d.views.html import write_html

        write_html(tracks, path, video=video, rate=video.rate)
    elif view == "still":
        from tapetum.tapvid3d.views.still import write_still

        write_still(tracks, path)
    else:
        from tapetum.tapvid3d.views.rerun_view import write_rerun

        write_rerun(tracks, path, video=video, rate=video.rate)
    return {**told, "view": str(out / FILES[view])}


def text(summary: dict[str, Any]) -> str:
    """What `write` tells, for people."""
    unit = "metres" if summary["metric"] else "an unknown unit, the same everywhere"
    lines = [f"in space {summary['tracks3d']} (in {unit})", f"table    {summary['table3d']}"]
    return "\n".join([*lines, f"view     {summary['view']}"] if "view" in summary else lines)


def _guess(size: tuple[int, int]) -> "np.ndarray":
    import numpy as np

    h, w = size
    focal = max(h, w) / 2 / np.tan(np.radians(_VIEW / 2))
    note(f"no --intrinsics were given: the camera is taken to see {_VIEW:g} degrees of the longer side")
    return np.array([focal, focal, w / 2, h / 2])
