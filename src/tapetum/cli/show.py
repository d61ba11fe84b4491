"""`tapetum show`: saved tracks drawn on their video, without tracking again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.cli.output import View, note, print_json, write_overlay
from tapetum.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw saved tracks on the video that they come from, as tapetum track does in overlay.mp4.

    The tracks may be npz, csv, json or parquet of tapetum, a csv of DeepLabCut, a csv with the columns ID,T,Y,X of a
    napari Tracks layer, or a pickle of TAP-Vid. No model is loaded.
    """

    tracks: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TRACKS")]
    """File of tracks."""
    video: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="VIDEO")]
    """The video that they come from: video file, folder of pictures, or npy/npz array."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the overlay: .mp4, .webm or .gif; by default the name of the video with -overlay.mp4."""
    view: View = "tracks"
    """tracks: dots and fading paths; rainbow: the paths of what moves by itself, without the camera's motion."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which video of a TAP-Vid pickle that holds several."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.tracks.exchange import check_video, read_tracks
        from tapetum.video import open_video

        out = self.out or Path(f"{self.video.resolve().stem}-overlay.mp4")
        if out.resolve() in (self.tracks.resolve(), self.video.resolve()):
            raise BadInput(f"{out} would be overwritten by what is drawn on it; give --out another name")
        with open_video(self.video) as video:
            video.hold()  # so that drawing need not decode again what fits
            report = video.check()
            if report.damaged:
                note(f"{self.video}: {report.damaged} of {report.promised} frames are damaged or missing")
            tracks = read_tracks(self.tracks, video=video, name=self.name)
            check_video(tracks, video)
            write_overlay(out, video, tracks, self.view)
        if self.json:
            print_json(
                {
                    "tracks": str(self.tracks),
                    "video": str(self.video),
                    "points": tracks.points,
                    "frames": tracks.frames,
                    "visible_share": float(tracks.visible.mean()),
                    "overlay": str(out),
                }
            )
        else:
            print(f"drew {tracks.points} points on {tracks.frames} frames of {self.video}\noverlay  {out}")
