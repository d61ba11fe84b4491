"""`tapetum data demos`: demonstrations of a scripted expert."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.demos import DemosOptions, make
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Demos(DemosOptions):
    """Let a scripted expert do a task in a simulator, and write what was seen and done.

    Then a policy learns from it: tapetum adapt DIR --task clone --out RUN.
    """

    json: bool = False
    """Print what was written as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = make.run(self, listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"{made.out}: {made.n} demonstrations of {made.task} by camera {made.camera}, {made.frames:,} frames")


DemosData = Annotated[Demos, tyro.conf.subcommand("demos", prefix_name=False)]
