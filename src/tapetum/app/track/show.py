"""`tapetum.show`: draws saved tracks on their video, without tracking again; plots them, or writes a frame of a video."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, count_frames, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name, whole_file
from tapetum.core.provenance import check

if TYPE_CHECKING:
    import numpy as np

    from tapetum.tracks.doubtful import Place
    from tapetum.types import Tracks
    from tapetum.video import Video
    from tapetum.video.types import Frame

MOST_DRAWN = 10_000
"""Maximum number of points drawn; more are subsampled evenly."""
_TRACKS = frozenset((".npz", ".csv", ".json", ".parquet", ".pkl", ".h5", ".hdf5"))
"""Extensions of files of tracks."""
View = Literal["tracks", "rainbow"]


@dataclass(frozen=True, kw_only=True)
class VisibilitySettings:
    """What counts as visible."""

    visible_above: Annotated[float | None, tyro.conf.arg(metavar="CHANCE")] = None
    """Call points visible where they are right with at least this chance, 0..1, in place of a confidence above 0.5: less shows
    more of them, more hides doubtful ones. Where errors are predicted (tapir-nano; tapetum bootstrap --calibrate) the chance is
    calibrated, so that of places with 0.8 about eight of ten are right; of other models it is the confidence."""

    def check(self) -> None:
        if self.visible_above is not None and not 0 <= self.visible_above <= 1:
            raise BadInput(f"--visible-above is {self.visible_above:g}; give a chance from 0 to 1, such as 0.8")

    def choose_visible(self, tracks: "Tracks", model: str) -> "Tracks":
        """Choose what counts as visible in tracks of `model`, as requested."""
        if self.visible_above is None:
            return tracks
        from tapetum.systems.tap.tracking.calibration import mark_visible

        return mark_visible(tracks, model, self.visible_above)


@dataclass(frozen=True, kw_only=True)
class DrawSettings(VisibilitySettings):
    """How tracks are drawn."""

    numbers: bool = False
    """Write the number of each point beside it, as it stands in the tables; points that have names show these anyway."""
    radius: Annotated[float | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Of dots; by default by the size of the image."""
    trail: Annotated[int, tyro.conf.arg(metavar="FRAMES")] = 12
    """Frames after which a path has faded away; 0 draws none."""
    rings: Literal["yes", "no"] = "yes"
    """Draw hollow rings where hidden points are thought to be."""
    scale: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """Size of the overlay, as a share of that of the video: 0.5 is half as wide and high."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Frames per second of the overlay, which is as fast as the video all the same: frames are left out or repeated."""
    dither: Literal["yes", "no"] = "yes"
    """Mix colours that a gif lacks of the 256 that it has; no makes smaller files, with steps in skies."""

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Compute width and height of the overlay of frames of this size."""
        return max(round(width * self.scale), 2), max(round(height * self.scale), 2)

    def labels(self, points: int, names: Sequence[str] | None) -> list[str] | None:
        """List the label of each point: its name, else its number if requested; None if there are no labels."""
        labels = [name or (str(number) if self.numbers else "") for number, name in enumerate(names or [""] * points)]
        return labels if any(labels) else None

    def check(self) -> None:
        from tapetum.video.types import check_rate

        super().check()
        if self.trail < 0:
            raise BadInput(f"--trail is {self.trail}; give a number of frames, 0 for no trails")
        if self.radius is not None and not 0 < self.radius <= 1000:
            raise BadInput(f"--radius is {self.radius:g}; give pixels above 0, such as 3")
        if not 0.01 <= self.scale <= 16:
            raise BadInput(f"--scale is {self.scale:g}; give a share of the video's size from 0.01 to 16, such as 0.5")
        if self.fps is not None:
            check_rate(self.fps)


@dataclass(frozen=True)
class ShowOptions(DrawSettings):
    """Draw saved tracks on the video that they come from; or plot them, or write a frame of a video.

    The tracks may be npz, csv, json or parquet of tapetum, a csv of DeepLabCut, a csv with the columns ID,T,Y,X of a
    napari Tracks layer, or a pickle of TAP-Vid. No model is loaded. TRACKS --plot needs no video, VIDEO --frame no tracks.
    """

    tracks: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="TRACKS")]
    """File of tracks, or its address."""
    video: tyro.conf.Positional[Annotated[Any, one_text("VIDEO")]] = None
    """The video that they come from: video file, folder of images, or npy/npz array, or the address of one; it must be given.
    In Python, with `out`, also an array (t, h, w, 3)."""
    _: KW_ONLY
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the overlay: .mp4, .webm or .gif; by default the name of the video with -overlay.mp4."""
    view: View = "tracks"
    """tracks: dots and fading paths; rainbow: the paths of what moves by itself, without the camera's motion."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which video of a TAP-Vid pickle that holds several."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "tapir-nano"
    """With --visible-above, the tracker that made the tracks."""
    plot: bool = False
    """Plot path, speed and confidence of each point as a PNG, and list the frames to check: where confidence is low or a point
    jumps."""
    frame: int | None = None
    """Of a video in place of tracks, write this frame as an image, to click on or to read pixels from."""
    ruler: bool = False
    """With --frame, put numbers of pixels along two edges of the image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnTracks(Result):
    """Tracks that were drawn on their video."""

    tracks_file: File
    video: File
    """What they were drawn on, or the name of an array."""
    tracks: "Tracks"
    overlay: Path

    def as_json(self) -> dict[str, Any]:
        return {
            "tracks": str(self.tracks_file),
            "video": str(self.video),
            "points": self.tracks.points,
            "frames": self.tracks.frames,
            "visible_share": float(self.tracks.visible.mean()),
            "overlay": str(self.overlay),
        }

    def as_text(self) -> str:
        what = f"{self.tracks.points} points on {self.tracks.frames} frames of {self.video}"
        return f"drew {what}\noverlay  {self.overlay}"


