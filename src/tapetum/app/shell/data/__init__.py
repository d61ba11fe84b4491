"""`tapetum data`: what training reads, made and shown; one file a system or kind of data."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.data.demos import DemosData
from tapetum.app.shell.data.perception_test import PerceptionTestFiles
from tapetum.app.shell.data.shards import Show, Write
from tapetum.app.shell.data.tapvid import TapVidData

Action = (
    Annotated[Write, tyro.conf.subcommand("shards", prefix_name=False)]
    | Annotated[Show, tyro.conf.subcommand("show", prefix_name=False)]
    | TapVidData
    | DemosData
    | PerceptionTestFiles
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Make and show tar shards, from which training reads any modalities; make demonstrations for robots; fetch benchmarks of
    point tracking and the Perception Test."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()
