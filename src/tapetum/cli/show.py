"""`tapetum show`: saved tracks drawn on their video, without tracking again."""

from dataclasses import dataclass

from tapetum.cli.output import print_json, terminal
from tapetum.verbs.show import ShowOptions, show


@dataclass(frozen=True, kw_only=True)
class Show(ShowOptions):
    """Draw saved tracks on the video that they come from, as tapetum track does in overlay.mp4.

    The tracks may be npz, csv, json or parquet of tapetum, a csv of DeepLabCut, a csv with the columns ID,T,Y,X of a
    napari Tracks layer, or a pickle of TAP-Vid. No model is loaded.
    """

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            shown = show.run(self, listener)
        if self.json:
            print_json(shown.as_json())
        else:
            tracks = shown.tracks
            print(f"drew {tracks.points} points on {tracks.frames} frames of {shown.video}\noverlay  {shown.overlay}")
