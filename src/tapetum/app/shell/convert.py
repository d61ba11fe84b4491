"""`tapetum convert`: tracks from one format or layout to another."""

from dataclasses import dataclass

from tapetum.app.convert import ConvertOptions, convert
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Convert(ConvertOptions):
    """Convert tracks between npz, csv, json, parquet, tables of DeepLabCut and napari, and pickles of TAP-Vid, and into files
    of SLEAP and COCO.

    What IN is is told from its extension and header. What a layout does not hold is lost in it, such as queries and the
    positions of hidden points; see docs/guides/other-programs.md.
    """

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            done = convert.run(self, listener)
        if self.json:
            print_json(done.as_json())
        else:
            print(f"{done.target}: {done.tracks.points} points in {done.tracks.frames} frames")
