"""`tapetum caption`: images in a sentence."""

from dataclasses import dataclass

from tapetum.app.caption import CaptionOptions, caption
from tapetum.app.shell.output import terminal
from tapetum.app.shell.seen import print_words


@dataclass(frozen=True, kw_only=True)
class Caption(CaptionOptions):
    """Say in a sentence what is to be seen in images, or in a video.

    The default model, paligemma-nano, knows the world of tapetum scenes: simple things on a table, their colours and places.
    """

    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            seeing = caption.run(self, listener)
        print_words(seeing, self.json)
