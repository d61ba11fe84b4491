"""`tapetum.detect`: boxes around things that words name, in images, or through a video."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.see import see
from tapetum.app.see_settings import Request, SeeSettings
from tapetum.app.seen import Seeing
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class DetectOptions(SeeSettings):
    """What may be asked of `detect`."""

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, or videos with --frames. In Python also one alone, and arrays (h, w, 3)."""
    things: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THINGS")]
    """What to look for, such as "cat", or "cat ; red dog"."""


@verb(DetectOptions)
def detect(options: DetectOptions, listener: Listener) -> Seeing:
    """Find boxes, with labels, around things in each image, or in frames of videos.

    What is malformed in the model's answer is left out, and counted in the result. Raises BadInput as `tapetum.ask`.
    """
    request = Request(prompt=prompts.detect(options.things), kind="boxes")
    return see(options, options.images, request, listener)
