"""`tapetum tapvid3d`: clips of TAPVid-3D checked and made."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.tapvid3d.check import Check
from tapetum.app.shell.tapvid3d.make import Make
from tapetum.app.shell.tapvid3d.scenes import ClipsOfScenes

Action = (
    Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
    | Annotated[ClipsOfScenes, tyro.conf.subcommand("scenes", prefix_name=False)]
    | Annotated[Make, tyro.conf.subcommand("make", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class TapVid3D:
    """Check or make clips of TAPVid-3D, the benchmark of points in metres (to score on it: tapetum eval tapvid3d)."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()
