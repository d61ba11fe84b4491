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
    describe: bool = False
    """Ask for more than a sentence; the models named mix know that."""


@verb(CaptionOptions, data=("images",))
def caption(options: CaptionOptions, listener: Listener) -> ImageReplies:
    """Caption each image or video.

    Raises BadInput as `tapetum.ask`.
    """
    prompt = (prompts.describe if options.describe else prompts.caption)(options.language)
    task = "describe" if options.describe else "caption"
    return see(options, Request(prompt=prompt, kind="words", task=task, language=options.language), listener)
