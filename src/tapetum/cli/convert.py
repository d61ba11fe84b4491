"""`tapetum convert`: tracks from one format or layout to another."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tapetum.cli.output import note, print_json
from tapetum.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert tracks between npz, csv, json, parquet, tables of DeepLabCut and napari, and pickles of TAP-Vid.

    What IN is is told from its extension and header. What a layout does not hold is lost in it, such as queries and the
    positions of hidden points; see docs/guides/other-programs.md.
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN")]
    """File of tracks."""
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """File to write: .npz, .csv, .json or .parquet, .csv for DeepLabCut and napari, .pkl for TAP-Vid."""
    to: Annotated[Literal["dlc", "napari", "tapvid"] | None, tyro.conf.arg(metavar="{dlc,napari,tapvid}")] = None
    """Layout to write; by default tapvid for .pkl and our own, which loses nothing, for all else."""
    video: Annotated[Path | None, tyro.conf.arg(metavar="VIDEO")] = None
    """The video that the tracks come from. A TAP-Vid pickle needs it, for it holds the frames. When reading, it gives the
    number of frames, which napari does not know, and the size in pixels, in place of the frames in a pickle."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which video of a TAP-Vid pickle that holds several."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tracks.exchange import check_video, read_tracks, write_tracks
        from tapetum.video import open_video

        if self.target.resolve() == self.source.resolve():
            raise BadInput(f"{self.source} would be overwritten by what is made of it; give OUT another name")
        with ExitStack() as cleanup:
            video = None if self.video is None else cleanup.enter_context(open_video(self.video))
            if video is not None and (report := video.check()).damaged:
                note(f"{self.video}: {report.damaged} of {report.promised} frames are damaged or missing")
            tracks = read_tracks(self.source, video=video, name=self.name)
            if video is not None:
                check_video(tracks, video)
            write_tracks(tracks, self.target, self.to, video=video)
        if self.json:
            print_json({"points": tracks.points, "frames": tracks.frames, "tracks": str(self.target)})
        else:
            print(f"{self.target}: {tracks.points} points in {tracks.frames} frames")
