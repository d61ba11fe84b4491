"""`tapetum.caption`: captions of images and videos."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.replies import ImageReplies
from tapetum.app.see import see
from tapetum.app.see_settings import Request, SeeSettings
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class CaptionOptions(SeeSettings):
    """Caption images or a video, in a sentence.

    The default model, paligemma-nano, knows the world of tapetum scenes: simple things on a table, their colours and places.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, or videos with --frames. In Python also one alone, and arrays (h, w, 3)."""
    _: KW_ONLY
    language: Annotated[str, tyro.conf.arg(metavar="CODE")] = "en"
    """Language of the caption, such as en or de."""
    describe: bool = False
    """Ask for more than a sentence; the models named mix know that."""


@verb(CaptionOptions)
def caption(options: CaptionOptions, listener: Listener) -> ImageReplies:
    """Caption each image or video.

    Raises BadInput as `tapetum.ask`.
    """
    prompt = (prompts.describe if options.describe else prompts.caption)(options.language)
    return see(options, options.images, Request(prompt=prompt, kind="words"), listener)
