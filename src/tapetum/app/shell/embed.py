"""`tapetum embed`: vectors for files."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from tapetum.app.embed import EmbedOptions, embed
from tapetum.app.plan import plan_watching
from tapetum.app.shell.output import terminal
from tapetum.app.verb import File
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Embed(EmbedOptions):
    """Make vectors of images, recordings and videos, for search, clustering and probes.

    The table has a row a piece: path, start_s and stop_s (empty for images), modalities, embedding. With --neighbours it also
    has the numbers of the rows that are most alike, and cosines. An image is one piece; long recordings and videos are cut
    into pieces as long as the model takes.
    """

    out: Annotated[File, tyro.conf.arg(metavar="FILE")] = field()  # the command must have one
    plan: bool = False
    """Only say what it will cost, with a model of tapetum train longvideo: frames, tokens, memories, bytes, FLOPs, time."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if self.plan:
            print("\n".join(plan_watching(self.files, self.model).lines()))
            return
        with terminal() as listener:
            made = embed.run(self, listener)
        pieces, channels = made.vectors.shape
        print(f"{self.out}: {pieces} vectors of {channels} numbers, of {made.files - made.failed} files")
        if made.page is not None:
            print(f"{made.page}: the {self.neighbours} nearest neighbours of each")
        if made.failed:
            raise BadInput(f"{made.failed} of {made.files} files could not be read; the table has the others")
