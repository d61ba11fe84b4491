"""`tapetum.segment`: segmentation masks of objects in images, by text prompts."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.see.answer_model import with_region_model
from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import Request, SeeSettings
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class SegmentOptions(SeeSettings):
    """Outline things that words name, in images.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun, of a colour if named; in images of
    tapetum scenes paligemma-nano-2 finds simple things on a table, by their colours and places.
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
    prompt = prompts.segment(options.things)
    settings = with_region_model(options, options.images, prompt, listener)
    return see(settings, options.images, Request(prompt=prompt, kind="masks"), listener)
