"""`tapetum.segment`: segmentation masks of objects in images, by text prompts."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import ImageOptions, Request
from tapetum.app.verb import Listener, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class SegmentOptions(ImageOptions):
    """Outline things that words name, in images.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun, coarsely; a vision-language model, by
    --model, finds what any words name.
    """

    things: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THINGS")]
    """What to outline, such as "cat", or "cat ; dog"."""


@verb(SegmentOptions, data=("images",))
def segment(options: SegmentOptions, listener: Listener) -> ImageReplies:
    """Find masks, with boxes and labels, of objects in each image, or in frames of videos.

    Malformed parts of the model's answer are dropped, and counted in the result. Raises BadInput as `tapetum.ask`.
    """
    request = Request(prompt=prompts.segment(options.things), kind="masks", task="segment", text=options.things)
    return see(options, request, listener)
