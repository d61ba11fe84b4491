"""`tapetum.caption`: captions of images and videos."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.see.answer_model import with_model
from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import Request, SeeSettings
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class CaptionOptions(SeeSettings):
    """Caption images or a video, in a sentence.

    By default the classifier efficientnet-lite2 names what photographs show, where the extra [imagenet] is installed, and
    paligemma-nano-2 captions images of tapetum scenes.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, videos with --frames, or addresses of these. In Python also one alone, and arrays (h, w, 3)
    or (n, h, w, 3), which is a video with --frames."""
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
    settings = with_model(options, options.images)
    return see(settings, options.images, Request(prompt=prompt, kind="words"), listener)
