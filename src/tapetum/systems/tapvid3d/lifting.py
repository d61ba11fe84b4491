"""Lifting of 2D tracks to 3D, by depth maps, a depth network, or the tracks themselves: `tapetum track --3d`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.errors import BadInput, Listener
from tapetum.core.tables import cells_of

if TYPE_CHECKING:
    import numpy as np

    from tapetum.tracks.points import Point
    from tapetum.types import Tracks, Tracks3D
    from tapetum.video import Video

RECORDING = "tracks3d.rrd"
"""Recording for rerun."""
SPACE = "tracks3d.npz", "tracks3d.csv"
"""Names of the files of tracks in space."""

_ADJUST = "adjust"
_VIEW = 53.0
"""Degrees of the longer side that a camera without --intrinsics is taken to see, where they cannot be estimated."""


def parse_intrinsics(text: str) -> tuple[float, ...]:
    """Read fx, fy, cx, cy in pixels. Raises BadInput for anything else.

    >>> parse_intrinsics("500,500,320,240")
    (500.0, 500.0, 320.0, 240.0)
    """
    try:
        numbers = tuple(float(part) for part in cells_of(text))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(0 < number < float("inf") for number in numbers):
        raise BadInput(f"--intrinsics {text!r} is no camera; give fx,fy,cx,cy in pixels, as in --intrinsics 500,500,320,240")
    return numbers


class Lifting:
    """Lifting of tracks into space; created before tracking, so that errors are raised early."""

    def __init__(self, depth: str | None, intrinsics: str | None, static: bool, device: str | None, listener: Listener):
        """Look up the depth source.

        With `static` every point keeps its position relative to the camera, with the depth at its query if `depth` is given.
        Raises BadInput for invalid intrinsics and a missing depth source.
        """
        from tapetum.systems.tapvid3d.depth import load_depth

        self.intrinsics = None if intrinsics is None else parse_intrinsics(intrinsics)
        self.static, self.listener = static, listener
        self.adjusts = depth in (None, _ADJUST)
        self.support: Tracks | None = None
        self.depth = None if depth is None or self.adjusts else load_depth(depth, device)

    def support_points(self, video: "Video") -> "list[Point]":
        """List points to track besides the requested ones: grids, from which adjustment estimates the camera."""
        if self.static or not self.adjusts:
            return []
        from tapetum.systems.tapvid3d.adjust import support_queries

        return [(float(t), float(x), float(y)) for t, x, y in support_queries(len(video), (video.height, video.width))]

    def take_support(self, tracks: "Tracks", count: int) -> "Tracks":
        """Split off the first `count` points of `tracks`, and keep the others for `lift`."""
        if tracks.points == count:
            return tracks
        from tapetum.systems.tapvid3d.adjust import split_support

        tracks, self.support = split_support(tracks, count)
        return tracks

    def lift(self, tracks: "Tracks", video: "Video") -> "Tracks3D":
        """Lift the tracks into space. Raises `BadInput` if there is no depth for them."""
        import numpy as np

        from tapetum.systems.tapvid3d.adjust import adjusted
        from tapetum.systems.tapvid3d.baselines import lift, lift_static

        size = video.height, video.width
        if self.adjusts and not self.static:
            self.listener.progress("adjusting the camera", 0, None)
            camera = None if self.intrinsics is None else np.array(self.intrinsics)
            try:
                return adjusted(tracks, size, camera, support=self.support)
            finally:
                self.listener.progress("adjusting the camera", 1, 1)
        camera = self._guess(size) if self.intrinsics is None else np.array(self.intrinsics)
        maps = None if self.depth is None else self._maps(video, tracks.frames)
        if self.static:
            return lift_static(tracks, maps, size, camera)
        assert maps is not None
        return lift(tracks, maps, size, camera)

    def _maps(self, video: "Video", frames: int) -> Any:
        assert self.depth is not None
        noted = False
        for number, depth in enumerate(self.depth.maps(video)):
            if not noted and depth.shape != (video.height, video.width):
                noted = True
                self.listener.note(
                    f"depth map {number} is {depth.shape[1]}x{depth.shape[0]}, the video {video.width}x{video.height}: "
                    "maps are taken to show the whole image"
                )
            yield depth
            self.listener.progress("depth", number + 1, frames)

    def _guess(self, size: tuple[int, int]) -> "np.ndarray":
        import numpy as np

        h, w = size
        focal = max(h, w) / 2 / np.tan(np.radians(_VIEW / 2))
        self.listener.note(f"no --intrinsics were given: the camera is taken to see {_VIEW:g} degrees of the longer side")
        return np.array([focal, focal, w / 2, h / 2])


def write_space(tracks: "Tracks3D", video: "Video", view: str, folder: Path) -> str | None:
    """Write tracks3d.npz, tracks3d.csv and, if `view` is rerun, a recording, whose name is returned."""
    for name in SPACE:
        tracks.save(folder / name)
    if view != "rerun":
        return None
    from tapetum.systems.tapvid3d.recording import write_rerun

    return write_rerun(tracks, folder / RECORDING, video, video.frame_rate).name
