"""`tapetum scenes`: synthetic videos with exact truth."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from tapetum.cli.output import print_json, terminal
from tapetum.verbs.scenes import MakeOptions, make


@dataclass(frozen=True, kw_only=True)
class _Action:
    action: tyro.conf.Positional[Literal["make"]] = field()
    """What to do."""


@dataclass(frozen=True, kw_only=True)
class Scenes(MakeOptions, _Action):
    """Make synthetic videos with exact truth, as a TAP-Vid pickle and TAPVid-3D files."""

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = make.run(self, listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"made {made.videos} videos of {made.frames} frames\ntapvid  {made.tapvid}")
