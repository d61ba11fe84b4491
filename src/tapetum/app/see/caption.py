"""`tapetum.caption`: captions of images and videos."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import tyro

from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import ImageOptions, Request
from tapetum.app.verb import Listener, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class CaptionOptions(ImageOptions):
    """Caption images or a video, in a sentence.

    By default the classifier efficientnet-lite2 (extra [imagenet]) names what photographs show; a vision-language model, by
    --model, writes sentences.
    """

    _: KW_ONLY
    language: Annotated[str, tyro.conf.arg(metavar="CODE")] = "en"
    """Language of the caption, such as en or de."""


@verb(CaptionOptions, data=("images",))
def caption(options: CaptionOptions, listener: Listener) -> ImageReplies:
    """Caption each image or video.

    Raises BadInput as `tapetum.ask`.
    """
    request = Request(prompt=prompts.caption(options.language), kind="words", task="caption", language=options.language)
    return see(options, request, listener)
