"""`tapetum.convert`: converts tracks from one format or layout to another."""

from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.track.show import VisibilitySettings
from tapetum.app.verb import File, Listener, Result, count_frames, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import same_place

if TYPE_CHECKING:
    from tapetum.types import Tracks


@dataclass(frozen=True)
class ConvertOptions(VisibilitySettings):
    """Convert tracks between npz, csv, json, parquet, tables of DeepLabCut and napari, and pickles of TAP-Vid, and into files
    of SLEAP, COCO, Nuke, After Effects, CVAT and Blender.

    What IN is is told from its extension and header. What a layout does not hold is lost in it, such as queries and the
    positions of hidden points; see docs/guides/other-programs.md.
    """

    source: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="IN")]
    """File of tracks."""
    target: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="OUT")]
    """File to write: .npz, .csv, .json or .parquet, .csv for DeepLabCut and napari, .pkl for TAP-Vid, .h5 for SLEAP, .json for
    COCO."""
    _: KW_ONLY
    to: Annotated[str | None, tyro.conf.arg(metavar="LAYOUT")] = None
    """Layout to write: dlc, napari, tapvid, sleap (an analysis file), coco (key points, without the images), nuke (.nk),
    aftereffects (.txt), cvat (.xml, CVAT for video 1.1), blender (.py) or that of an installed package; by default tapvid for
    .pkl, sleap for .h5, nuke for .nk, and our own, which loses nothing, for all else."""
    video: Annotated[Any, one_text("VIDEO")] = None
    """The video that the tracks come from. A TAP-Vid pickle needs it, for it holds the frames, and coco for their size. When
    reading, it gives the number of frames, which napari does not know, and the size in pixels, in place of the frames in a
    pickle."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which video of a TAP-Vid pickle that holds several."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "tapir-nano"
    """With --visible-above, the tracker that made the tracks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Converted(Result):
    """Tracks that were read and written again."""

    tracks: "Tracks"
    target: Path

    def as_json(self) -> dict[str, Any]:
        return {"points": self.tracks.points, "frames": self.tracks.frames, "tracks": str(self.target)}

    def as_text(self) -> str:
        return f"{self.target}: {self.tracks.points} points in {self.tracks.frames} frames"


@verb(ConvertOptions)
def convert(options: ConvertOptions, listener: Listener) -> Converted:
    """Convert tracks from one format to another, as `ConvertOptions` lists them; that of the source is told from its extension
    and header. Raises BadInput for files that cannot be read or written, and for a video that does not belong to the tracks.
    """
    from tapetum.tracks.exchange import check_video, read_tracks, tracked_part, write_tracks
    from tapetum.video import open_video

    options.check()
    source, target = Path(options.source), Path(options.target)
    if same_place(target, source):
        raise BadInput(f"{source} would be overwritten by what is made of it; give OUT another name")
    with ExitStack() as cleanup:
        video = None if options.video is None else cleanup.enter_context(open_video(options.video))
        if video is not None:
            count_frames(video, options.video, listener)
        tracks = options.choose_visible(read_tracks(source, video=video, name=options.name), options.model)
        if video is not None:
            video = tracked_part(video, tracks)
            check_video(tracks, video)
        write_tracks(tracks, target, options.to, video=video)
    return Converted(tracks=tracks, target=target)
