"""`tapetum data perception-test`: the public files of the Perception Test, fetched."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.fetch_perception_test import FetchedPerceptionTest, FetchOptions, amount, fetch_perception_test
from tapetum.app.shell.output import downloads, print_json


@dataclass(frozen=True, kw_only=True)
class PerceptionTestData(FetchOptions):
    """Fetch annotations, videos, sound and features of the Perception Test; a fetch that was cut off goes on where it was."""

    json: bool = False
    """Print what was fetched as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with downloads() as listener:
            found = fetch_perception_test.run(self, listener)
        if self.json:
            print_json(found.as_json())
        else:
            print(_text(found))


def _text(found: FetchedPerceptionTest) -> str:
    width = max(len(each.file.name) for each in found.files)
    came = "fetched" if found.fetched else "to fetch"
    rows = [f"{each.file.name:{width}}  {amount(each.size):>12}  {'here' if each.here else came}" for each in found.files]
    return "\n".join([*rows, f"{amount(found.to_come)} {came}; {found.out}"])


PerceptionTestFiles = Annotated[PerceptionTestData, tyro.conf.subcommand("perception-test", prefix_name=False)]
