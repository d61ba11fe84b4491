"""`tapetum.show`: saved tracks drawn on their video, without tracking again."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.errors import BadInput
from tapetum.verbs.verb import File, Listener, count_frames, verb

if TYPE_CHECKING:
    from tapetum.types import Tracks
    from tapetum.video import Video

View = Literal["tracks", "rainbow"]
"""Ways to draw tracks."""


@dataclass(frozen=True)
class ShowOptions:
    """What may be asked of `show`."""

    tracks: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="TRACKS")]
    """File of tracks."""
    video: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="VIDEO")]
    """The video that they come from: video file, folder of pictures, or npy/npz array."""
    _: KW_ONLY
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the overlay: .mp4, .webm or .gif; by default the name of the video with -overlay.mp4."""
    view: View = "tracks"
    """tracks: dots and fading paths; rainbow: the paths of what moves by itself, without the camera's motion."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which video of a TAP-Vid pickle that holds several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Tracks that were drawn on their video."""

    tracks_file: Path
    """Where the tracks were read from."""
    video: Path
    """What they were drawn on."""
    tracks: "Tracks"
    """The points."""
    overlay: Path
    """What was written."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        return {
            "tracks": str(self.tracks_file),
            "video": str(self.video),
            "points": self.tracks.points,
            "frames": self.tracks.frames,
            "visible_share": float(self.tracks.visible.mean()),
            "overlay": str(self.overlay),
        }


@verb(ShowOptions)
def show(options: ShowOptions, listener: Listener) -> Shown:
    """Draw saved tracks on the video that they come from; no model is loaded.

    Raises BadInput for files that cannot be read or do not belong together, and where the overlay cannot be written.

    >>> import tempfile
    >>> import numpy as np
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/clip.npy", np.zeros((3, 48, 64, 3), np.uint8))
    ...     done = tapetum.track(f"{folder}/clip.npy", model="static", grid=2, out=f"{folder}/out")
    ...     tapetum.show(done.out / "tracks.npz", f"{folder}/clip.npy", out=f"{folder}/drawn.gif").overlay.name
    'drawn.gif'
    """
    from tapetum.tracks.exchange import check_video, read_tracks
    from tapetum.video import open_video

    source, given = Path(options.tracks), Path(options.video)
    out = Path(options.out or f"{given.resolve().stem}-overlay.mp4")
    if out.resolve() in (source.resolve(), given.resolve()):
        raise BadInput(f"{out} would be overwritten by what is drawn on it; give --out another name")
    with open_video(given) as video:
        count_frames(video, given, listener)
        tracks = read_tracks(source, video=video, name=options.name)
        check_video(tracks, video)
        write_overlay(out, video, tracks, options.view, listener)
    return Shown(tracks_file=source, video=given, tracks=tracks, overlay=out)


def write_overlay(path: Path, video: "Video", tracks: "Tracks", view: View, listener: Listener) -> None:
    """Write the video with its tracks drawn on it. Raises `BadInput` as `write_video`."""
    from tapetum.tracks.rainbow import draw_rainbow
    from tapetum.video import draw_tracks, write_video

    drawn = draw_rainbow(video, tracks) if view == "rainbow" else draw_tracks(video, tracks.xy, tracks.visible)

    def counted() -> Any:
        for number, frame in enumerate(drawn):
            yield frame
            listener.progress("drawing", number + 1, tracks.frames)

    write_video(path, counted(), video.rate)
