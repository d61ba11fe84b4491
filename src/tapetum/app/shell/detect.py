"""`tapetum detect`: boxes around things that words name, in images or through a video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapetum.app.detect import DetectOptions, detect
from tapetum.app.shell.known import names_last
from tapetum.app.shell.output import print_json, terminal
from tapetum.app.shell.seen import print_regions
from tapetum.app.things import FollowSettings, Things, ThingsOptions, track_things
from tapetum.app.verb import narrowed
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name


@dataclass(frozen=True, kw_only=True)
class Detect(FollowSettings, DetectOptions):
    """Find things that words name in images, or follow them through a video.

    The default model, paligemma-nano, knows the world of tapetum scenes: simple things on a table, their colours and places.
    With --track, results go to boxes.npz, boxes.csv and overlay.mp4 in a folder, --out or the name of the video with -boxes; or
    to one of these alone, where --out ends in .npz, .csv or .mp4.
    """

    track: bool = False
    """Follow what is found through the whole video: points in a box carry it, and it is looked for again where it is lost."""
    json: bool = False
    """Print JSON instead of text."""

    @classmethod
    def prepared(cls, words: Sequence[str]) -> list[str]:
        """Let options stand anywhere among the names."""
        return names_last(cls, words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if self.track:
            self._follow()
            return
        if self.look_every is not None:
            raise BadInput("--look-every belongs to --track; add that, or leave it out")
        with terminal() as listener:
            seeing = detect.run(self, listener)
        print_regions(seeing, self.json)

    def _follow(self) -> None:
        if len(self.images) != 1:
            raise BadInput(f"{len(self.images)} videos were given; --track takes one")
        [video] = self.images
        out = self.out or Path(f"{plain_name(video)}-boxes")
        with terminal() as listener:
            things = track_things.run(narrowed(ThingsOptions, self, video=video, out=out), listener)
        if self.json:
            print_json(things.as_json())
        else:
            print("\n".join(_lines(things)))


def _lines(things: Things) -> list[str]:
    content = things.as_json()
    lines = [
        f"{row['label']}: in {row['frames_shown']} of {content['frames']} frames, found {row['times_found']} times"
        for row in content["things"]
    ] or ["(nothing)"]
    return [*lines, *(f"{name:8} {content[name]}" for name in ("overlay", "boxes", "table") if name in content)]
