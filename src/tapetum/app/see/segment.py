"""`tapetum.segment`: segmentation masks of objects in images, by text prompts."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import Request, SeeSettings
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class SegmentOptions(SeeSettings):
    """Outline things that words name, in images.

    The default model, paligemma-nano-2, knows the world of tapetum scenes: simple things on a table, their colours and places.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, videos with --frames, or addresses of these. In Python also one alone, and arrays (h, w, 3)
    or (n, h, w, 3), which is a video with --frames."""
    things: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THINGS")]
    """What to outline, such as "cat", or "cat ; dog"."""


@verb(SegmentOptions, data=("images",))
def segment(options: SegmentOptions, listener: Listener) -> ImageReplies:
    """Find masks, with boxes and labels, of objects in each image, or in frames of videos.

    Malformed parts of the model's answer are dropped, and counted in the result. Raises BadInput as `tapetum.ask`.
    """
    request = Request(prompt=prompts.segment(options.things), kind="masks")
    return see(options, options.images, request, listener)
