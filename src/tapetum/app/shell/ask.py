"""`tapetum ask`: a question about images, or about a video."""

from collections.abc import Sequence
from dataclasses import dataclass

from tapetum.app.ask import AskOptions, ask
from tapetum.app.shell.known import names_last
from tapetum.app.shell.output import terminal
from tapetum.app.shell.seen import print_words


@dataclass(frozen=True, kw_only=True)
class Ask(AskOptions):
    """Answer a question about images, or about a video.

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
            seeing = ask.run(self, listener)
        print_words(seeing, self.json)