@verb(ShowOptions, data=("tracks", "video"))
def show(options: ShowOptions, listener: Listener) -> "DrawnTracks | PlottedTracks | ShownFrame":
    """Draw saved tracks on the video that they come from, plot them, or write a frame of a video; no model is loaded.

    Raises BadInput for files that cannot be read or do not belong together, and if the result cannot be written.
    """
    from tapetum.tracks.exchange import check_video, read_tracks, tracked_part
    from tapetum.video import open_video

    options.check()
    out = None if options.out is None else Path(options.out)
    if options.frame is None and options.ruler:
        raise BadInput("--ruler belongs to --frame; add that, or leave it out")
    if options.frame is not None:
        if options.plot or options.video is not None:
            raise BadInput("--frame shows a video and no tracks: tapetum show VIDEO --frame 43 --out frame.png")
        return show_frame(options.tracks, options.frame, out, options.ruler, listener)
    if options.plot:
        return plot_tracks(Path(options.tracks), out, options.name, options.video)
    source, given = Path(options.tracks), options.video
    is_video = source.is_dir() or source.suffix.lower() not in _TRACKS
    if isinstance(given, str | Path) and is_video and Path(given).suffix.lower() in _TRACKS:
        raise BadInput(f"{source} is a video: tracks come first, as in: tapetum show {given} {source}")
    if given is None and is_video:
        made = f"tapetum track {source} makes them, in {plain_name(source)}-tracks/tracks.npz"
        raise BadInput(f"{source} is a video, and tracks are drawn on it: tapetum show TRACKS {source}; {made}")
    if given is None:
        raise BadInput(f"give the video that the tracks come from too: tapetum show {source} VIDEO")
    file = Path(given) if isinstance(given, str | Path) else None
    if file is None and out is None:
        raise BadInput("the video is in memory and has no name to call the overlay by; give out, such as out='drawn.mp4'")
    out = out or Path(f"{plain_name(file or '')}-overlay.mp4")
    check(out)
    with open_video(given) as video:
        count_frames(video, given, listener)
        name = Path(video.name) if file is None else file
        tracks = options.choose_visible(read_tracks(source, video=video, name=options.name), options.model)
        video = tracked_part(video, tracks)
        check_video(tracks, video)
        write_overlay(out, video, tracks, options.view, listener, options)
    return DrawnTracks(tracks_file=source, video=name, tracks=tracks, overlay=out)


def write_overlay(
    path: Path,
    video: "Video",
    tracks: "Tracks",
    view: View,
    listener: Listener,
    settings: DrawSettings | None = None,
    colours: "np.ndarray | None" = None,
) -> None:
    """Write the video with its tracks drawn on it, in `colours`, uint8 (n, 3), if given. Raises `BadInput` as `write_video`."""
    import numpy as np

    from tapetum.video import draw_tracks, write_video
    from tapetum.video.types import ResizedVideo

    how = settings or DrawSettings()
    labels = how.labels(tracks.points, tracks.names)
    if tracks.points > MOST_DRAWN:
        listener.note(f"{path.name} shows {MOST_DRAWN} of {tracks.points} points, more than which nobody can tell apart")
        shown = np.linspace(0, tracks.points - 1, MOST_DRAWN).round().astype(int)
        tracks = tracks.select(shown)
        labels = None if labels is None else [labels[number] for number in shown.tolist()]
        colours = None if colours is None else colours[shown]
    if how.scale != 1:
        width, height = how.scaled(video.width, video.height)
        tracks = replace(tracks, xy=tracks.xy * (width / video.width, height / video.height))
        video = ResizedVideo(video, width, height)
    if view == "rainbow":
        from tapetum.tracks.camera import draw_rainbow

        drawn = draw_rainbow(video, tracks, radius=how.radius, labels=labels)
    else:
        style = {"trail": how.trail, "radius": how.radius, "rings": how.rings == "yes"}
        drawn = draw_tracks(video, tracks.xy, tracks.visible, labels=labels, colours=colours, **style)

    def counted() -> Iterator["Frame"]:
        pace = how.fps / video.frame_rate if how.fps else 1.0
        for number, frame in enumerate(drawn):  # each as often as it takes to play at the same speed
            copies = math.ceil((number + 1) * pace - 1e-6) - math.ceil(number * pace - 1e-6)
            yield from [frame] * copies
            listener.progress("drawing", number + 1, tracks.frames)

    write_video(path, counted(), how.fps or video.frame_rate, dither=how.dither == "yes")


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
        from tapetum.report.images import name_of_point

        rows = []
        for place in self.places:
            about = {"frame": self._frame(place), "reason": place.reason, "score": place.score}
            rows.append({"point": place.point, "name": name_of_point(self.tracks, place.point), **about})
        return {"tracks": str(self.tracks_file), "plot": str(self.plot), "frames_to_check": rows}

    def as_text(self) -> str:
        from tapetum.report.images import name_of_point

        lines = [f"plot     {self.plot}"]
        for place in self.places[:_LISTED]:
            lines.append(f"frame {self._frame(place):5d}  {name_of_point(self.tracks, place.point):12}  {place.reason}")
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

    from tapetum.report.images import draw_plot
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

    from tapetum.report.images import add_ruler
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
