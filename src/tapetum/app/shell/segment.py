"""`tapetum segment`: outlines of things that words name."""

from collections.abc import Sequence
from dataclasses import dataclass

from tapetum.app.segment import SegmentOptions, segment
from tapetum.app.shell.known import names_last
from tapetum.app.shell.output import terminal
from tapetum.app.shell.seen import print_regions


@dataclass(frozen=True, kw_only=True)
class Segment(SegmentOptions):
    """Outline things that words name, in images.

    The default model, paligemma-nano, knows the world of tapetum scenes: simple things on a table, their colours and places.
    """

    json: bool = False
    """Print JSON instead of text."""

    @classmethod
    def prepared(cls, words: Sequence[str]) -> list[str]:
        """Let options stand anywhere among the names."""
        return names_last(cls, words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            seeing = segment.run(self, listener)
        print_regions(seeing, self.json)
