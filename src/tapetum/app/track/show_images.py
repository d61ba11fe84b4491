"""Images of `tapetum show`: each point's path, speed and confidence, with the frames to check; or a frame of a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.verb import File, Listener, Result, count_frames
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name, whole_file
from tapetum.core.provenance import check
from tapetum.report.images import add_ruler, draw_plot, name_of_point

if TYPE_CHECKING:
    from tapetum.tracks.doubtful import Place
    from tapetum.types import Tracks

_LISTED = 20
"""Maximum number of places in the text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlottedTracks(Result):
    """Tracks that were plotted."""

    tracks_file: File
    tracks: "Tracks"
    plot: Path
    places: "tuple[Place, ...]"
    """Doubtful places, the most doubtful first."""

    def as_json(self) -> dict[str, Any]:
        rows = []
        for place in self.places:
            about = {"frame": self._frame(place), "reason": place.reason, "score": place.score}
            rows.append({"point": place.point, "name": name_of_point(self.tracks, place.point), **about})
        return {"tracks": str(self.tracks_file), "plot": str(self.plot), "frames_to_check": rows}

    def as_text(self) -> str:
        lines = [f"plot     {self.plot}"]
        lines += [
            f"frame {self._frame(p):5d}  {name_of_point(self.tracks, p.point):12}  {p.reason}" for p in self.places[:_LISTED]
        ]
        if not self.places:
            lines.append("no frame is doubtful: confidence is high wherever points are visible, and none jumps")
        if (more := len(self.places) - _LISTED) > 0:
            lines.append(f"and {more} more; --json lists all")
        return "\n".join(lines)

    def _frame(self, place: "Place") -> int:
        return place.frame if self.tracks.numbers is None else int(self.tracks.numbers[place.frame])


def plot_tracks(source: Path, out: Path | None, name: str | None, video: Any) -> PlottedTracks:
    """Plot the tracks of a file, of `name` in a TAP-Vid pickle; the image is `out`, by default its name with -plot.png. Raises
    BadInput for a file that cannot be read, tracks without a point or frame, and an image that cannot be written."""
    from PIL import Image

    from tapetum.tracks.doubtful import find_doubtful_places
    from tapetum.tracks.exchange import read_tracks
    from tapetum.video import open_video

    out = out or Path(f"{plain_name(source)}-plot.png")
    if out.suffix.lower() != ".png":
        raise BadInput(f"--out {out}: a plot is a PNG; give a name that ends in .png")
    check(out)
    tracks = read_tracks(source, name=name)
    if not tracks.points or not tracks.frames:
        raise BadInput(f"{source} has {tracks.points} points in {tracks.frames} frames; there is nothing to plot")
    size = None
    if video is not None:
        with open_video(video) as opened:
            size = opened.width, opened.height
    places = find_doubtful_places(tracks, size)
    with whole_file(out) as temporary:
        Image.fromarray(draw_plot(tracks, places)).save(temporary, "PNG")
    return PlottedTracks(tracks_file=source, tracks=tracks, plot=out, places=tuple(places))


_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, kw_only=True)
class ShownFrame(Result):
    """A frame of a video as an image."""

    video: str
    frame: int
    width: int
    height: int
    image: Path

    def as_text(self) -> str:
        size, command = f"{self.width}x{self.height}", f"tapetum track {self.video} --query {self.frame},X,Y"
        return f"image    {self.image} ({size})\ntrack a point of it: {command}"


def show_frame(source: Any, number: int, out: Path | None, ruler: bool, listener: Listener) -> ShownFrame:
    """Write frame `number` of a video as an image, by default its name with -NUMBER.png; a ruler adds pixel coordinates around
    it. Raises BadInput if there is no such frame, or the image cannot be written."""
    from PIL import Image

    from tapetum.video import open_video

    name = source if isinstance(source, str | Path) else None
    if name is None and out is None:
        raise BadInput("the video is in memory and has no name to call the image by; give out, such as out='frame.png'")
    out = out or Path(f"{plain_name(name or '')}-{number}.png")
    kind = _FORMATS.get(out.suffix.lower())
    if kind is None:
        raise BadInput(f"--out {out}: a frame is written as an image; give a name that ends in .png or .jpg")
    check(out)
    with open_video(source) as video:
        if not 0 <= number < len(video):
            count_frames(video, source, listener)  # as many as can be decoded
        if not 0 <= number < len(video):
            raise BadInput(f"there is no frame {number} in {video.name}; give one from 0 to {len(video) - 1}")
        frame, width, height, label = video[number], video.width, video.height, video.name if name is None else str(name)
    with whole_file(out) as temporary:
        Image.fromarray(add_ruler(frame) if ruler else frame).save(temporary, kind)
    return ShownFrame(video=label, frame=number, width=width, height=height, image=out)
