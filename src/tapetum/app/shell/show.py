"""`tapetum show`: saved tracks drawn on their video, without tracking again; a video of a benchmark as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.output import print_json, terminal
from tapetum.app.show import ShowOptions, show
from tapetum.app.show_perception_test import ShowPerceptionTestOptions, show_perception_test


@dataclass(frozen=True, kw_only=True)
class ShowTracks(ShowOptions):
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


@dataclass(frozen=True, kw_only=True)
class ShowPerceptionTest(ShowPerceptionTestOptions):
    """Write a video of the Perception Test as one HTML page: boxes, points, a time line, questions, predictions beside them."""

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            shown = show_perception_test.run(self, listener)
        if self.json:
            print_json(shown.as_json())
            return
        remarks = f"; {len(shown.remarks)} remarks on predictions are in it" if shown.remarks else ""
        print(f"page  {shown.page} ({shown.bytes / 1e6:.1f} MB){remarks}")


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw saved tracks on their video, or write a video of a benchmark as a page.

    `tapetum show TRACKS VIDEO` is short for `tapetum show tracks TRACKS VIDEO`.
    """

    action: (
        Annotated[ShowTracks, tyro.conf.subcommand("tracks", prefix_name=False)]
        | Annotated[ShowPerceptionTest, tyro.conf.subcommand("perception-test", prefix_name=False)]
    )

    @staticmethod
    def spelled(words: Sequence[str]) -> list[str]:
        """Add `tracks` where the first word is none of the commands."""
        short = bool(words) and words[0] not in ("tracks", "perception-test", "-h", "--help")
        return ["tracks", *words] if short else list(words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()
